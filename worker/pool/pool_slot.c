/* The master's side of a slot: which jobs it gets, when they count as accepted, their limits, their
 * ends. */
#include <limits.h>
#include <linux/futex.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "worker/pool/pool_state.h"

#define LOOK_FIRST_US	1000
#define LOOK_LAST_US	4000
#define AVERAGE_OVER	8
#define AVERAGE_CAP_US	10000  /* one slow job must not spoil the average for long */
#define SIGNAL_AGAIN_US 500000 /* a signal may come just before a call blocks */
#define SIGNAL_TIMES	10
#define KILL_AFTER_US	100000 /* KILL behind TERM, as billiard does */
/* For a plug-in's stop hook, which may say good-bye to a server that does not listen. */
#define RETIRE_PATIENCE_US 10000000

/* NULL when it is idle. */
static struct pool_job *first_of(const struct pool_slot *slot)
{
	if (list_is_empty(&slot->jobs))
		return NULL;
	return list_entry(slot->jobs.next, struct pool_job, node);
}

static struct share_place *place_of(const struct pool_job *job)
{
	return &job->slot->share->places[job->place];
}

/* A job that was taken back stands in its place until the slot comes by to skip it. */
static bool is_place_taken(const struct pool_slot *slot)
{
	return atomic_load(&slot->share->places[slot->next_place].state) != SHARE_EMPTY;
}

static unsigned room_of(const struct pool_slot *slot)
{
	const struct pool *p = slot->pool;
	bool has_short_jobs =
		slot->has_average && slot->average_us < POOL_SHORT_US && !slot->is_slow;
	unsigned depth = has_short_jobs ? FRAME_PLACES : 1;
	uint64_t max = p->options.kind == POOL_PREFORK ? p->options.max_tasks_per_child : 0;

	if (!slot->link || slot->link->is_eof || slot->is_closed || slot->is_blocked || slot->big ||
	    !slot->unit->is_alive || slot->unit->doom != DOOM_NONE || p->is_killed)
		return 0;
	if (max > 0 && depth > max - slot->runs)
		depth = (unsigned)(max - slot->runs);
	if (is_place_taken(slot))
		return 0;
	return depth > slot->outstanding ? depth - slot->outstanding : 0;
}

static void look_in(struct pool_slot *slot, int64_t delay_us)
{
	int64_t when_us = clock_mono_us() + delay_us;

	if (slot->look_us && slot->look_us <= when_us)
		return;
	slot->look_us = when_us;
	slot->look_step_us = delay_us;
}

void slot_refresh(struct pool_slot *slot)
{
	struct pool *p = slot->pool;
	unsigned room = room_of(slot);

	list_remove(&slot->node);
	if (room > 0)
		list_prepend(&p->by_load[slot->outstanding], &slot->node);
	if (room > slot->room) {
		p->has_new_room = true;
		pool_wake(p);
	}
	p->room = p->room - slot->room + room;
	slot->room = room;
	if (room == 0 && slot->link && slot->outstanding == 0 && is_place_taken(slot)) {
		look_in(slot, LOOK_FIRST_US);
		slot_schedule(slot);
	}
}

static int64_t after(int64_t from_us, double seconds)
{
	return from_us + (int64_t)(fmin(seconds, 1e9) * 1e6);
}

static void sooner(int64_t *when_us, int64_t candidate_us)
{
	if (candidate_us > 0 && (*when_us == 0 || candidate_us < *when_us))
		*when_us = candidate_us;
}

void slot_schedule(struct pool_slot *slot)
{
	const struct pool_job *job = first_of(slot);
	int64_t when_us = 0;

	sooner(&when_us, slot->look_us);
	sooner(&when_us, slot->signal_us);
	sooner(&when_us, slot->kill_us);
	sooner(&when_us, slot->respawn_us);
	if (job && job->started_us && job->soft_limit_s > 0 && !job->is_soft_sent)
		sooner(&when_us, after(job->started_us, job->soft_limit_s));
	if (job && job->started_us && job->hard_limit_s > 0 && !job->is_killed)
		sooner(&when_us, after(job->started_us, job->hard_limit_s));
	if (heap_has(&slot->due) && slot->due.key == when_us)
		return;
	heap_remove(&slot->pool->due, &slot->due);
	if (when_us)
		heap_push(&slot->pool->due, &slot->due, when_us);
}

