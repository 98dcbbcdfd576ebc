/*
 * One AMQP 0-9-1 connection: login, frames, heartbeats, alarms, and its end. It knows channels only
 * by number and keeps nothing that would have to be carried over: after a failure it is thrown away
 * and another one is opened. Internal to the amqp driver.
 */
#ifndef TRANSPORT_BROKER_AMQP_CONN_H
#define TRANSPORT_BROKER_AMQP_CONN_H

#include <amqp.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "protocol/message.h"
#include "transport/url.h"

struct amqp_conn;

struct amqp_conn_events {
	/* Logged in: channels may be opened. */
	void (*on_open)(void *ctx);
	/* A method for a channel. After channel.close, which has been answered already, the number
	 * may be opened again. `method` is valid until return. */
	void (*on_method)(void *ctx, unsigned channel, const amqp_method_t *method);
	/* Payload of a content header frame, not decoded and not checked yet. */
	void (*on_header)(void *ctx, unsigned channel, struct span payload);
	void (*on_body)(void *ctx, unsigned channel, struct span data);
	/* connection.blocked and unblocked; `reason` is NULL for the latter. */
	void (*on_blocked)(void *ctx, const char *reason);
	/* Output will be written right after this. */
	void (*on_flush)(void *ctx);
	/* The connection is gone, or closed as asked for (`why` NULL). No callback follows; to be
	 * freed by the caller, here or later. */
	void (*on_down)(void *ctx, const struct err *why);
};

struct amqp_conn_options {
	uv_loop_t *loop;
	const struct url *url;	 /* with user, password and vhost filled in */
	struct tls_context *tls; /* NULL = in clear */
	bool is_login_external;	 /* SASL EXTERNAL: the server knows us by our certificate */
	double heartbeat_s;	 /* 0 = off */
	double connect_timeout_s;
	size_t max_output;
	const char *product_version;
	const char *name; /* shown by the broker's management */
	const struct amqp_conn_events *events;
	void *ctx;
};

struct amqp_conn *amqp_conn_open(const struct amqp_conn_options *options);
/* -1 when the output is full or the method cannot be encoded. */
int amqp_conn_send(struct amqp_conn *c, unsigned channel, amqp_method_number_t id, void *method);
int amqp_conn_send_frame(struct amqp_conn *c, unsigned channel, uint8_t type, const void *payload,
			 size_t len);
/* on_flush will be called before the loop sleeps. */
void amqp_conn_wake(struct amqp_conn *c);
size_t amqp_conn_pending(const struct amqp_conn *c);
/* Most payload bytes of one frame. */
size_t amqp_conn_max_payload(const struct amqp_conn *c);
/* Server version as major * 100 + minor (310 = 3.10), 0 when it is no RabbitMQ. */
unsigned amqp_conn_rabbitmq_version(const struct amqp_conn *c);
/* Says goodbye after what was written; on_down(NULL) follows. */
void amqp_conn_close(struct amqp_conn *c);
void amqp_conn_free(struct amqp_conn *c); /* NULL is allowed */

#endif
