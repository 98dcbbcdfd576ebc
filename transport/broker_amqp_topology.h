/* A queue with its exchange and binding as the methods that declare it. Internal to the amqp
 * driver. */
#ifndef TRANSPORT_BROKER_AMQP_TOPOLOGY_H
#define TRANSPORT_BROKER_AMQP_TOPOLOGY_H

#include <jansson.h>

#include "transport/broker.h"
#include "transport/broker_amqp_conn.h"

struct topology_binding {
	char *exchange, *exchange_type, *routing_key;
	json_t *arguments, *exchange_arguments;					/* NULL = none */
	bool is_exchange_transient, is_exchange_auto_delete, is_exchange_given; /* not declared */
};

struct topology {
	char *name;
	struct topology_binding *bindings;
	size_t binding_count;
	json_t *arguments, *consumer_arguments; /* NULL = none */
	/* What a queue of tasks is not: */
	bool is_exchange_only; /* that of the first binding, whose name is `name` */
	bool is_transient, is_auto_delete, is_exclusive;
	bool is_given;
	bool is_broadcast;
};

/* Copies and checks the definition. */
struct topology *topology_new(const struct queue_def *def, struct err *err);
struct topology *topology_new_exchange(const struct exchange_def *def, struct err *err);
struct topology *topology_new_mailbox(const struct mailbox_def *def, struct err *err);
void topology_free(struct topology *q); /* NULL is allowed */
bool topology_is_quorum(const struct topology *q);
/* Only one of its consumers is served, the one that consumes it longest. */
bool topology_has_single_consumer(const struct topology *q);
/* Sends exchange.declare, queue.declare, queue.bind, or those of them that it needs. *ret_last is
 * the method that answers the last of them. A queue that is given is only looked for. */
int topology_declare(const struct topology *q, struct amqp_conn *conn, unsigned channel,
		     amqp_method_number_t *ret_last);
/* Sends queue.bind, exchange.bind. */
int topology_bind(const struct topology *q, const struct topology_binding *b, bool is_nowait,
		  struct amqp_conn *conn, unsigned channel);
int topology_bind_exchange(const char *exchange, const char *source, const char *routing_key,
			   bool is_nowait, struct amqp_conn *conn, unsigned channel);
/* Sends basic.consume. */
int topology_consume(const struct topology *q, const char *tag, bool is_nowait,
		     struct amqp_conn *conn, unsigned channel);
amqp_bytes_t amqp_text(const char *text); /* borrowed; NULL = "" */
/* "406 PRECONDITION_FAILED - ..." of a channel.close. */
void amqp_channel_error(const amqp_channel_close_t *close, struct err *err);

#endif
