/*
 * Which queues there are, and where a task's message goes: the settings task_queues, task_routes
 * and task_default_*, read once and then constant. Sources: celery/app/amqp.py (Queues,
 * send_task_message), celery/app/routes.py (Router). contract: tasks.md 3.1, T-156
 */
#ifndef WORKER_ROUTING_ROUTING_H
#define WORKER_ROUTING_ROUTING_H

#include "transport/broker.h"
#include "worker/routing/queue.h"
#include "worker/routing/routes.h"

struct routing_options {
	const char *queues, *routes; /* JSON text, or NULL */
	const char *default_queue, *default_exchange, *default_exchange_type, *default_routing_key;
	const char *default_queue_type, *missing_queue_type; /* "classic" or "quorum" */
	const char *missing_exchange_type;		     /* or NULL */
	int max_priority;				     /* 0 = none */
	bool creates_missing;
};

struct routing;

/* Copies what it needs. */
struct routing *routing_new(const struct routing_options *options, struct err *err);
void routing_free(struct routing *r); /* NULL is allowed */

/* The n-th of task_queues, or the default queue where there are none; NULL past the end. */
const struct queue *routing_queue_at(const struct routing *r, size_t index);
/* By name or alias; NULL = not defined. */
const struct queue *routing_queue(const struct routing *r, const char *name);
/* What Celery makes of a name that is not defined; borrows `name`. */
struct queue_def routing_missing(const struct routing *r, const char *name);
bool routing_creates_missing(const struct routing *r);
const struct queue_defaults *routing_defaults(const struct routing *r);

/* Where a message goes. Borrows from the routing and from what was asked. */
struct destination {
	const char *queue; /* its name, or NULL */
	const char *exchange, *routing_key;
	const struct queue_def *declare;      /* or NULL */
	const struct queue_def *broadcast_to; /* whose exchange must be there, or NULL */
	int priority;			      /* -1 = not said */
	int delivery_mode;
	struct queue_def missing; /* `declare` may point to it: do not copy the struct */
};
/* The exchange to declare before a message to a Broadcast: nobody may listen yet. NULL where there
 * is none, or where it is not to be declared simply. */
const struct exchange_def *destination_exchange(const struct destination *to,
						struct exchange_def *scratch);
/* What was asked goes before what task_routes say of the task. */
int routing_send(const struct routing *r, const char *task, const struct route *asked,
		 struct destination *to, struct err *err);

#endif
