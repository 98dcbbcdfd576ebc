/* Commands that were sent and not answered, in order: a ring. */
#ifndef TRANSPORT_REDIS_CALLS_H
#define TRANSPORT_REDIS_CALLS_H

#include <hiredis/hiredis.h>
#include <stddef.h>

struct redis_call {
	void (*fn)(void *ctx, const redisReply *reply);
	void *ctx;
};
struct redis_calls {
	struct redis_call *ring;
	size_t first, count, room; /* `room` is a power of two, or 0 */
};

void redis_calls_push(struct redis_calls *calls, struct redis_call call);
/* `count` is above 0. */
struct redis_call redis_calls_pop(struct redis_calls *calls);
void redis_calls_clear(struct redis_calls *calls);

#endif
