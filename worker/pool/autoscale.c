#include "worker/pool/autoscale.h"

#include "base/clock.h"
#include "base/log.h"
#include "worker/pool/pool_state.h"

#define AGAIN_US 1000000 /* looks at busy processes, and tries to grow after a failure */

static void on_timer(uv_timer_t *timer);

static unsigned needed(const struct autoscale *a)
{
	size_t quantity = a->quantity(a->ctx);
	unsigned count = quantity > a->min ? a->max : a->min;

	if (quantity > a->min && quantity < a->max)
		count = (unsigned)quantity;
	return count < a->max ? count : a->max;
}

/* The timer runs while there are more processes than the least. */
static void arm(struct autoscale *a)
{
	int64_t now_us = clock_mono_us();
	int64_t when_us = a->last_active_us + (int64_t)(a->keepalive_s * 1e6);

	if (a->is_armed || pool_size(a->pool) <= a->min)
		return;
	if (when_us <= now_us)
		when_us = now_us + AGAIN_US;
	a->is_armed = true;
	uv_timer_start(&a->timer, on_timer, (uint64_t)(when_us - now_us + 999) / 1000, 0);
}

static void shrink(struct autoscale *a, unsigned n)
{
	pool_notice(a->pool, LOG_INFO, "Scaling down %u processes.", n);
	if (pool_shrink(a->pool, n, NULL) != 0)
		pool_notice(a->pool, LOG_DEBUG, "Autoscaler won't scale down: all processes busy.");
}

static int grow(struct autoscale *a, unsigned n, struct err *err)
{
	pool_notice(a->pool, LOG_INFO, "Scaling up %u processes.", n);
	a->last_active_us = clock_mono_us();
	return pool_grow(a->pool, n, err);
}

static void on_timer(uv_timer_t *timer)
{
	struct autoscale *a = timer->data;
	int64_t idle_us = clock_mono_us() - a->last_active_us;
	unsigned size = pool_size(a->pool), count = needed(a);

	a->is_armed = false;
	if (size > count && (double)idle_us >= a->keepalive_s * 1e6)
		shrink(a, size - count);
	arm(a);
}

void autoscale_start(struct autoscale *a, uv_loop_t *loop)
{
	uv_timer_init(loop, &a->timer);
	a->timer.data = a;
	a->last_active_us = clock_mono_us();
}

void autoscale_close(struct autoscale *a)
{
	if (!a->pool)
		return;
	a->pool = NULL;
	uv_close((uv_handle_t *)&a->timer, NULL);
}

void autoscale_received(struct autoscale *a)
{
	a->last_active_us = clock_mono_us();
}

void autoscale_grow(struct autoscale *a)
{
	unsigned size = pool_size(a->pool), count = needed(a);
	struct err err = {0};

	if (count <= size || (a->next_try_us && clock_mono_us() < a->next_try_us))
		return;
	a->next_try_us = 0;
	if (grow(a, count - size, &err) != 0) {
		pool_notice(a->pool, LOG_ERROR, "Autoscaler: scale_up: %s", err.text);
		a->next_try_us = clock_mono_us() + AGAIN_US;
	}
	arm(a);
}

int autoscale_set(struct autoscale *a, const unsigned *max, const unsigned *min, struct err *err)
{
	unsigned size = pool_size(a->pool);

	if ((max && *max > a->pool->max_units) || (min && *min > a->pool->max_units))
		return err_set(err, ERR_LIMIT, "at most %u processes", a->pool->max_units);
	if (max && *max < size)
		shrink(a, size - *max);
	a->max = max ? *max : a->max;
	size = pool_size(a->pool);
	if (min && *min > size && grow(a, *min - size, err) != 0)
		return -1;
	a->min = min ? *min : a->min;
	autoscale_grow(a);
	arm(a);
	return 0;
}
