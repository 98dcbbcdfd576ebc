#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "worker/consume/consumer.h"

/* Mirrors celery/app/amqp.py, Queues: the default queue lives on the default exchange; a queue that
 * is only named gets a direct exchange and a routing key of its own name. */

static bool list_has(char *const *list, const char *name)
{
	for (; list && *list; list++)
		if (strcmp(*list, name) == 0)
			return true;
	return false;
}

static int check_known(const struct config *config, char *const *names, struct err *err)
{
	for (; names && *names; names++)
		if (!config->task_create_missing_queues && !publisher_knows_queue(config, *names))
			return err_set(
				err, ERR_NOT_FOUND,
				"Trying to select queue subset of ['%s'], but queue '%s' isn't "
				"defined in the task_queues setting.",
				*names, *names);
	return 0;
}

int queues_declare(struct consumer *c, struct err *err)
{
	const struct config *config = c->config;
	char *fallback[] = {config->task_default_queue, NULL};
	char *const *names = fallback;
	auto_free char *arguments = config_queue_arguments(config);
	unsigned count = 0;

	if (config->task_queues && *config->task_queues)
		names = config->task_queues;
	if (config->queues && *config->queues)
		names = config->queues;
	if (check_known(config, config->queues, err) < 0)
		return -1;
	for (; *names; names++) {
		if (list_has(config->exclude_queues, *names))
			continue;
		struct queue_def queue = publisher_queue(config, *names, arguments);

		if (broker_consume(c->broker, &queue, err) < 0)
			return err_prefix(err, "queue '%s': ", *names);
		count++;
	}
	if (count == 0)
		return err_set(err, ERR_INVALID,
			       "no queue is left to consume from: every queue is "
			       "excluded by -X");
	return 0;
}
