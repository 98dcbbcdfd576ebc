/* kombu's Queue as remote control speaks of it: the options it is made of, and what it shows. Pure.
 * Source: kombu/entity.py, Queue.from_dict(), as_dict(). */
#ifndef WORKER_CONSUME_QUEUE_INFO_H
#define WORKER_CONSUME_QUEUE_INFO_H

#include <jansson.h>

#include "transport/broker.h"

/* Reads durable, auto_delete, exclusive and the like of `options` (or NULL) into the definition. */
void queue_info_flags(struct queue_def *def, const json_t *options);
/* queue_arguments, max_priority, expires, message_ttl, ... as JSON text of queue arguments; NULL =
 * none. To be freed. */
char *queue_info_arguments(const json_t *options);
/* The 21 keys of as_dict(). Without options its arguments are those of the definition. */
json_t *queue_info(const struct queue_def *def, const json_t *options);

#endif
