/*
 * All of the Redis driver that is not taking tasks: publications, what is sent at most once,
 * mailboxes, and bindings. It sends over the driver's command connection, hears fanout messages on
 * one of its own (redis_pubsub.h) and takes answers on another while it waits for some
 * (redis_popper.h).
 */
#ifndef TRANSPORT_REDIS_LETTERS_H
#define TRANSPORT_REDIS_LETTERS_H

#include "transport/broker.h"
#include "transport/redis_bindings.h"
#include "transport/redis_outbox.h"
#include "transport/redis_popper.h"
#include "transport/redis_post.h"
#include "transport/redis_pubsub.h"

struct redis_letters_events {
	/* All mailboxes are bound and heard; each time after redis_letters_up. */
	void (*on_settled)(void *ctx);
	/* The client of CLIENT TRACKING's invalidations; 0 = there is none now. */
	void (*on_tracker)(void *ctx, int64_t client_id);
	void (*on_invalidate)(void *ctx);
	void (*on_closed)(void *ctx);
};

struct redis_letters {
	struct redis_wire wire;
	struct redis_letters_events events;
	void *ctx;
	struct redis_conn_options conn; /* of the other connections */
	struct redis_settings settings;
	char *url;
	size_t max_body;
	struct map *types; /* exchange -> type, as declared here */
	struct redis_bindings bindings;
	struct redis_outbox outbox;
	struct redis_post post;
	struct redis_pubsub *pubsub;
	struct redis_popper *popper;
	struct list_node mailboxes;
	uv_timer_t timer;
	unsigned open_handles, ticks;
	bool is_started, is_closing, is_settled;
	bool is_deaf, is_deaf_told; /* no subscriptions, though there should be */
	uint64_t deaf_since_ms;
	uint64_t unread_told_ms, aligned_ms, up_ms, mails;
};

struct redis_letters_options {
	const struct redis_conn_options *conn; /* of the command connection; copied */
	const struct redis_options *names;
	struct redis_scripts *scripts;
	size_t max_body, max_publish;
	const struct redis_letters_events *events;
	void (*notice)(void *ctx, bool is_error, const char *text);
	void *ctx; /* of both */
};

int redis_letters_init(struct redis_letters *l, const struct redis_letters_options *options,
		       struct err *err);
/* `wants_invalidations`: queues are consumed. */
void redis_letters_start(struct redis_letters *l, bool wants_invalidations);
/* The command connection. */
void redis_letters_up(struct redis_letters *l, struct redis_conn *conn);
void redis_letters_down(struct redis_letters *l);

/* Binds a queue that is consumed. What goes to its fanout exchanges comes to `on_mail`, once to all
 * who consume it; *ret_has_list: others push to it, and it is to be asked. */
int redis_letters_consume(struct redis_letters *l, const struct queue_def *queue,
			  broker_mail_fn *on_mail, void *ctx, bool *ret_has_list, struct err *err);
void redis_letters_cancel(struct redis_letters *l, const char *queue);
int redis_letters_publish(struct redis_letters *l, const struct publication *p,
			  broker_published_fn *done, void *ctx, struct err *err);
int redis_letters_listen(struct redis_letters *l, const struct mailbox_def *def,
			 broker_mail_fn *on_mail, void *ctx, struct err *err);
void redis_letters_unlisten(struct redis_letters *l, const char *queue);

/* The end: first leave the mailboxes, then wait until nothing is under way, then close. */
void redis_letters_leave(struct redis_letters *l);
bool redis_letters_is_done(struct redis_letters *l);
void redis_letters_close(struct redis_letters *l);
void redis_letters_clear(struct redis_letters *l);

#endif
