/*
 * Takes what is pushed to lists of this program's own, answers to its questions mostly, over a
 * connection that waits for them. At most once: a message under way when the connection dies is
 * lost.
 */
#ifndef TRANSPORT_REDIS_POPPER_H
#define TRANSPORT_REDIS_POPPER_H

#include "transport/redis_conn.h"
#include "transport/redis_options.h"

struct redis_popper;

struct redis_popper_options {
	struct redis_conn_options conn; /* `events` and `ctx` are set here */
	const struct redis_options *names;
	void (*on_message)(void *ctx, const char *queue, const char *data, size_t len);
	void (*on_closed)(void *ctx);
	void *ctx;
};

struct redis_popper *redis_popper_open(const struct redis_popper_options *options, struct err *err);
void redis_popper_add(struct redis_popper *p, const char *queue);
void redis_popper_remove(struct redis_popper *p, const char *queue);
bool redis_popper_is_idle(const struct redis_popper *p); /* no queues */
/* Every second or so: asks again where the server has refused. */
void redis_popper_tick(struct redis_popper *p);
void redis_popper_close(struct redis_popper *p);

#endif
