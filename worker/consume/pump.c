#include "base/clock.h"
#include "worker/consume/consumer.h"
#include "worker/finish/unlock.h"

/* Results and retries that wait for their server hold tasks back: memory stays bounded, nothing is
 * dropped. */
static bool may_start(const struct consumer *c)
{
	const struct finish *f = &c->finish;

	return !c->is_stopping && c->broker && broker_is_sure(c->broker) &&
	       !(f->backend && backend_is_full(f->backend)) &&
	       f->publishing_bytes < c->config->worker_max_waiting_bytes;
}

/* In no process of the pool: there is nothing to run but questions to the result store. */
static void start_here(struct consumer *c, struct request *r)
{
	requests_move(&c->requests, r, REQUEST_FINISHING);
	totals_add(&c->totals, r);
	c->accepted++;
	if (events_has_tasks(c->finish.events))
		events_started(c->finish.events, r);
	unlock_run(&c->finish, r);
}

static void start(struct consumer *c, struct request *r)
{
	if (!broker_is_held(c->broker, r->session, r->tag)) {
		acks_expect(&c->finish.acks, r);
		requests_give_back(&c->requests, r); /* another worker has got it */
		return;
	}
	if (revoke_check(c, r))
		return;
	if (unlock_is(r)) {
		start_here(c, r);
		return;
	}
	requests_move(&c->requests, r, REQUEST_SUBMITTED);
	pool_submit(c->pool, &r->job);
}

void pump_add(struct consumer *c, struct request *r)
{
	int64_t now_us = clock_wall_us();

	r->start_us = limiter_reserve(&c->limiter, r->task, now_us);
	if (r->start_us > now_us) {
		requests_move(&c->requests, r, REQUEST_WAITING_RATE);
		eta_arm(&c->eta);
		return;
	}
	requests_move(&c->requests, r, REQUEST_READY);
	limiter_start(&c->limiter, r->task, now_us);
}

void pump_limit(struct consumer *c, const struct task_entry *task, double per_second,
		const char *text)
{
	struct list_node *waiting = &c->requests.lists[REQUEST_WAITING_RATE];
	struct list_node *aside = &c->requests.lists[REQUEST_RECEIVED];
	struct list_node *pos, *tmp;

	limiter_set(&c->limiter, task, per_second, text);
	list_foreach_safe (pos, tmp, waiting) {
		struct request *r = list_entry(pos, struct request, node);

		if (r->task == task)
			requests_move(&c->requests, r, REQUEST_RECEIVED);
	}
	list_foreach_safe (pos, tmp, aside) {
		struct request *r = list_entry(pos, struct request, node);

		if (!r->watch) /* its result is looked for, see repeat.c */
			pump_add(c, r);
	}
	pump_run(c);
}

void pump_run(struct consumer *c)
{
	struct list_node *ready = &c->requests.lists[REQUEST_READY];

	/* The end of a request calls the pump: a thousand expired ones would nest a thousand times.
	 */
	if (c->is_pumping)
		return;
	c->is_pumping = true;
	while (!list_is_empty(ready) && may_start(c) && pool_room(c->pool) > 0)
		start(c, list_entry(ready->next, struct request, node));
	c->is_pumping = false;
	if (c->autoscale.pool && !c->is_stopping)
		autoscale_grow(&c->autoscale);
}
