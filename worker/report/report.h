/*
 * What others hear of this worker and what it hears of them: events, heartbeats, the logical clock,
 * mingle (asks the others at each connection), gossip (listens to them).
 */
#ifndef WORKER_REPORT_REPORT_H
#define WORKER_REPORT_REPORT_H

#include "worker/report/events.h"
#include "worker/report/gossip.h"
#include "worker/report/heartbeat.h"
#include "worker/report/mingle.h"

struct report {
	struct lamport clock;
	struct events events;
	struct heartbeat heartbeat;
	struct mingle mingle;
	struct gossip gossip;
	bool has_writer; /* events go out by another broker */
};

struct report_options {
	uv_loop_t *loop;
	const struct config *config;
	struct revoked *revoked;
	heartbeat_counts_fn *counts;
	election_won_fn *on_won;
	void *ctx; /* of all callbacks */
};

void report_init(struct report *r, const struct report_options *options);
/* Before broker_start. */
int report_open(struct report *r, struct broker *broker, struct err *err);
/* A connection stands, its deliveries come from now on. `broker` takes the events; NULL = another
 * does, which report_writer_up and report_writer_down tell of. */
void report_up(struct report *r, struct broker *broker);
void report_writer_up(struct report *r, struct broker *writer);
void report_writer_down(struct report *r);
/* All that it is to consume is consumed. */
void report_ready(struct report *r);
void report_down(struct report *r);
/* The worker takes no more tasks. */
void report_stop(struct report *r);
/* The broker is about to be closed: what was collected goes out. */
void report_flush(struct report *r);
/* Closes the handles; before the loop ends. */
void report_close(struct report *r);
/* Once the broker is gone. */
void report_clear(struct report *r);

#endif
