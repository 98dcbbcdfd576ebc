/*
 * Elections among workers: who asks for one asks all, each stands for it (worker-elect), all answer
 * each (worker-elect-ack), and when enough have answered everybody knows the winner: the one with
 * the lowest clock, then the lowest name. Source: celery/worker/consumer/gossip.py.
 */
#ifndef WORKER_REPORT_ELECTION_H
#define WORKER_REPORT_ELECTION_H

#include <jansson.h>

#include "base/map.h"
#include "worker/report/events.h"

#define ELECTIONS_MAX 256 /* at once; the oldest are forgotten */

/* We have won an election about a task: `action` is its signature. */
typedef void election_won_fn(void *ctx, const json_t *action);

struct election {
	struct events *events;
	struct map *all; /* by the id's JSON text: struct election_one */
	char *self;	 /* "host.pid", as others see it */
	election_won_fn *on_won;
	void *ctx;
};

void election_init(struct election *e, struct events *events, election_won_fn *on_won, void *ctx);
void election_clear(struct election *e);
/* Stands for it. NULL = null. */
void election_stand(struct election *e, const json_t *id, const json_t *topic,
		    const json_t *action);
/* Somebody (we too) stands for one: the event worker-elect. */
void election_heard(struct election *e, const json_t *event);
/* Somebody has answered; `others` are known to live. */
void election_acked(struct election *e, const json_t *event, size_t others);

#endif
