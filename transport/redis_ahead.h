/*
 * Messages taken ahead of the prefetch count: as many as were answered during two round trips, so
 * that a distant server does not slow down quick tasks. They stand in the hash of unacked messages
 * like all that was taken. Whatever does not move on at once goes back: nothing waits here for more
 * than about half a second, and never behind a long task.
 */
#ifndef TRANSPORT_REDIS_AHEAD_H
#define TRANSPORT_REDIS_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"

struct broker_redis;
struct redis_queue;

struct redis_ahead {
	struct list_node all; /* struct waiting, oldest first */
	unsigned count;
	unsigned window; /* how many there may be */
	unsigned moved;	 /* since the timer's last turn */
	size_t bytes;
	uv_timer_t timer;
};

void redis_ahead_init(struct broker_redis *r);
/* So many messages are answered during a round trip. */
void redis_ahead_learn(struct broker_redis *r, double answers);
/* To the worker when there is room, else it waits. */
void redis_ahead_take(struct broker_redis *r, const struct redis_queue *queue, uint64_t number,
		      const char *data, size_t len);
/* To the worker what there is room for now. */
void redis_ahead_move(struct broker_redis *r);
/* The numbers of all that waits; room for `count`. */
size_t redis_ahead_numbers(struct broker_redis *r, uint64_t *numbers);
/* All that waits is put back, to be served next. */
void redis_ahead_give_back(struct broker_redis *r);
void redis_ahead_clear(struct broker_redis *r);

#endif
