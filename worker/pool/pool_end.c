/* The master's side of a slot: what it says about its jobs, and how they end. */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "worker/pool/pool_state.h"

#define AVERAGE_OVER   8
#define AVERAGE_CAP_US 10000 /* one slow job must not spoil the average for long */

void pool_sent(struct pool *p, struct pool_job *job, size_t len)
{
	struct share_place *place;

	(void)p;
	if (!job->slot)
		return;
	place = slot_place(job);
	atomic_fetch_add(&place->sent_bytes, share_send_weight(len));
	pool_wake_sleeper(&place->sent_bytes);
}

static void recycle(struct pool_slot *slot, uint64_t rss_kib)
{
	struct pool *p = slot->pool;
	uint64_t max_kib = p->options.max_memory_per_child_kib;

	if (p->options.kind != POOL_PREFORK || slot->unit->doom != DOOM_NONE)
		return;
	if (slot->unit->is_stale && !pool_is_replacing(p)) {
		slot_retire(slot, POOL_EXIT_RECYCLE);
		return;
	}
	if (max_kib > 0 && rss_kib > max_kib)
		pool_notice(p, LOG_WARNING,
			    "child process exiting after exceeding memory limit (%lluKiB / "
			    "%lluKiB)",
			    (unsigned long long)rss_kib, (unsigned long long)max_kib);
	else if (p->options.max_tasks_per_child == 0 || slot->runs < p->options.max_tasks_per_child)
		return;
	p->stats.recycled++;
	slot_retire(slot, POOL_EXIT_RECYCLE);
}

/* Terminated on demand: that is how it ended, unless it still succeeded. */
static void say_terminated(struct outcome *outcome)
{
	struct outcome terminated;

	outcome_init(&terminated, OUTCOME_TERMINATED);
	terminated.runtime_s = outcome->runtime_s;
	terminated.answers = outcome->answers;
	outcome->answers = NULL;
	outcome_clear(outcome);
	*outcome = terminated;
}

static void end_job(struct pool_slot *slot, struct pool_job *job, struct outcome *outcome)
{
	struct pool *p = slot->pool;

	slot->is_finishing = true;
	slot_begin(slot, job);
	slot->is_finishing = false;
	if (job->is_terminated && outcome->kind != OUTCOME_SUCCESS)
		say_terminated(outcome);
	atomic_store(&slot_place(job)->state, SHARE_EMPTY);
	slot_detach(slot, job);
	slot->is_slow = false;
	slot->signal_us = 0;
	p->stats.done++;
	slot_refresh(slot);
	p->options.events->on_done(p->options.ctx, job, outcome);
	outcome_clear(outcome);
}

static void learn(struct pool_slot *slot, double runtime_s)
{
	double us = fmin(runtime_s * 1e6, AVERAGE_CAP_US);

	if (slot->has_average)
		slot->average_us += (us - slot->average_us) / AVERAGE_OVER;
	else
		slot->average_us = us;
	slot->has_average = true;
}

static bool is_running(const struct pool_job *job, uint64_t serial)
{
	return job && job->serial == serial &&
	       atomic_load(&slot_place(job)->state) == SHARE_STARTED;
}

static int take_outcome(struct pool_slot *slot, const struct frame *f, char **tail, struct err *err)
{
	struct pool_job *job = slot_first(slot);
	struct outcome outcome;
	uint64_t serial, rss_kib;

	if (frame_get_outcome(&serial, &rss_kib, &outcome, f, err) != 0)
		return -1;
	if (!is_running(job, serial)) {
		outcome_clear(&outcome);
		return err_set(err, ERR_PROTOCOL, "outcome of a job it does not run");
	}
	if (f->tail_len > 0) {
		outcome.result = *tail;
		outcome.result_len = f->tail_len;
		*tail = NULL;
	}
	slot->runs++;
	learn(slot, outcome.runtime_s);
	recycle(slot, rss_kib);
	end_job(slot, job, &outcome);
	/* A signal that the process survived has no job to end any more. */
	if (slot->unit->doom == DOOM_TERMINATED)
		unit_signal(slot->unit, SIGKILL);
	if (slot->outstanding > 0)
		slot_look_in(slot, POOL_LOOK_US);
	slot_schedule(slot);
	pool_wake(slot->pool);
	return 0;
}

