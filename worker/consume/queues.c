#include "worker/consume/queues.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "worker/consume/consumer.h"
#include "worker/consume/queue_info.h"

/* Mirrors celery/app/amqp.py, Queues: the default queue lives on the default exchange; a queue that
 * is only named gets a direct exchange and a routing key of its own name. */

/* Of a short string in AMQP. */
#define NAME_MOST 255

struct known_queue {
	struct list_node node;
	char *name, *exchange, *exchange_type, *routing_key;
	struct queue_def def; /* of these texts */
	char *arguments;      /* JSON text or NULL */
	json_t *info;	      /* as_dict() */
	bool is_consumed;
};

void queues_init(struct list_node *queues)
{
	list_init(queues);
}

static void known_free(struct known_queue *q)
{
	list_remove(&q->node);
	free(q->name);
	free(q->exchange);
	free(q->exchange_type);
	free(q->routing_key);
	free(q->arguments);
	json_decref(q->info);
	free(q);
}

void queues_clear(struct list_node *queues)
{
	struct list_node *pos, *tmp;

	list_foreach_safe (pos, tmp, queues)
		known_free(list_entry(pos, struct known_queue, node));
}

static struct known_queue *known_find(const struct consumer *c, const char *name, size_t *ret_count)
{
	struct list_node *pos;
	size_t count = 0;

	list_foreach (pos, &c->queues) {
		struct known_queue *q = list_entry(pos, struct known_queue, node);

		count++;
		if (strcmp(q->name, name) == 0)
			return q;
	}
	if (ret_count)
		*ret_count = count;
	return NULL;
}

json_t *queues_list(const struct consumer *c)
{
	json_t *list = json_array();
	struct list_node *pos;

	list_foreach (pos, &c->queues) {
		struct known_queue *q = list_entry(pos, struct known_queue, node);

		if (q->is_consumed)
			json_array_append(list, q->info);
	}
	return list;
}

/* --- adding and cancelling --- */

static int check_names(const struct queue_def *def, struct err *err)
{
	const char *const names[] = {def->name, def->exchange, def->exchange_type,
				     def->routing_key};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) > NAME_MOST || !utf8_is_valid(names[i], strlen(names[i])))
			return err_set(err, ERR_LIMIT,
				       "its names must be UTF-8 of at most %d bytes", NAME_MOST);
	return *def->name ? 0 : err_set(err, ERR_INVALID, "it has no name");
}

static struct known_queue *known_add(struct consumer *c, const struct queue_def *def,
				     const json_t *options, struct err *err)
{
	size_t count = 0;
	struct known_queue *q;

	if (check_names(def, err) < 0)
		return NULL;
	known_find(c, "", &count);
	if (count >= QUEUES_MAX) {
		err_set(err, ERR_LIMIT, "%d queues are known already", QUEUES_MAX);
		return NULL;
	}
	q = mem_calloc(1, sizeof(*q));
	q->name = mem_strdup(def->name);
	q->exchange = mem_strdup(def->exchange);
	q->exchange_type = mem_strdup(def->exchange_type);
	q->routing_key = mem_strdup(def->routing_key);
	q->arguments = options ? queue_info_arguments(options) : mem_strdup(def->arguments);
	q->def = *def;
	q->def.name = q->name;
	q->def.exchange = q->exchange;
	q->def.exchange_type = q->exchange_type;
	q->def.routing_key = q->routing_key;
	q->def.arguments = q->arguments;
	q->info = queue_info(&q->def, options);
	list_append(&c->queues, &q->node);
	return q;
}

static int consume(struct consumer *c, struct known_queue *q, struct err *err)
{
	if (broker_consume(c->broker, &q->def, err) < 0)
		return -1;
	q->is_consumed = true;
	return 0;
}

int queues_add(struct consumer *c, const struct queue_def *queue, const json_t *options,
	       bool *ret_is_new, struct err *err)
{
	const struct config *config = c->config;
	struct known_queue *q = known_find(c, queue->name, NULL);
	bool is_own = !queue->exchange || *queue->exchange;
	struct queue_def def = {
		.name = queue->name,
		.exchange = queue->exchange ? queue->exchange : queue->name,
		.exchange_type = queue->exchange_type ? queue->exchange_type : "direct",
		.routing_key = queue->routing_key ? queue->routing_key : queue->name,
	};

	queue_info_flags(&def, options);
	if (ret_is_new)
		*ret_is_new = false;
	if (q && q->is_consumed)
		return 0;
	if (!is_own) { /* kombu: no exchange means the default one */
		def.exchange = config->task_default_exchange;
		def.exchange_type = config->task_default_exchange_type;
	}
	if (!q && publisher_knows_queue(config, queue->name))
		def = publisher_queue(config, queue->name, NULL);
	if (!q)
		q = known_add(c, &def, options, err);
	if (!q || consume(c, q, err) < 0)
		return -1;
	if (ret_is_new)
		*ret_is_new = true;
	return 0;
}

void queues_cancel(struct consumer *c, const char *name)
{
	struct known_queue *q = known_find(c, name, NULL);

	if (!q || !q->is_consumed)
		return;
	q->is_consumed = false;
	broker_cancel(c->broker, name);
}

/* --- the queues of the settings --- */

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
		struct queue_def queue = publisher_queue(config, *names, arguments);
		struct known_queue *q;

		if (list_has(config->exclude_queues, *names))
			continue;
		q = known_find(c, *names, NULL);
		if (!q)
			q = known_add(c, &queue, NULL, err);
		if (!q || consume(c, q, err) < 0)
			return err_prefix(err, "queue '%s': ", *names);
		count++;
	}
	if (count == 0)
		return err_set(err, ERR_INVALID,
			       "no queue is left to consume from: every queue is "
			       "excluded by -X");
	return 0;
}
