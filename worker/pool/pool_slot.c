/* The master's side of a slot: which jobs it gets, when they count as accepted, their limits.
 */
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

#define LOOK_LAST_US	4000
#define SIGNAL_AGAIN_US 500000 /* a signal may come just before a call blocks */
#define SIGNAL_TIMES	10
#define KILL_AFTER_US	100000 /* KILL behind TERM, as billiard does */
/* For a plug-in's stop hook, which may say good-bye to a server that does not listen. */
#define RETIRE_PATIENCE_US 10000000

/* NULL when it is idle. */
struct pool_job *slot_first(const struct pool_slot *slot)
{
	if (list_is_empty(&slot->jobs))
		return NULL;
	return list_entry(slot->jobs.next, struct pool_job, node);
}

struct share_place *slot_place(const struct pool_job *job)
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

void slot_look_in(struct pool_slot *slot, int64_t delay_us)
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
		slot_look_in(slot, POOL_LOOK_US);
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
	const struct pool_job *job = slot_first(slot);
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
void slot_begin(struct pool_slot *slot, struct pool_job *job)
{
	struct pool *p = slot->pool;
	pid_t pid = atomic_load(&slot->share->pid);

	if (job->started_us)
		return;
	job->started_us = atomic_load(&slot_place(job)->started_us);
	slot->unit->has_run = true;
	p->early_deaths = 0;
	p->stats.accepted++;
	p->options.events->on_accepted(p->options.ctx, job, pid);
}

/* Puts the job off its slot. The caller knows where to. */
void slot_detach(struct pool_slot *slot, struct pool_job *job)
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
	if (!atomic_compare_exchange_strong(&slot->share->places[job->place].state, &expected,
					    SHARE_STOLEN))
		return false;
	slot_detach(slot, job);
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

void pool_job_parts(const struct pool_job *job, struct frame_run *run)
{
	run->custom_headers = job->custom_headers;
	run->args = job->args;
	run->kwargs = job->kwargs;
	if (!job->message)
		return;
	run->callbacks = job->message->callbacks;
	run->errbacks = job->message->errbacks;
	run->chain = job->message->chain;
	run->chord = job->message->chord;
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
				.message = job->message};
	struct span parts[FRAME_RUN_PARTS];
	size_t before = slot->out.len;

	pool_job_parts(job, &run);

	if (frame_put_run(&slot->out, &run) != 0) {
		slot->out.len = before;
		slot->out.is_full = false;
		return false;
	}
	if (frame_run_tail_len(&run) > POOL_BIG) {
		slot->big = job;
		slot->big_done = 0;
	} else {
		frame_run_parts(&run, parts);
		for (unsigned i = 0; i < FRAME_RUN_PARTS; i++)
			str_add(&slot->out, parts[i].data, parts[i].len);
	}
	job->serial = run.serial;
	job->place = run.place;
	job->slot = slot;
	atomic_store(&place->expired, 0);
	atomic_store(&place->sent_bytes, 0);
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
	struct frame_run run = {0};
	unsigned levels;

	pool_job_parts(job, &run);
	levels = frame_run_tail_len(&run) > POOL_BIG ? 1 : FRAME_PLACES;

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
	const struct pool_job *job = slot_first(slot);

	slot_refresh(slot);
	if (job && !job->started_us)
		slot_look_in(slot, POOL_LOOK_US);
	slot_schedule(slot);
	pool_arm(slot->pool);
}

void pool_wake_sleeper(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void slot_interrupt(struct pool_slot *slot, struct pool_job *job)
{
	struct spawner_command command = {
		.verb = SPAWNER_INTERRUPT, .unit = slot->unit->index, .slot = slot->index};
	struct share_place *place = slot_place(job);

	if (atomic_exchange(&place->expired, 1) == 0)
		slot->signals_left = SIGNAL_TIMES;
	pool_wake_sleeper(&place->expired);
	pool_wake_sleeper(&place->sent_bytes);
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
	const struct pool_job *job = slot_first(slot);

	link_visit(slot);
	if (slot_first(slot) != job)
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
	if (!job->started_us && atomic_load(&slot_place(job)->state) == SHARE_STARTED)
		slot_begin(slot, job);
	if (!job->started_us) {
		int64_t step_us = slot->look_step_us * 2;

		slot_look_in(slot, step_us < LOOK_LAST_US ? step_us : LOOK_LAST_US);
	} else if (now_us - job->started_us < POOL_SLOW_US) {
		slot->look_us = job->started_us + POOL_SLOW_US;
	} else if (!slot->is_slow) {
		slot->is_slow = true;
		slot_steal_queued(slot);
		/* The second one runs: the first one's outcome has come since we looked into the
		 * ring, and nobody need have rung for it. */
		if (slot->outstanding > 1)
			slot_look_in(slot, POOL_LOOK_US);
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
	job = slot_first(slot);
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
		if (job && atomic_load(&slot_place(job)->expired))
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
