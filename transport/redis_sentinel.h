/*
 * One question to a list of Sentinels, asked one after the other: where is the master of this name?
 * A Sentinel that is out of reach, does not know the name, or sees too few others, is passed over.
 * The one that answered is listened to from then on: it says at once when another becomes master
 * (the old one may accept commands for ten seconds more, which are lost then). Its silence says
 * nothing: ask anew from time to time.
 *
 * Threads: loop thread only. Calls never block. Callbacks come from the loop and may cancel.
 */
#ifndef TRANSPORT_REDIS_SENTINEL_H
#define TRANSPORT_REDIS_SENTINEL_H

#include <uv.h>

#include "base/err.h"
#include "transport/redis_address.h"
#include "transport/redis_settings.h"

struct redis_sentinel;

struct redis_sentinel_events {
	/* One of these two comes, once. `index`: of the Sentinel that told. */
	void (*found)(void *ctx, const char *host, int port, unsigned index);
	/* The text names each of them and its trouble. */
	void (*failed)(void *ctx, const struct err *why);
	/* Some time after it was found: it is another now. */
	void (*moved)(void *ctx);
};

struct redis_sentinel_options {
	uv_loop_t *loop;
	const struct redis_address *sentinels; /* to outlive the question, as the settings do */
	unsigned count, first;		       /* the one to ask first */
	const struct redis_settings *settings;
	double connect_timeout_s; /* where the settings say nothing */
	const struct redis_sentinel_events *events;
	void *ctx;
};

/* To be cancelled in any case. */
struct redis_sentinel *redis_sentinel_ask(const struct redis_sentinel_options *options);
/* No callback comes any more. NULL is allowed. */
void redis_sentinel_cancel(struct redis_sentinel *q);

#endif
