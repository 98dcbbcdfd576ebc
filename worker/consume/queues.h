/*
 * The queues this worker takes tasks from: those of its start, and those that remote control adds
 * and cancels while it runs. A cancelled one stays known, so that adding it again by name gives the
 * same queue, as in Celery (celery/app/amqp.py, Queues).
 */
#ifndef WORKER_CONSUME_QUEUES_H
#define WORKER_CONSUME_QUEUES_H

#include <jansson.h>
#include <stdbool.h>

#include "base/list.h"
#include "transport/broker.h"

struct consumer;

/* Remote control adds no more than this many. */
#define QUEUES_MAX 10000

void queues_init(struct list_node *queues);
void queues_clear(struct list_node *queues);
/* The queues of the settings, as Celery declares them; fails for unknown ones. */
int queues_declare(struct consumer *c, struct err *err);
/* Consumes from a queue of this name or alias. `options` (an object) may hold what kombu's Queue is
 * made of (exchange, exchange_type, routing_key, max_priority, expires, queue_arguments, ...) for
 * one that is not known yet; others are ignored. Nothing happens when it is consumed already;
 * *ret_is_new (may be NULL) tells. */
int queues_add(struct consumer *c, const char *name, const json_t *options, bool *ret_is_new,
	       struct err *err);
void queues_cancel(struct consumer *c, const char *name);
/* A list of kombu's Queue.as_dict() of what is consumed; new reference. */
json_t *queues_list(const struct consumer *c);

#endif
