/*
 * Wakes requests whose ETA has come: one libuv timer for the whole heap of waiting requests. Times
 * are wall-clock, so the timer looks at the clock at least once a minute and follows it when it is
 * set.
 */
#ifndef WORKER_REQUEST_ETA_H
#define WORKER_REQUEST_ETA_H

#include <uv.h>

#include "worker/request/request.h"

struct eta {
	uv_timer_t timer;
	struct requests *requests;
	/* Must move the request out of WAITING_ETA. */
	void (*on_due)(void *ctx, struct request *r);
	void *ctx;
	int64_t armed_for_us; /* wall time the timer is set for; 0 = not armed */
};

void eta_init(struct eta *eta, uv_loop_t *loop, struct requests *requests,
	      void (*on_due)(void *ctx, struct request *r), void *ctx);
/* To be called after a request began to wait. */
void eta_arm(struct eta *eta);
void eta_close(struct eta *eta);

#endif
