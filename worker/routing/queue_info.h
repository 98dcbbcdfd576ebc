/* kombu's Queue.as_dict() of a queue. Pure. Source: kombu/entity.py. */
#ifndef WORKER_ROUTING_QUEUE_INFO_H
#define WORKER_ROUTING_QUEUE_INFO_H

#include <jansson.h>

#include "worker/routing/queue.h"

/* What is shown of a queue besides its definition. */
struct queue_shown {
	const json_t *options;	     /* what it was read from, or NULL */
	const char *queue_arguments; /* JSON text of those given as such, or NULL */
};
/* New reference. */
json_t *queue_info(const struct queue *q, const struct queue_shown *shown);
/* queue_arguments with max_priority, expires, message_ttl, ... of the options as RabbitMQ's
 * x-arguments: JSON text in the arena; NULL = none. */
const char *queue_info_arguments(const json_t *options, const char *queue_arguments,
				 struct arena *texts);

#endif