/* The body runs, or ran: says so once. */
static void begin(struct pool_slot *slot, struct pool_job *job)
{
	struct pool *p = slot->pool;
	pid_t pid = atomic_load(&slot->share->pid);

	if (job->started_us)
		return;
	job->started_us = atomic_load(&place_of(job)->started_us);
	slot->unit->has_run = true;
	p->early_deaths = 0;
	p->stats.accepted++;
	p->options.events->on_accepted(p->options.ctx, job, pid);
}

/* Puts the job off its slot. The caller knows where to. */
static void detach(struct pool_slot *slot, struct pool_job *job)
{
	list_remove(&job->node);
	job->slot = NULL;
	slot->outstanding--;
}

bool slot_steal(struct pool_slot *slot, struct pool_job *job)
{
	uint32_t expected = SHARE_QUEUED;

	/* Its bytes are being read from where they lie: that slot was idle and begins at once. */
	if (slot->big == job)
		return false;
	if (!atomic_compare_exchange_strong(&place_of(job)->state, &expected, SHARE_STOLEN))
		return false;
	detach(slot, job);
	return true;
}

void slot_steal_queued(struct pool_slot *slot)
{
	struct pool *p = slot->pool;

	while (slot->outstanding > 1) {
		struct pool_job *last = list_entry(slot->jobs.prev, struct pool_job, node);

		if (!slot_steal(slot, last))
			break;
		list_prepend(&p->ready, &last->node);
		p->ready_count++;
	}
	slot_refresh(slot);
}

static bool give(struct pool_slot *slot, struct pool_job *job)
{
	struct pool *p = slot->pool;
	struct share_place *place = &slot->share->places[slot->next_place];
	struct frame_run run = {.serial = ++p->serial,
				.place = slot->next_place,
				.task = job->task->index,
				.retries = job->retries,
				.max_retries = job->max_retries,
				.is_redelivered = job->is_redelivered,
				.id = job->id,
				.custom_headers = job->custom_headers,
				.args = job->args,
				.kwargs = job->kwargs};
	size_t before = slot->out.len;

	if (frame_put_run(&slot->out, &run) != 0) {
		slot->out.len = before;
		slot->out.is_full = false;
		return false;
	}
	if (frame_run_tail_len(&run) > POOL_BIG) {
		slot->big = job;
		slot->big_done = 0;
	} else {
		str_add(&slot->out, run.custom_headers.data, run.custom_headers.len);
		str_add(&slot->out, run.args.data, run.args.len);
		str_add(&slot->out, run.kwargs.data, run.kwargs.len);
	}
	job->serial = run.serial;
	job->place = run.place;
	job->slot = slot;
	atomic_store(&place->expired, 0);
	atomic_store(&place->state, SHARE_QUEUED);
	slot->next_place = (slot->next_place + 1) % FRAME_PLACES;
	list_append(&slot->jobs, &job->node);
	slot->outstanding++;
	slot->written++;
	if (!list_is_linked(&slot->dirty_node))
		list_append(&p->dirty, &slot->dirty_node);
	slot_refresh(slot);
	pool_wake(p);
	return true;
}

static struct pool_slot *least_loaded(const struct pool *p, const struct pool_job *job)
{
	size_t bytes = job->custom_headers.len + job->args.len + job->kwargs.len;
	unsigned levels = bytes > POOL_BIG ? 1 : FRAME_PLACES;

	for (unsigned i = 0; i < levels; i++)
		if (!list_is_empty(&p->by_load[i]))
			return list_entry(p->by_load[i].next, struct pool_slot, node);
	return NULL;
}

void pool_dispatch(struct pool *p)
{
	while (p->ready_count > 0) {
		struct pool_job *job = list_entry(p->ready.next, struct pool_job, node);
		struct pool_slot *slot = least_loaded(p, job);

		if (!slot)
			return;
		list_remove(&job->node);
		p->ready_count--;
		if (!give(slot, job)) {
			job->is_refused = true;
			list_append(&p->ended, &job->node);
			pool_wake(p);
		}
	}
}

