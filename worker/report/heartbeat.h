/*
 * Tells monitors and peers that this worker is there: worker-online when a connection stands,
 * worker-heartbeat every few seconds, worker-offline when it is lost and when the worker stops.
 * Not to be confused with AMQP's own heartbeats. Source: celery/worker/heartbeat.py.
 */
#ifndef WORKER_REPORT_HEARTBEAT_H
#define WORKER_REPORT_HEARTBEAT_H

#include "worker/report/events.h"

/* What a heartbeat tells about the tasks. */
struct heartbeat_counts {
	uint64_t active, processed; /* running now; begun since the start */
};
typedef struct heartbeat_counts heartbeat_counts_fn(void *ctx);

struct heartbeat {
	struct events *events;
	heartbeat_counts_fn *counts;
	void *ctx;
	double interval_s;
	bool is_on; /* else: --without-heartbeat */
	bool is_online, is_over;
	uv_timer_t timer;
	char system[65]; /* "Linux" */
};

void heartbeat_init(struct heartbeat *h, uv_loop_t *loop, struct events *events,
		    heartbeat_counts_fn *counts, void *ctx);
void heartbeat_close(struct heartbeat *h);
void heartbeat_up(struct heartbeat *h);
void heartbeat_down(struct heartbeat *h);
/* The worker stops: worker-offline, and nothing more. */
void heartbeat_stop(struct heartbeat *h);
/* The short one that the control command `heartbeat` asks for. */
void heartbeat_now(struct heartbeat *h);

#endif
