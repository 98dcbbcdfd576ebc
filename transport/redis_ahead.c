#include "transport/redis_ahead.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/broker_redis.h"

#define WINDOW_MOST 1000
#define BYTES_MOST  ((size_t)4 << 20)
#define LOOK_MS	    100
#define TURNS_MOST  4 /* of the timer, that one may wait */

struct waiting {
	struct list_node node;
	const struct redis_queue *queue;
	uint64_t number;
	size_t len;
	char text[];
};

static bool has_room(const struct broker_redis *r)
{
	return r->prefetch == 0 || r->held.used < r->prefetch;
}

static void waiting_free(struct broker_redis *r, struct waiting *w)
{
	list_remove(&w->node);
	r->ahead.count--;
	r->ahead.bytes -= w->len;
	free(w);
}

/* What was taken last is pushed first, so that the first is served first. */
void redis_ahead_give_back(struct broker_redis *r)
{
	char field[REDIS_FIELD_BYTES];

	r->ahead.window = 0;
	while (!list_is_empty(&r->ahead.all)) {
		struct waiting *w = list_entry(r->ahead.all.prev, struct waiting, node);

		redis_unacked_field(r, w->number, field);
		redis_unacked_put_back(r, field, 'R');
		waiting_free(r, w);
	}
	uv_timer_stop(&r->ahead.timer);
}

/* At the pace of the last turn it would take too long. */
static void on_timer(uv_timer_t *timer)
{
	struct broker_redis *r = timer->data;
	unsigned moved = r->ahead.moved;

	r->ahead.moved = 0;
	if (r->ahead.count > TURNS_MOST * moved)
		redis_ahead_give_back(r);
	else if (r->ahead.count == 0)
		uv_timer_stop(timer);
}

void redis_ahead_learn(struct broker_redis *r, double answers)
{
	unsigned wanted = 2 * answers < WINDOW_MOST ? (unsigned)(2 * answers) : WINDOW_MOST;
	unsigned window = r->ahead.window - r->ahead.window / 4;

	r->ahead.window = wanted > window ? wanted : window > 1 ? window : 0;
}

void redis_ahead_take(struct broker_redis *r, const struct redis_queue *queue, uint64_t number,
		      const char *data, size_t len)
{
	struct waiting *w;

	if (list_is_empty(&r->ahead.all) && has_room(r)) {
		redis_take_deliver(r, queue, number, data, len);
		return;
	}
	w = mem_alloc(sizeof(*w) + len);
	*w = (struct waiting){.queue = queue, .number = number, .len = len};
	memcpy(w->text, data, len);
	list_append(&r->ahead.all, &w->node);
	r->ahead.count++;
	r->ahead.bytes += len;
	if (r->is_paused || r->phase != REDIS_UP || r->ahead.bytes > BYTES_MOST) {
		redis_ahead_give_back(r);
	} else if (!uv_is_active((uv_handle_t *)&r->ahead.timer)) {
		r->ahead.moved = 0;
		uv_timer_start(&r->ahead.timer, on_timer, LOOK_MS, LOOK_MS);
	}
}

void redis_ahead_move(struct broker_redis *r)
{
	while (!list_is_empty(&r->ahead.all) && has_room(r) && r->phase == REDIS_UP &&
	       !r->is_paused) {
		struct waiting *w = list_entry(r->ahead.all.next, struct waiting, node);

		list_remove(&w->node);
		r->ahead.moved++;
		redis_take_deliver(r, w->queue, w->number, w->text, w->len);
		waiting_free(r, w);
	}
}

size_t redis_ahead_numbers(struct broker_redis *r, uint64_t *numbers)
{
	struct list_node *pos;
	size_t n = 0;

	list_foreach (pos, &r->ahead.all)
		numbers[n++] = list_entry(pos, struct waiting, node)->number;
	return n;
}

void redis_ahead_init(struct broker_redis *r)
{
	list_init(&r->ahead.all);
	uv_timer_init(r->loop, &r->ahead.timer);
	r->ahead.timer.data = r;
}

void redis_ahead_clear(struct broker_redis *r)
{
	while (r->ahead.all.next && !list_is_empty(&r->ahead.all))
		waiting_free(r, list_entry(r->ahead.all.next, struct waiting, node));
}
