/*
 * One of the amqp driver's two connections over time: the fail-over list, the back-off, and opening
 * it again after a loss. Internal to the amqp driver.
 */
#ifndef TRANSPORT_BROKER_AMQP_LINK_H
#define TRANSPORT_BROKER_AMQP_LINK_H

#include "transport/backoff.h"
#include "transport/broker_amqp_conn.h"

struct amqp_broker;

struct amqp_link {
	struct amqp_broker *broker;
	const struct amqp_conn_events *events; /* ctx is the owner */
	void (*on_retry)(void *owner, const struct err *why, double retry_in_s);
	void *owner;
	const char *role;
	struct amqp_conn *conn; /* NULL = waiting for the timer, or stopped */
	struct backoff backoff;
	unsigned url_index;   /* of the connection at hand */
	uint64_t up_since_ms; /* 0 = not logged in */
	uv_timer_t timer;
	bool is_stopped;
};

void link_init(struct amqp_link *link, struct amqp_broker *b, int max_retries);
void link_start(struct amqp_link *link);
/* To be called by on_open. */
void link_opened(struct amqp_link *link);
/* To be called by on_down: frees the connection and arranges the next attempt, or none when the
 * link was stopped (`why` NULL is a stop). on_retry tells the delay. */
void link_lost(struct amqp_link *link, const struct err *why);
/* No further attempts; a connection that is up says goodbye and on_down(NULL) follows, otherwise
 * nothing follows and false is returned. */
bool link_stop(struct amqp_link *link);
void link_drop(struct amqp_link *link); /* frees the connection at once */

#endif
