/*
 * The connection that fanout messages come in by: subscriptions that are kept and made anew after
 * each reconnect. The server also sends here what client-side caching of another connection says
 * about keys that changed (CLIENT TRACKING ... REDIRECT).
 *
 * Threads: loop thread only. Callbacks come from the loop, never from inside a call.
 */
#ifndef TRANSPORT_REDIS_PUBSUB_H
#define TRANSPORT_REDIS_PUBSUB_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/redis_conn.h"

struct redis_pubsub;

/* Subscribed to as to any channel. */
#define REDIS_INVALIDATIONS "__redis__:invalidate"

struct redis_pubsub_events {
	/* Subscribed to all it was told (but for what was refused). `client_id` is for CLIENT
	 * TRACKING; 0 = the server does not tell. */
	void (*on_up)(void *ctx, int64_t client_id);
	/* This user may not hear that channel. */
	void (*on_refused)(void *ctx, const char *subscription, const char *why);
	/* Lost, or an attempt failed; each time. What was published since is lost. */
	void (*on_down)(void *ctx, const struct err *why);
	void (*on_message)(void *ctx, const char *subscription, const char *data, size_t len);
	/* A key that another connection of ours asked for has changed. */
	void (*on_invalidate)(void *ctx);
	void (*on_closed)(void *ctx);
};

struct redis_pubsub_options {
	struct redis_conn_options conn; /* `events` and `ctx` are set here */
	const struct redis_pubsub_events *events;
	void *ctx;
};

struct redis_pubsub *redis_pubsub_open(const struct redis_pubsub_options *options, struct err *err);
/* Each channel, or pattern of them, once. Counts as "told" for the next on_up at once. */
void redis_pubsub_subscribe(struct redis_pubsub *p, const char *text, bool is_pattern);
void redis_pubsub_unsubscribe(struct redis_pubsub *p, const char *text);
/* Asks again for what was refused. */
void redis_pubsub_retry(struct redis_pubsub *p);
/* Where it is connected to; good until the next turn of the loop. */
const char *redis_pubsub_host(const struct redis_pubsub *p);
void redis_pubsub_restart(struct redis_pubsub *p, const char *reason);
bool redis_pubsub_is_up(const struct redis_pubsub *p);
void redis_pubsub_close(struct redis_pubsub *p);

#endif
