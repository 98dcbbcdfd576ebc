/*
 * The consuming side of the worker: hears the broker and the pool, and moves requests between them.
 *
 *     broker --on_delivery--> deliver.c --> READY or WAITING_ETA --> pump.c --> pool
 *     pool --on_done--> finish/ --> answers to the broker
 *
 * After a lost connection everything that has not begun is forgotten (the broker delivers it
 * again); what runs goes on, and is adopted by its redelivered message. Where deliveries outlive
 * their connection nothing is forgotten, but nothing begins until the broker is sure of them.
 */
#ifndef WORKER_CONSUME_CONSUMER_H
#define WORKER_CONSUME_CONSUMER_H

#include <stdbool.h>

#include "backend/backend.h"
#include "base/list.h"
#include "base/map.h"
#include "transport/broker.h"
#include "worker/config/config.h"
#include "worker/consume/totals.h"
#include "worker/finish/finish.h"
#include "worker/pool/autoscale.h"
#include "worker/pool/pool.h"
#include "worker/report/report.h"
#include "worker/request/eta.h"
#include "worker/request/limiter.h"
#include "worker/request/request.h"
#include "worker/request/revoked.h"
#include "worker/task/registry.h"

struct consumer {
	const struct config *config;
	const struct registry *registry;
	struct pool *pool;
	struct broker *broker;
	struct broker *writer; /* broker_write_url, where that is another one; else NULL */
	struct requests requests;
	struct eta eta;
	struct limiter limiter;
	struct autoscale autoscale;
	struct revoked revoked;
	struct list_node queues; /* consume/queues.h */
	struct totals totals;
	uint64_t accepted; /* bodies that have begun */
	struct finish finish;
	struct task_message_options intake;
	char *broker_label;	      /* the broker URL without its password, for the log */
	char *writer_label;	      /* the same of the writer; NULL = there is none */
	unsigned session;	      /* current consumer session; 0 = none */
	unsigned qos_base;	      /* 0 = unlimited */
	unsigned qos_count, qos_sent; /* without and with what waits for its ETA */
	size_t eta_streak; /* tasks due later received since the last one that could run */
	bool is_up, was_up;
	bool is_writer_up;
	bool is_pumping;   /* inside pump_run */
	bool is_stopping;  /* nothing new is started */
	bool has_given_up; /* the broker cannot be reached and no try is left */
	uint64_t received, adopted;
	struct report *report; /* NULL = nobody to tell */
	/* A request ended, or the connection's fate changed: a stop may be complete. */
	void (*on_change)(void *ctx);
	void *ctx;
};

/* writer.c: is broker_write_url another broker than the one tasks come from? */
bool consumer_has_writer(const struct config *config);
/* Of both. */
void consumer_broker_stats(const struct consumer *c, struct broker_stats *ret_stats);

void consumer_init(struct consumer *c, const struct config *config, const struct registry *registry,
		   uv_loop_t *loop);
void consumer_clear(struct consumer *c);
/* Handed to broker_open and pool_prepare, with the consumer as ctx. */
extern const struct broker_events consumer_broker_events, consumer_writer_events;
extern const struct pool_events consumer_pool_events;
/* With --autoscale, once the pool has started. */
void consumer_autoscale(struct consumer *c, uv_loop_t *loop);
/* Once broker, backend and pool stand: declares the queues, sets the prefetch, connects. */
int consumer_start(struct consumer *c, struct err *err);
/* Starts nothing more and forgets what has not begun. */
void consumer_stop(struct consumer *c);
/* Requests that are running or finishing. */
size_t consumer_in_hand(const struct consumer *c);

/* consume/deliver.c */
void deliver_message(struct consumer *c, struct message *message, unsigned session, uint64_t tag);
void deliver_admit(struct consumer *c, struct request *r); /* once it is to run */
/* consume/repeat.c: where settings want it, looks whether a task that was delivered again has
 * succeeded before. True when its fate is decided by that, now or later. */
bool repeat_check(struct consumer *c, struct request *r);
/* consume/pump.c: ready requests to free slots; what is due to its rate limit and then to READY */
void pump_add(struct consumer *c, struct request *r);
/* The task has another rate limit (0 = none), also for its requests that wait already. */
void pump_limit(struct consumer *c, const struct task_entry *task, double per_second,
		const char *text);
void pump_run(struct consumer *c);
/* consume/revoke.c: discards a request that has expired or was revoked; true when it is gone */
bool revoke_check(struct consumer *c, struct request *r);
/* Discards what was revoked and waits for a slot. What waits for its time stays until then. */
void revoke_sweep(struct consumer *c);
/* Those of these ids (keys of the map) that are held here and have not ended, as Celery's worker
 * finds them: without those that wait for their rate limit only. *ret_found is to be freed. */
size_t revoke_find(struct consumer *c, const struct map *ids, struct request ***ret_found);
/* What runs is killed: REVOKED ["terminated"]. What waits for a slot is discarded, what waits for
 * its time stays until then: its id is revoked. -1 when the pool cannot kill what runs. */
int revoke_terminate(struct consumer *c, struct request *r, int signal);
/* consume/qos.c: prefetch = base + one per request that waits for its ETA */
void qos_update(struct consumer *c);
/* The base anew, after the pool got another size or the autoscaler another maximum. */
void qos_resize(struct consumer *c);

#endif
