/*
 * Taking messages: popped and recorded as unacked in one step, as many as the prefetch count has
 * room for, up to a megabyte at a time. While tasks are quick, what will be asked for within the
 * next round trips is taken too and waits here (redis_ahead.h). After a pop that found nothing the
 * server is to tell of the next message (see redis_take_look); in any case queues are asked again
 * after a while.
 */
#ifndef TRANSPORT_REDIS_TAKE_H
#define TRANSPORT_REDIS_TAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"

struct broker_redis;
struct redis_queue;

#define REDIS_FLIGHTS 4

/* A pop that is under way. */
struct redis_flight {
	uint64_t first;
	unsigned count, wakes, generation;
	uint64_t sent_ns;
	struct redis_queue **order; /* that it was asked in */
};

struct redis_take {
	uint64_t next_number;
	struct redis_flight flights[REDIS_FLIGHTS]; /* oldest first */
	unsigned flight_count, asked;
	unsigned wakes;
	uint64_t landed_ns, landed_answers; /* at the end of the last one */
	bool is_dry;			    /* nothing is asked for until the timer or a wake */
	bool is_tracked;
	uv_timer_t timer;
	unsigned delay_ms;
};

void redis_take_init(struct broker_redis *r);
void redis_take_clear(struct broker_redis *r);
/* To the worker, or back where it cannot be. */
void redis_take_deliver(struct broker_redis *r, const struct redis_queue *queue, uint64_t number,
			const char *data, size_t len);
/* Sends what the prefetch count has room for. */
void redis_take_pump(struct broker_redis *r);
/* A list may have grown. */
void redis_take_wake(struct broker_redis *r);
/* Out of the hash of unacked messages into a list that people can look at, with a notice. */
void redis_take_set_aside(struct broker_redis *r, const char *queue, const char *field,
			  const char *data, size_t len, const struct err *why);
/* The server tells from now on (or no more) when a list grows after it was looked at. */
void redis_take_track(struct broker_redis *r, bool is_tracked);

#endif
