/*
 * task_routes: where messages of a task are asked to go. Source: celery/app/routes.py (MapRoute).
 */
#ifndef WORKER_ROUTING_ROUTES_H
#define WORKER_ROUTING_ROUTES_H

#include <jansson.h>

#include "base/err.h"

/* NULL, -1 and 0 are "not said". */
struct route {
	const char *queue, *exchange, *exchange_type, *routing_key;
	int priority;	   /* -1 */
	int delivery_mode; /* 0 */
};
#define ROUTE_NONE ((struct route){.priority = -1})

struct routes;

/* A mapping of task names, or of patterns with '*', to the name of a queue or to a mapping; or a
 * list of such mappings, or of lists of pairs, of which the first that knows a task counts. */
struct routes *routes_read(const json_t *setting, struct err *err);
void routes_free(struct routes *r); /* NULL is allowed */
/* NULL when none knows the task. Within a mapping a name goes before patterns, and these in their
 * order. */
const struct route *routes_find(const struct routes *r, const char *task);

#endif
