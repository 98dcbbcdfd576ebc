#include "worker/request/eta.h"

#include "base/clock.h"
#include "worker/request/shelf.h"

#define LOOK_AGAIN_US (60 * 1000000LL)
/* So that a wave of tasks due at the same moment cannot keep the loop from its sockets. */
#define WAKE_AT_MOST 1000

static const struct heap_node *first(const struct eta *eta)
{
	const struct heap_node *node = heap_min(&eta->requests->eta);
	const struct shelved *s = shelf_first(eta->requests);

	return s && (!node || s->due.key < node->key) ? &s->due : node;
}

static void on_timer(uv_timer_t *timer)
{
	struct eta *eta = timer->data;
	int64_t now = clock_wall_us();
	struct shelved *s;

	eta->armed_for_us = 0;
	for (int i = 0; i < WAKE_AT_MOST; i++) {
		if (!(s = shelf_first(eta->requests)) || s->due.key > now)
			break;
		shelf_take(eta->requests, s);
	}
	for (int i = 0; i < WAKE_AT_MOST; i++) {
		struct heap_node *node = heap_min(&eta->requests->eta);

		if (!node || node->key > now)
			break;
		eta->on_due(eta->ctx, list_entry(node, struct request, due));
	}
	eta_arm(eta);
}

void eta_init(struct eta *eta, uv_loop_t *loop, struct requests *requests,
	      void (*on_due)(void *ctx, struct request *r), void *ctx)
{
	uv_timer_init(loop, &eta->timer);
	eta->timer.data = eta;
	eta->requests = requests;
	eta->on_due = on_due;
	eta->ctx = ctx;
	eta->armed_for_us = 0;
}

void eta_arm(struct eta *eta)
{
	const struct heap_node *node = first(eta);

	if (!node) {
		uv_timer_stop(&eta->timer);
		eta->armed_for_us = 0;
		return;
	}
	if (eta->armed_for_us != 0 && eta->armed_for_us <= node->key)
		return;
	int64_t wait_us = node->key - clock_wall_us();

	if (wait_us < 0)
		wait_us = 0;
	if (wait_us > LOOK_AGAIN_US)
		wait_us = LOOK_AGAIN_US;
	eta->armed_for_us = node->key;
	/* libuv counts from the time it cached at the top of the loop turn. */
	uv_update_time(eta->timer.loop);
	uv_timer_start(&eta->timer, on_timer, (uint64_t)((wait_us + 999) / 1000), 0);
}

void eta_close(struct eta *eta)
{
	uv_close((uv_handle_t *)&eta->timer, NULL);
}
