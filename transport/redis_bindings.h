/*
 * What this program has bound, kept bound: written on each connection and again before others may
 * take it for abandoned. Mirrors kombu/transport/redis.py (_queue_bind, _refresh_bindings,
 * _delete). contract: control.md 7.1, 7.8.
 */
#ifndef TRANSPORT_REDIS_BINDINGS_H
#define TRANSPORT_REDIS_BINDINGS_H

#include "base/list.h"
#include "base/map.h"
#include "transport/redis_wire.h"

struct redis_bindings {
	struct redis_wire *wire;
	struct list_node all; /* struct binding */
	struct map *known;    /* the same, by exchange and member */
	unsigned passing_count;
	unsigned unanswered; /* commands */
	uint64_t refreshed_ms;
	bool needs_retry, is_told;
	void (*on_written)(void *ctx); /* nothing is unanswered any more */
	void *ctx;
};

struct redis_binding_def {
	const char *queue, *exchange, *type, *key;
	double expires_s; /* x-expires; < 0 = it lasts */
	bool goes;	  /* with this program: redis_bindings_leave */
	bool is_passing; /* of somebody who published: forgotten, but not unbound, after many others
			  */
};

void redis_bindings_init(struct redis_bindings *b, struct redis_wire *wire,
			 void (*on_written)(void *ctx), void *ctx);
/* Kept until it is removed; written now, or as soon as there is a connection. Nothing is done for
 * the default exchange. Everything is copied. */
int redis_bindings_add(struct redis_bindings *b, const struct redis_binding_def *def,
		       struct err *err);
/* Unbinds a queue (NULL = all) that goes, and deletes what waits in it. */
void redis_bindings_leave(struct redis_bindings *b, const char *queue);
void redis_bindings_up(struct redis_bindings *b);
/* To be called every few seconds. */
void redis_bindings_tick(struct redis_bindings *b);
void redis_bindings_clear(struct redis_bindings *b);

#endif
