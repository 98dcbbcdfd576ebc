#include "worker/banner.h"

#include <stdio.h>

#include "backend/backend.h"

static const char *pool_name(enum config_pool pool)
{
	return pool_kind_name(pool == CONFIG_THREADS ? POOL_THREADS
			      : pool == CONFIG_SOLO  ? POOL_SOLO
						     : POOL_PREFORK);
}

static void print_queues(const struct config *config)
{
	char *fallback[] = {config->task_default_queue, NULL};
	char *const *names = fallback;

	if (config->task_queues && *config->task_queues)
		names = config->task_queues;
	if (config->queues && *config->queues)
		names = config->queues;
	for (; *names; names++)
		printf("  . %s\n", *names);
}

void banner_print(const struct consumer *c)
{
	const struct config *config = c->config;
	struct backend_stats results = {0};

	if (c->finish.backend)
		backend_stats(c->finish.backend, &results);
	printf("\nsmallage %s  %s\n\n[config]\n", SMALLAGE_VERSION, config->node_name);
	printf("  broker:      %s\n", c->broker_label);
	printf("  results:     %s\n", c->finish.backend ? results.host : "disabled");
	printf("  concurrency: %u (%s)\n", config->worker_concurrency,
	       pool_name(config->worker_pool));
	printf("\n[queues]\n");
	print_queues(config);
	printf("\n[tasks]\n");
	for (unsigned i = 0; i < registry_count(c->registry); i++)
		printf("  . %s\n", registry_at(c->registry, i)->name);
	printf("\n");
	fflush(stdout);
}
