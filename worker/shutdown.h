/*
 * How a worker ends. Signals choose the kind (contract: tasks.md 4.7):
 *
 *   TERM       warm: start nothing more, let what runs end, exit 0
 *   INT        warm, exit 1; a second INT: cold
 *   QUIT       cold: (soft stop first, when set) cut off what runs, exit 0
 *   INT or QUIT during a cold stop: said once that it is under way, then exit 1 at once
 *   HUP        warm, then start again with the same arguments; from a terminal: warm
 *   TERM with REMAP_SIGTERM=SIGQUIT in the environment acts as QUIT
 *
 * Then, whatever the kind: pool, broker (answers flushed), backend (results flushed), done. When
 * the backend stays away and results of early-ack tasks are lost, EXIT_RESULTS_LOST takes the place
 * of 0.
 */
#ifndef WORKER_SHUTDOWN_H
#define WORKER_SHUTDOWN_H

#include <stdbool.h>
#include <uv.h>

#include "worker/consume/consumer.h"

#define EXIT_RESULTS_LOST 3

enum shutdown_phase {
	SHUTDOWN_NONE,
	SHUTDOWN_WARM,	  /* waiting for what is in hand */
	SHUTDOWN_SOFT,	  /* the same, with a deadline; a cold stop follows */
	SHUTDOWN_COLD,	  /* executions are being cut off */
	SHUTDOWN_POOL,	  /* nothing in hand; slots are ending */
	SHUTDOWN_BROKER,  /* flushing answers and publishes */
	SHUTDOWN_BACKEND, /* flushing results */
	SHUTDOWN_DONE,
};

struct shutdown {
	struct consumer *consumer;
	enum shutdown_phase phase;
	int exit_code;
	bool is_restart; /* HUP */
	bool has_int;	 /* one INT was seen */
	bool has_terminal;
	bool has_insisted; /* INT or QUIT during a cold stop */
	uv_signal_t signals[5];
	uv_timer_t timer;    /* end of the soft stop */
	uv_timer_t patience; /* for servers, once no task runs any more */
	size_t waits_for;    /* requests in hand when it was set */
	size_t lost_before;  /* finish.lost_records when the backend was told to close */
	void (*on_done)(void *ctx);
	void *ctx;
};

void shutdown_init(struct shutdown *s, uv_loop_t *loop, struct consumer *consumer,
		   void (*on_done)(void *ctx), void *ctx);
/* A warm stop that no signal asked for. */
void shutdown_begin(struct shutdown *s, int exit_code);
/* Something ended; goes on to the next phase when it may. Also notices a broker that gave up. */
void shutdown_advance(struct shutdown *s);
/* Tells that the backend has closed. */
void shutdown_backend_closed(struct shutdown *s);
void shutdown_close(struct shutdown *s);

#endif
