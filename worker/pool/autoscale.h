/*
 * Fits the size of a prefork pool to the work: up at once when more tasks are taken on than there
 * are processes, down to what is needed after some time without new ones. Rules and texts of
 * celery/worker/autoscale.py.
 *
 * Threads: loop thread only.
 */
#ifndef WORKER_POOL_AUTOSCALE_H
#define WORKER_POOL_AUTOSCALE_H

#include "worker/pool/pool.h"

struct autoscale {
	struct pool *pool; /* NULL = off */
	unsigned max, min;
	double keepalive_s;
	/* Tasks that wait for a process or have one. */
	size_t (*quantity)(void *ctx);
	void *ctx;
	int64_t last_active_us; /* started, grown, or a task received */
	int64_t next_try_us;	/* after a failure to grow */
	uv_timer_t timer;
	bool is_armed;
};

/* Members before last_active_us are to be set; the pool is started. */
void autoscale_start(struct autoscale *a, uv_loop_t *loop);
void autoscale_close(struct autoscale *a); /* before the pool is freed; the loop must turn */
void autoscale_received(struct autoscale *a);
/* There may be more to do than there are processes. */
void autoscale_grow(struct autoscale *a);
/* New bounds; NULL keeps one. */
int autoscale_set(struct autoscale *a, const unsigned *max, const unsigned *min, struct err *err);

#endif
