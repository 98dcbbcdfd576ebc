/*
 * Rate limits per task: tasks of one kind start evenly spaced, in the order they became ready;
 * after an idle time one may start at once, not more (as Celery with kombu 5.7). With a bucket of
 * one token the moment at which a request may start is known when it becomes ready, so it is
 * reserved then. Pure: the caller brings the time. Source: kombu/utils/limits.py, TokenBucket.
 */
#ifndef WORKER_REQUEST_LIMITER_H
#define WORKER_REQUEST_LIMITER_H

#include <stdint.h>

#include "worker/task/registry.h"

struct limiter_bucket {
	int64_t interval_us; /* 0 = no limit */
	int64_t next_us;     /* first moment that nobody has reserved */
	int64_t started_us;  /* latest reserved moment that has come */
	char *rate;	     /* as text, for people; NULL = none */
};

struct limiter {
	struct limiter_bucket *buckets; /* by index of the task */
	unsigned count;
};

void limiter_init(struct limiter *l, const struct registry *registry);
void limiter_clear(struct limiter *l);
/* Another rate from now on, 0 = none; what waits is to be reserved anew. `text` may be NULL. */
void limiter_set(struct limiter *l, const struct task_entry *task, double per_second,
		 const char *text);
/* As it was declared or set last: "10/m"; NULL = none. */
const char *limiter_rate(const struct limiter *l, const struct task_entry *task);
/* When a request of this task that is ready now may start: `now_us`, or later. */
int64_t limiter_reserve(struct limiter *l, const struct task_entry *task, int64_t now_us);
/* A request has used its reservation. */
void limiter_start(struct limiter *l, const struct task_entry *task, int64_t now_us);
/* Everything that waited is gone; its reservations are free. */
void limiter_forget_waiting(struct limiter *l);

#endif
