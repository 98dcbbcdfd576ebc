/*
 * A broker: where task messages come from and go to. One interface, one const driver per kind
 * (amqp, filesystem; redis later). A broker keeps what it was told (queues, prefetch) and rebuilds
 * everything after each reconnect by itself, with back-off; callers see on_down and on_up.
 *
 * Threads: loop thread only. Calls never block. Callbacks come from the loop, never from inside a
 * call of this interface. A delivery is identified by (session, tag): `session` counts consumer
 * connections, so that an ack for a connection that is gone is dropped instead of killing the new
 * one.
 *
 * Life: broker_open -> broker_consume (any number) -> broker_start -> ... -> broker_pause (warm
 * stop: no new deliveries) -> broker_close (flushes acks and publishes within a deadline) ->
 * on_closed.
 */
#ifndef TRANSPORT_BROKER_H
#define TRANSPORT_BROKER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "protocol/message.h"
#include "transport/queue_def.h"

struct broker;

/* An exchange that publications want declared. Strings are copied. */
struct exchange_def {
	const char *name, *type;
	bool is_durable;
};

/* A queue of this program's own that broadcast messages come into, consumed without acks. */
struct mailbox_def {
	const char *queue;
	const char *exchange, *exchange_type; /* declared; "fanout", "topic" or "direct" */
	bool is_exchange_durable;
	const char *binding_key;
	bool is_durable; /* else it goes with its last consumer */
	bool is_exclusive;
	double ttl_s, expires_s; /* x-message-ttl, x-expires; < 0 = none */
};
/* The message is valid until return; the handler may take parts of it (set them NULL). */
typedef void broker_mail_fn(void *ctx, struct message *message);

struct broker_events {
	/* Declared and consuming, and each mailbox is consumed or has failed once. `host` is the
	 * broker's address for the log, without secrets. */
	void (*on_up)(void *ctx, const char *host);
	/* The consumer session is gone, all its unacked deliveries with it. `retry_in_s` < 0: this
	 * was the last try, the broker gave up. Also called for each failed attempt to connect. */
	void (*on_down)(void *ctx, const struct err *why, double retry_in_s, int attempt,
			int max_attempts);
	/* The message is valid until return; the handler may take parts of it (set them NULL). */
	void (*on_delivery)(void *ctx, struct message *message, unsigned session, uint64_t tag);
	/* One line worth a WARNING or ERROR (queue deleted and declared again, 406 on declare,
	 * ...). */
	void (*on_notice)(void *ctx, bool is_error, const char *text);
	/* What broker_is_sure says has changed while the connection stands. May be NULL. */
	void (*on_sure)(void *ctx, bool is_sure);
	/* broker_close has finished; the broker is freed after return. */
	void (*on_closed)(void *ctx);
};

struct broker_options {
	uv_loop_t *loop;
	const char *url; /* "a;b;c" = fail-over list */
	const struct broker_events *events;
	void *ctx;
	double heartbeat_s;	  /* 0 = off; broker_heartbeat */
	double connect_timeout_s; /* broker_connection_timeout, 4 */
	int max_retries;	  /* broker_connection_max_retries, 100; -1 = for ever; 0 = none */
	bool retry_on_startup;	  /* broker_connection_retry_on_startup */
	size_t max_message_bytes; /* larger deliveries are rejected with a notice */
	size_t max_publish_bytes; /* bound of all publishes that are waiting */
	const char *transport_options; /* broker_transport_options as JSON object text, or NULL */
	const char *login_method; /* broker_login_method: "PLAIN", "EXTERNAL", or NULL = PLAIN */
	const char *tls;	  /* broker_use_ssl: "true", "false", JSON object text, or NULL */
	const char *product_version; /* for the client properties */
	const char *node_name;
	/* What waits in the queues asked for before broker_start is thrown away, once. */
	bool purges;
	/* The prefetch count is shared by all consumers whatever their queues are, although quorum
	 * queues refuse that. */
	bool ignores_quorum;
};

/* NULL with `err` for a bad URL or a scheme we do not speak (the text names what to use). */
struct broker *broker_open(const struct broker_options *options, struct err *err);
int broker_consume(struct broker *b, const struct queue_def *queue, struct err *err);
void broker_cancel(struct broker *b, const char *queue);
void broker_start(struct broker *b);
/* Prefetch count, and how many messages may be in hand beyond it because so many wait for their
 * time; 0 = unlimited (as are more than 65535 by AMQP). Changes of one turn cost one. */
void broker_qos(struct broker *b, unsigned count, unsigned waiting);
/* Acks of one loop turn go out together, as few as the order of tags allows ("multiple"). */
void broker_ack(struct broker *b, unsigned session, uint64_t tag);
void broker_reject(struct broker *b, unsigned session, uint64_t tag, bool requeue);
/* Some brokers let deliveries outlive their connection: what on_down takes away elsewhere is kept
 * then, and answers of the time in between are sent later. */
bool broker_keeps_deliveries(const struct broker *b);
/* With such a broker: whether the delivery is still ours. It may have been given to another worker
 * meanwhile, and is not to be begun then. True with all others. */
