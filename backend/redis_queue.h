/*
 * The operations of a Redis store from the call to the confirmation. Each is on one of three lists:
 * `waiting` to be sent, `sent`, or `held` because the server refused it for now. Each list is in
 * the order of the calls, and all of `held` are older than all of `sent`, those than all of
 * `waiting`; a store that goes its second way (redis_op.h) while others are answered may come to
 * stand behind them. Only an operation that was taken off `sent` may be held or dropped.
 */
#ifndef BACKEND_REDIS_QUEUE_H
#define BACKEND_REDIS_QUEUE_H

#include "backend/redis_op.h"

struct redis_queue {
	struct list_node held, sent, waiting;
	struct list_node asleep; /* until redis_queue_wake: no order is asked of these */
	size_t count, bytes, sent_count, sent_bytes;
};

void redis_queue_init(struct redis_queue *q);
void redis_queue_add(struct redis_queue *q, struct redis_op *op);
/* The oldest of `waiting`, or NULL. */
struct redis_op *redis_queue_next(struct redis_queue *q);
/* It has just been sent. */
void redis_queue_sent(struct redis_queue *q, struct redis_op *op);
/* It has been answered: on no list until it is held or dropped. */
void redis_queue_take(struct redis_queue *q, struct redis_op *op);
void redis_queue_hold(struct redis_queue *q, struct redis_op *op);
/* Instead of either: it waits for longer than others do. */
void redis_queue_sleep(struct redis_queue *q, struct redis_op *op);
void redis_queue_wake(struct redis_queue *q);
/* Frees it. */
void redis_queue_drop(struct redis_queue *q, struct redis_op *op);
/* All of `held` wait again. */
void redis_queue_release(struct redis_queue *q);
/* All wait again: nothing of what was sent will be answered. */
void redis_queue_take_back(struct redis_queue *q);
/* Is an operation of the same key on its way? */
bool redis_queue_has_sent(const struct redis_queue *q, const struct redis_op *op);
/* A store of the same key on `held` that must not come after `by`, which is stored now; or NULL. A
 * SUCCESS stays the last word whatever comes between. */
struct redis_op *redis_queue_superseded(struct redis_queue *q, const struct redis_op *by);

#endif
