/*
 * One queue as settings and remote control describe it: kombu's Queue, Exchange and Broadcast.
 * Source: kombu/entity.py (Queue.from_dict), kombu/common.py (Broadcast), celery/app/amqp.py
 * (Queues). contract: tasks.md 3.1
 */
#ifndef WORKER_ROUTING_QUEUE_H
#define WORKER_ROUTING_QUEUE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "transport/queue_def.h"

#define QUEUE_BINDINGS_MAX 1000

struct queue {
	const char *name, *alias; /* alias: another name to speak of it, or NULL */
	struct queue_def def;
	json_t *info;	   /* kombu's Queue.as_dict() */
	int delivery_mode; /* of messages to its exchange; 0 = not said */
	bool is_broadcast; /* producers do not declare it: each worker has one of its own */
	struct arena texts;
};

enum queue_form {
	QUEUE_OBJECT,  /* an item of a list: as Queue(...) */
	QUEUE_MAPPING, /* a value of a mapping: as Queue.from_dict(name, ...) */
	QUEUE_REMOTE,  /* the same of a stranger: what is not understood is ignored */
};

/* What Celery fills in. Its texts must outlive the queues. */
struct queue_defaults {
	const char *exchange, *exchange_type, *routing_key;
	int max_priority; /* 0 = none */
};

/* `options` may be NULL. NULL with `err` for what is wrong in it. */
struct queue *queue_read(const char *name, const json_t *options, enum queue_form form,
			 const struct queue_defaults *defaults, struct err *err);
/* Of a definition; copies it. */
struct queue *queue_new(const struct queue_def *def, struct err *err);
/* By its x-queue-type. */
bool queue_is_quorum(const struct queue *q);
void queue_free(struct queue *q); /* NULL is allowed */

#endif