bool broker_is_held(const struct broker *b, unsigned session, uint64_t tag);
/* With such a broker: false while what it said last is too old to be relied on, and nothing that
 * was not begun should be; on_sure or on_up follows. True with all others. */
bool broker_is_sure(const struct broker *b);
/* Lets messages that are due later wait in the broker, as Celery's native delayed delivery does
 * (protocol/delayed.h): its stages are declared in queues of this type ("classic", "quorum"), and
 * the queues of broker_consume are bound to its end. Brokers that cannot do it ignore it. */
void broker_delay(struct broker *b, const char *queue_type);
/* Would a message that waits there come to a queue of ours by this exchange and key afterwards? */
bool broker_can_delay(const struct broker *b, const char *exchange, const char *routing_key);
void broker_pause(struct broker *b);
/* Kept and rebuilt after each reconnect, also after broker_pause, until broker_close. A mailbox
 * that cannot be had (its name is in use, its exchange was declared otherwise) is noticed and tried
 * again with back-off; that never touches the queues of broker_consume. */
int broker_listen(struct broker *b, const struct mailbox_def *def, broker_mail_fn *on_mail,
		  void *ctx, struct err *err);
void broker_unlisten(struct broker *b, const char *queue); /* on_mail is called no more */
void broker_close(struct broker *b, double deadline_s);

/* Something to send. All is copied before return. */
struct publication {
	const char *exchange;
	const char *routing_key;
	/* Declare these first (once per connection), or NULL. */
	const struct queue_def *declare;
	const struct exchange_def *declare_exchange;
	const char *content_type, *content_encoding, *correlation_id, *reply_to, *expiration;
	int priority;	       /* -1 = absent */
	int delivery_mode;     /* 2 = persistent */
	const json_t *headers; /* or NULL */
	const char *body;
	size_t body_len;
};
/* `err` NULL: the broker took responsibility (confirm, durable write). */
typedef void broker_published_fn(void *ctx, const struct err *err);
/* Queued while disconnected and sent again when a connection dies before the confirm; so at least
 * once. Returns -1 when the bound of waiting publishes is reached. `done` may be NULL. */
int broker_publish(struct broker *b, const struct publication *p, broker_published_fn *done,
		   void *ctx, struct err *err);
/* Sent at most once and in no order to those of broker_publish, which it never disturbs. Dropped
 * (and counted) while there is no connection, or when BROKER_POSTS_MAX bytes wait. */
#define BROKER_POSTS_MAX ((size_t)8 << 20)
void broker_post(struct broker *b, const struct publication *p);

struct broker_stats {
	bool is_up;	 /* consuming */
	bool is_blocked; /* broker alarm (connection.blocked) */
	unsigned session;
	uint64_t delivered, acked, rejected, published, reconnects;
	uint64_t late_acks; /* for connections that were gone */
	uint64_t mails, posts, posts_dropped;
	size_t publishes_waiting;
	char host[256]; /* without secrets */
};
void broker_stats(const struct broker *b, struct broker_stats *ret_stats);

/* One driver per URL scheme; see transport/broker.c for the table. Every function gets the
 * driver's own object, which begins with struct broker. */
struct broker_driver {
	const char *const *schemes; /* NULL-terminated */
	/* As Celery declares its exchange of events there. */
	const char *event_exchange_type;
	bool has_neighbors; /* Celery's workers sync with each other there (mingle, gossip) */
	struct broker *(*open)(const struct broker_options *options, struct err *err);
	int (*consume)(struct broker *b, const struct queue_def *queue, struct err *err);
	void (*cancel)(struct broker *b, const char *queue);
	void (*start)(struct broker *b);
	void (*qos)(struct broker *b, unsigned count, unsigned waiting);
	void (*ack)(struct broker *b, unsigned session, uint64_t tag);
	void (*reject)(struct broker *b, unsigned session, uint64_t tag, bool requeue);
	/* Of a broker that keeps deliveries; else NULL. */
	bool (*is_held)(const struct broker *b, unsigned session, uint64_t tag);
	bool (*is_sure)(const struct broker *b);
	/* Of a broker with native delayed delivery; else NULL. */
	void (*delay)(struct broker *b, const char *queue_type);
	bool (*can_delay)(const struct broker *b, const char *exchange, const char *routing_key);
	void (*pause)(struct broker *b);
	void (*close)(struct broker *b, double deadline_s);
	int (*publish)(struct broker *b, const struct publication *p, broker_published_fn *done,
		       void *ctx, struct err *err);
	int (*listen)(struct broker *b, const struct mailbox_def *def, broker_mail_fn *on_mail,
		      void *ctx, struct err *err);
	void (*unlisten)(struct broker *b, const char *queue);
	void (*post)(struct broker *b, const struct publication *p);
	void (*stats)(const struct broker *b, struct broker_stats *ret_stats);
};
struct broker {
	const struct broker_driver *driver;
	const struct broker_events *events;
	void *ctx;
};
extern const struct broker_driver broker_amqp_driver;
extern const struct broker_driver broker_filesystem_driver;
extern const struct broker_driver broker_redis_driver;

#endif
