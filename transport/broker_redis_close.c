/*
 * The end: what was taken and not answered goes back to where it is served next, pops that are
 * under way are waited for and go back too, answers arrive, and the registry forgets us; last,
 * because whoever finds our records without it takes us for dead. What cannot be done in time is
 * done by others, after the lease.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "transport/broker_redis.h"

static int newest_first(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return *left > *right ? -1 : *left < *right;
}

static void put_back_held(struct broker_redis *r)
{
	auto_free uint64_t *tags = mem_calloc((size_t)r->held.used + 1, sizeof(*tags));
	char field[REDIS_FIELD_BYTES];
	unsigned at = 0;
	size_t count = redis_held_list(&r->held, &at, tags, r->held.used);

	qsort(tags, count, sizeof(*tags), newest_first);
	for (size_t i = 0; i < count; i++) {
		redis_unacked_field(r, redis_held_number(tags[i]), field);
		redis_unacked_put_back(r, field, 'R');
	}
	redis_held_clear(&r->held);
}

bool redis_broker_is_closing(const struct broker_redis *r)
{
	return r->close_by_us != 0;
}

static bool is_empty(struct broker_redis *r)
{
	return r->take.flight_count == 0 && redis_unacked_is_done(r) &&
	       redis_letters_is_done(&r->letters);
}

static void on_handle_closed(uv_handle_t *handle)
{
	redis_broker_handle_closed(handle->data);
}

static void finish(struct broker_redis *r)
{
	if (r->is_finished)
		return;
	r->is_finished = true;
	r->is_connected = false;
	redis_letters_down(&r->letters);
	redis_letters_close(&r->letters);
	redis_conn_close(r->conn);
	uv_close((uv_handle_t *)&r->tick, on_handle_closed);
	uv_close((uv_handle_t *)&r->take.timer, on_handle_closed);
	uv_close((uv_handle_t *)&r->ahead.timer, on_handle_closed);
}

static void on_left(void *ctx, const redisReply *reply)
{
	struct broker_redis *r = ctx;

	if (reply != NULL)
		finish(r);
	else
		r->is_leaving = false; /* on the next connection */
}

/* The registry entry, and with it our right to what we held. */
static void leave(struct broker_redis *r)
{
	const struct redis_arg args[] = {REDIS_ARG("ZREM"),
					 {r->nodes, strlen(r->nodes)},
					 {r->lease.id, strlen(r->lease.id)}};

	r->is_leaving = redis_conn_command(r->conn, args, 3, on_left, r) == 0;
}

void redis_broker_close_advance(struct broker_redis *r)
{
	if (!redis_broker_is_closing(r) || r->is_finished)
		return;
	if (clock_mono_us() >= r->close_by_us || (!r->is_connected && is_empty(r)))
		finish(r);
	else if (r->is_connected && is_empty(r) && !r->is_leaving && !r->lease.is_asking)
		leave(r);
}

static void on_deadline(uv_timer_t *timer)
{
	struct broker_redis *r = timer->data;

	redis_broker_close_advance(r);
	if (!r->is_finished)
		redis_wake(r);
}

void redis_broker_close(struct broker *b, double deadline_s)
{
	struct broker_redis *r = broker_redis_of(b);

	r->is_paused = true;
	r->close_by_us = clock_mono_us() + (int64_t)(deadline_s * 1e6) + 1;
	r->phase = REDIS_CLOSING;
	redis_ahead_give_back(r);
	put_back_held(r);
	redis_letters_leave(&r->letters);
	uv_timer_start(&r->take.timer, on_deadline, 0, 50);
}

/* Nothing of ours is called any more. */
static void queues_free(struct list_node *queues)
{
	struct list_node *node;

	while ((node = list_pop(queues)) != NULL) {
		struct redis_queue *queue = list_entry(node, struct redis_queue, node);

		for (unsigned i = 0; i < REDIS_MAX_STEPS; i++)
			free(queue->keys[i]);
		free(queue->name);
		free(queue->aside);
		free(queue->closing);
		free(queue);
	}
}

void redis_broker_free(struct broker_redis *r)
{
	redis_ahead_clear(r);
	redis_take_clear(r);
	redis_unacked_clear(r);
	redis_sweep_clear(r);
	redis_lease_clear(r);
	redis_letters_clear(&r->letters);
	redis_held_clear(&r->held);
	queues_free(&r->queues);
	queues_free(&r->cancelled);
	redis_options_clear(&r->options);
	free(r->unacked);
	free(r->index);
	free(r->mutex);
	free(r->nodes);
	free(r);
}

void redis_broker_handle_closed(struct broker_redis *r)
{
	if (--r->open_handles > 0)
		return;
	if (!r->is_stillborn)
		r->base.events->on_closed(r->base.ctx);
	redis_broker_free(r);
}