void slot_written(struct pool_slot *slot)
{
	const struct pool_job *job = first_of(slot);

	slot_refresh(slot);
	if (job && !job->started_us)
		look_in(slot, LOOK_FIRST_US);
	slot_schedule(slot);
	pool_arm(slot->pool);
}

static void wake_sleeper(struct share_place *place)
{
	syscall(SYS_futex, &place->expired, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void slot_interrupt(struct pool_slot *slot, struct pool_job *job)
{
	struct spawner_command command = {
		.verb = SPAWNER_INTERRUPT, .unit = slot->unit->index, .slot = slot->index};
	struct share_place *place = place_of(job);

	if (atomic_exchange(&place->expired, 1) == 0)
		slot->signals_left = SIGNAL_TIMES;
	wake_sleeper(place);
	if (slot->pool->solo)
		solo_interrupt(slot->pool->solo);
	else
		pool_command(slot->pool, &command, -1);
	slot->signal_us = 0;
	if (slot->signals_left > 0 && --slot->signals_left > 0)
		slot->signal_us = clock_mono_us() + SIGNAL_AGAIN_US;
}

static void soft_limit(struct pool_slot *slot, struct pool_job *job)
{
	struct pool *p = slot->pool;

	job->is_soft_sent = true;
	slot_interrupt(slot, job);
	p->options.events->on_soft_limit(p->options.ctx, job);
}

bool slot_doom(struct pool_slot *slot, enum pool_doom doom, int signal)
{
	const struct pool_job *job = first_of(slot);

	link_visit(slot);
	if (first_of(slot) != job)
		return false;
	slot_steal_queued(slot);
	/* The second job runs: the first one is over, only its outcome was not read yet. */
	if (slot->outstanding > 1)
		return false;
	unit_doom(slot->unit, doom, signal);
	return true;
}

static void hard_limit(struct pool_slot *slot, struct pool_job *job)
{
	job->is_killed = true;
	if (slot->pool->options.kind != POOL_PREFORK) {
		pool_notice(slot->pool, LOG_WARNING,
			    "hard time limits cannot be enforced in the %s pool: %s[%s] goes on",
			    pool_kind_name(slot->pool->options.kind), job->task->name, job->id);
		return;
	}
	if (slot_doom(slot, DOOM_TIMEOUT, SIGTERM))
		slot->kill_us = clock_mono_us() + KILL_AFTER_US;
}

/* Has the first job begun? Does it hold up others? */
static void look(struct pool_slot *slot, struct pool_job *job, int64_t now_us)
{
	slot->look_us = 0;
	if (!job) {
		slot_refresh(slot);
		return;
	}
	if (!job->started_us && atomic_load(&place_of(job)->state) == SHARE_STARTED)
		begin(slot, job);
	if (!job->started_us) {
		int64_t step_us = slot->look_step_us * 2;

		look_in(slot, step_us < LOOK_LAST_US ? step_us : LOOK_LAST_US);
	} else if (now_us - job->started_us < POOL_SLOW_US) {
		slot->look_us = job->started_us + POOL_SLOW_US;
	} else if (!slot->is_slow) {
		slot->is_slow = true;
		slot_steal_queued(slot);
		/* The second one runs: the first one's outcome has come since we looked into the
		 * ring, and nobody need have rung for it. */
		if (slot->outstanding > 1)
			look_in(slot, LOOK_FIRST_US);
	}
}

static bool is_over(double limit_s, const struct pool_job *job, int64_t now_us)
{
	return limit_s > 0 && job->started_us && now_us >= after(job->started_us, limit_s);
}

static void kill_due(struct pool_slot *slot, const struct pool_job *job, int64_t now_us)
{
	slot->kill_us = 0;
	/* A retired one may still run the job that it had begun. */
	if (slot->unit->doom == DOOM_RETIRED && job)
		slot->kill_us = now_us + RETIRE_PATIENCE_US;
	else
		unit_signal(slot->unit, SIGKILL);
}

void slot_tick(struct pool_slot *slot, int64_t now_us)
{
	struct pool_job *job;

	link_visit(slot);
	job = first_of(slot);
	if (slot->respawn_us && now_us >= slot->respawn_us) {
		slot->respawn_us = 0;
		unit_respawn(slot->unit);
	}
	if (slot->kill_us && now_us >= slot->kill_us)
		kill_due(slot, job, now_us);
	if (slot->look_us && now_us >= slot->look_us)
		look(slot, job, now_us);
	if (slot->signal_us && now_us >= slot->signal_us) {
		slot->signal_us = 0;
		if (job && atomic_load(&place_of(job)->expired))
			slot_interrupt(slot, job);
	}
	if (job && !job->is_soft_sent && is_over(job->soft_limit_s, job, now_us))
		soft_limit(slot, job);
	if (job && !job->is_killed && is_over(job->hard_limit_s, job, now_us))
		hard_limit(slot, job);
}

void slot_retire(struct pool_slot *slot, int exit_code)
{
	if (slot->is_closed)
		return;
	slot->is_closed = true;
	slot_steal_queued(slot);
	atomic_store(&slot->share->exit_code, (uint32_t)exit_code);
	if (slot->pool->options.kind == POOL_PREFORK)
		slot->unit->doom = DOOM_RETIRED;
	/* It still skips what was taken back, then reads the end. What was not written yet was
	 * taken back as well. */
	if (slot->link)
		shutdown(slot->link->fd, SHUT_WR);
	if (slot->pool->options.kind == POOL_PREFORK)
		slot->kill_us = clock_mono_us() + RETIRE_PATIENCE_US;
	slot_refresh(slot);
	slot_schedule(slot);
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
	begin(slot, job);
	slot->is_finishing = false;
	if (job->is_terminated && outcome->kind != OUTCOME_SUCCESS)
		say_terminated(outcome);
	atomic_store(&place_of(job)->state, SHARE_EMPTY);
	detach(slot, job);
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

static int take_outcome(struct pool_slot *slot, const struct frame *f, char **tail, struct err *err)
{
	struct pool_job *job = first_of(slot);
	struct outcome outcome;
	uint64_t serial, rss_kib;

	if (frame_get_outcome(&serial, &rss_kib, &outcome, f, err) != 0)
		return -1;
	if (!job || job->serial != serial || atomic_load(&place_of(job)->state) != SHARE_STARTED) {
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
		look_in(slot, LOOK_FIRST_US);
	slot_schedule(slot);
	pool_wake(slot->pool);
	return 0;
}

static int take_state(struct pool_slot *slot, const struct frame *f, struct err *err)
{
	struct pool *p = slot->pool;
	struct pool_job *job = first_of(slot);
	const char *name;
	uint64_t serial;

	if (frame_get_state(&serial, &name, f, err) != 0)
		return -1;
	if (!job || job->serial != serial || atomic_load(&place_of(job)->state) != SHARE_STARTED)
		return err_set(err, ERR_PROTOCOL, "state of a job it does not run");
	begin(slot, job);
	slot_schedule(slot);
	p->options.events->on_state(p->options.ctx, job, name, f->tail, f->tail_len);
	return 0;
}

int slot_frame(struct pool_slot *slot, const struct frame *f, char **tail, struct err *err)
{
	switch (f->type) {
	case FRAME_OUTCOME:
		return take_outcome(slot, f, tail, err);
	case FRAME_STATE:
		return take_state(slot, f, err);
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
		(double)(clock_mono_us() - atomic_load(&place_of(job)->started_us)) / 1e6;
	end_job(slot, job, &outcome);
}

void slot_abandon(struct pool_slot *slot, const char *how)
{
	struct pool *p = slot->pool;
	struct pool_job *job;

	link_close(slot);
	slot->look_us = slot->signal_us = slot->kill_us = 0;
	/* Several, when it spoke nonsense: what it said after that was not heard. */
	while ((job = first_of(slot)) && atomic_load(&place_of(job)->state) == SHARE_STARTED)
		lose(slot, job, how);
	/* The others never began: somebody else runs them, before what came later. */
	while (slot->outstanding > 0) {
		job = list_entry(slot->jobs.prev, struct pool_job, node);
		detach(slot, job);
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