static int take_state(struct pool_slot *slot, const struct frame *f, struct err *err)
{
	struct pool *p = slot->pool;
	struct pool_job *job = slot_first(slot);
	const char *name;
	uint64_t serial;

	if (frame_get_state(&serial, &name, f, err) != 0)
		return -1;
	if (!is_running(job, serial))
		return err_set(err, ERR_PROTOCOL, "state of a job it does not run");
	slot_begin(slot, job);
	slot_schedule(slot);
	p->options.events->on_state(p->options.ctx, job, name, f->tail, f->tail_len);
	return 0;
}

static int take_send(struct pool_slot *slot, const struct frame *f, struct err *err)
{
	struct pool *p = slot->pool;
	struct pool_job *job = slot_first(slot);
	enum job_send how;
	uint64_t serial;

	if (frame_get_send(&serial, &how, f, err) != 0)
		return -1;
	if (!is_running(job, serial))
		return err_set(err, ERR_PROTOCOL, "a task of a job it does not run");
	slot_begin(slot, job);
	slot_schedule(slot);
	p->options.events->on_send(p->options.ctx, job, how, f->tail, f->tail_len);
	return 0;
}

int slot_frame(struct pool_slot *slot, const struct frame *f, char **tail, struct err *err)
{
	switch (f->type) {
	case FRAME_OUTCOME:
		return take_outcome(slot, f, tail, err);
	case FRAME_STATE:
		return take_state(slot, f, err);
	case FRAME_SEND:
		return take_send(slot, f, err);
	case FRAME_RUN:
		break;
	}
	return err_set(err, ERR_PROTOCOL, "a run frame from a slot");
}

/* Prints n as Python shows the number of a message: 10 for 10.0. */
static void set_time_limit(struct outcome *outcome, double limit_s)
{
	json_t *args = json_array();

	if (limit_s == floor(limit_s) && fabs(limit_s) < 1e15)
		json_array_append_new(args, json_integer((json_int_t)limit_s));
	else
		json_array_append_new(args, json_real(limit_s));
	outcome_set_exception_args(outcome, "billiard.exceptions", "TimeLimitExceeded", args);
	json_decref(args);
}

/* The running job of a process that died. */
static void lose(struct pool_slot *slot, struct pool_job *job, const char *how)
{
	enum pool_doom doom = slot->unit->doom;
	struct outcome outcome;

	if (job->is_terminated || (doom == DOOM_KILLED && !slot->unit->is_broken)) {
		outcome_init(&outcome, OUTCOME_TERMINATED);
	} else if (doom == DOOM_TIMEOUT) {
		outcome_init(&outcome, OUTCOME_TIMEOUT);
		set_time_limit(&outcome, job->hard_limit_s);
	} else {
		auto_free char *text = mem_printf("Worker exited prematurely: %s Job: %llu.", how,
						  (unsigned long long)job->serial);

		outcome_init(&outcome, OUTCOME_LOST);
		outcome_set_exception(&outcome, "billiard.exceptions", "WorkerLostError", text);
		slot->pool->stats.lost++;
	}
	outcome.runtime_s =
		(double)(clock_mono_us() - atomic_load(&slot_place(job)->started_us)) / 1e6;
	end_job(slot, job, &outcome);
}

void slot_abandon(struct pool_slot *slot, const char *how)
{
	struct pool *p = slot->pool;
	struct pool_job *job;

	link_close(slot);
	slot->look_us = slot->signal_us = slot->kill_us = 0;
	/* Several, when it spoke nonsense: what it said after that was not heard. */
	while ((job = slot_first(slot)) && atomic_load(&slot_place(job)->state) == SHARE_STARTED)
		lose(slot, job, how);
	/* The others never began: somebody else runs them, before what came later. */
	while (slot->outstanding > 0) {
		job = list_entry(slot->jobs.prev, struct pool_job, node);
		slot_detach(slot, job);
		if (p->is_killed) {
			list_append(&p->ended, &job->node);
			continue;
		}
		list_prepend(&p->ready, &job->node);
		p->ready_count++;
	}
	slot_refresh(slot);
	slot_schedule(slot);
	pool_wake(p);
}
