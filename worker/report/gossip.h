/*
 * Listens to the worker events of the others: keeps the logical clock ahead of theirs, tells who
 * came and who went silent, and takes part in elections. Source: celery/worker/consumer/gossip.py.
 */
#ifndef WORKER_REPORT_GOSSIP_H
#define WORKER_REPORT_GOSSIP_H

#include <uv.h>

#include "base/map.h"
#include "worker/report/election.h"
#include "worker/report/events.h"

#define GOSSIP_NODES_MAX 10000 /* more are not remembered */

struct gossip {
	const struct config *config;
	struct events *events;
	struct lamport *clock;
	struct map *nodes; /* by host name: struct gossip_node */
	struct election election;
	uv_timer_t timer;
	char *queue;
	bool is_on;
};

void gossip_init(struct gossip *g, uv_loop_t *loop, struct events *events, election_won_fn *on_won,
		 void *ctx);
/* Before broker_start. */
int gossip_open(struct gossip *g, struct broker *broker, struct err *err);
void gossip_up(struct gossip *g);
void gossip_down(struct gossip *g);
void gossip_close(struct gossip *g);
void gossip_clear(struct gossip *g);

/* The control command `election`: stands for it. Nothing happens --without-gossip. */
void gossip_elect(struct gossip *g, const json_t *id, const json_t *topic, const json_t *action);

#endif
