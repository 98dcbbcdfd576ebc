/* Queues as those who consume or publish describe them to a broker. */
#ifndef TRANSPORT_QUEUE_DEF_H
#define TRANSPORT_QUEUE_DEF_H

#include <stdbool.h>
#include <stddef.h>

/* An exchange and what binds a queue to it. */
struct binding_def {
	const char *exchange;
	const char *exchange_type; /* "direct", "topic", "fanout", "headers" (RabbitMQ only) */
	const char *routing_key;
	const char *arguments;		/* of the binding: JSON object text, or NULL */
	const char *exchange_arguments; /* the same */
	bool is_exchange_transient, is_exchange_auto_delete;
	bool is_exchange_given; /* it is there: bound to, not declared */
};

/* A queue with its exchanges and bindings, declared as Celery declares it. Strings are copied. */
struct queue_def {
	const char *name;
	const char *exchange;	   /* "" = none to declare */
	const char *exchange_type; /* as in struct binding_def; NULL = "direct" */
	const char *routing_key;   /* NULL = the queue's name */
	/* JSON object text or NULL: of the queue (x-max-priority...), of the binding above, of its
	 * exchange, of the consumer (x-priority...). */
	const char *arguments, *binding_arguments, *exchange_arguments, *consumer_arguments;
	/* More than the one above. Drivers walk all of them by queue_def_binding. */
	const struct binding_def *bindings;
	size_t binding_count;
	/* Celery declares what is durable and stays; brokers without such a notion ignore these. */
	bool is_transient, is_auto_delete, is_exclusive;
	bool is_exchange_transient, is_exchange_auto_delete;
	/* Nobody else knows its name (kombu's Broadcast): where a broker does not do it, we remove
	 * the queue and its bindings when we stop consuming it. */
	bool is_private;
	/* One of many that get a copy each (kombu's Broadcast): delayed delivery leaves it out. */
	bool is_broadcast;
	bool is_given, is_exchange_given; /* they are there: used, not declared */
};

/* How many bindings there are to make, and one of them, with nothing left out. None for a queue
 * that is only reached by its name. */
size_t queue_def_binding_count(const struct queue_def *def);
struct binding_def queue_def_binding(const struct queue_def *def, size_t index);

#endif
