#include "worker/banner.h"

#include <unistd.h>

#include "backend/backend.h"
#include "base/log.h"
#include "base/str.h"

static const char *pool_name(enum config_pool pool)
{
	return pool_kind_name(pool == CONFIG_THREADS ? POOL_THREADS
			      : pool == CONFIG_SOLO  ? POOL_SOLO
						     : POOL_PREFORK);
}

static void add_queues(struct str *out, const struct config *config)
{
	char *const *names = config->queues;
	const struct queue *q;

	for (; names && *names; names++)
		str_addf(out, "  . %s\n", *names);
	for (size_t i = 0; !config->queues && (q = routing_queue_at(config->routing, i)); i++)
		str_addf(out, "  . %s\n", q->name);
}

void banner_print(const struct consumer *c)
{
	const struct config *config = c->config;
	struct backend_stats results = {0};
	auto_str text = STR_INIT(1 << 20);

	if (c->finish.backend)
		backend_stats(c->finish.backend, &results);
	str_addf(&text, "\nsmallage %s  %s\n\n[config]\n", SMALLAGE_VERSION, config->node_name);
	str_addf(&text, "  broker:      %s\n", c->broker_label);
	if (c->writer_label)
		str_addf(&text, "  sends to:    %s\n", c->writer_label);
	str_addf(&text, "  results:     %s\n", c->finish.backend ? results.host : "disabled");
	if (config->autoscale_max > 0)
		str_addf(&text, "  concurrency: {min=%u, max=%u} (%s)\n", config->autoscale_min,
			 config->autoscale_max, pool_name(config->worker_pool));
	else
		str_addf(&text, "  concurrency: %u (%s)\n", config->worker_concurrency,
			 pool_name(config->worker_pool));
	str_puts(&text, "\n[queues]\n");
	add_queues(&text, config);
	str_puts(&text, "\n[tasks]\n");
	for (unsigned i = 0; i < registry_count(c->registry); i++)
		if (!task_entry_is_builtin(registry_at(c->registry, i)))
			str_addf(&text, "  . %s\n", registry_at(c->registry, i)->name);
	str_addc(&text, '\n');
	log_say(STDOUT_FILENO, text.data);
}
