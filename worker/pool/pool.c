#include "worker/pool/pool.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "worker/pool/pool_state.h"

const char *pool_kind_name(enum pool_kind kind)
{
	static const char *const names[] = {
		[POOL_PREFORK] = "prefork", [POOL_THREADS] = "threads", [POOL_SOLO] = "solo"};

	return names[kind];
}

void pool_notice(struct pool *p, int level, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->options.events->on_notice(p->options.ctx, level, text);
}

static void tell_ended(struct pool *p)
{
	struct list_node *node;

	while ((node = list_pop(&p->ended))) {
		struct pool_job *job = list_entry(node, struct pool_job, node);
		struct outcome outcome;

		outcome_init(&outcome, OUTCOME_TERMINATED);
		if (job->is_refused) {
			outcome_init(&outcome, OUTCOME_FAILURE);
			outcome_set_exception(&outcome, "builtins", "ValueError",
					      "the task id is too long");
		}
		p->options.events->on_done(p->options.ctx, job, &outcome);
		outcome_clear(&outcome);
	}
}

static void retire_idle(struct pool_unit *unit)
{
	const struct pool *p = unit->slots->pool;

	for (unsigned i = 0; i < unit->slot_count; i++) {
		struct pool_slot *slot = &unit->slots[i];

		/* What was killed ends without being asked, but for a thread of ours. */
		if (slot->link && slot->outstanding == 0 && (!p->is_killed || p->solo))
			slot_retire(slot, 0);
	}
}

/* Lets every slot go that has nothing to do, and tells when none is left. */
static void continue_stop(struct pool *p)
{
	if (!p->is_stopping)
		return;
	for (unsigned i = 0; i < p->unit_count && p->ready_count == 0; i++)
		retire_idle(p->units[i]);
	if ((p->units_alive > 0 && !p->is_told_fatal) || p->ready_count > 0 || p->is_told_stopped)
		return;
	p->is_told_stopped = true;
	p->on_stopped(p->stopped_ctx);
}

/* Once per turn of the loop, before it waits: what callbacks asked for meanwhile goes out in as few
 * system calls as possible. */
static void on_prepare(uv_prepare_t *prepare)
{
	struct pool *p = prepare->data;
	struct list_node *node;

	while (p->has_work) {
		p->has_work = false;
		tell_ended(p);
		pool_dispatch(p);
		if (p->has_new_room && pool_room(p) > 0) {
			p->has_new_room = false;
			p->options.events->on_room(p->options.ctx);
		}
		while ((node = list_pop(&p->dirty)))
			link_flush(list_entry(node, struct pool_slot, dirty_node));
		continue_stop(p);
		pool_roll(p);
		if (p->command_count > 0 && !p->is_told_fatal)
			pool_send_commands(p);
	}
	uv_prepare_stop(prepare);
	uv_idle_stop(&p->idle);
	pool_arm(p);
}

static void on_idle(uv_idle_t *idle)
{
	(void)idle;
}

void pool_wake(struct pool *p)
{
	p->has_work = true;
	if (!p->is_started)
		return;
	uv_prepare_start(&p->prepare, on_prepare);
	/* When some other prepare handle got us here, ours has its turn only after the loop has
	 * waited; an idle handle makes that wait empty. */
	uv_idle_start(&p->idle, on_idle);
}

static void on_timer(uv_timer_t *timer)
{
	struct pool *p = timer->data;
	int64_t now_us = clock_mono_us();
	struct heap_node *node;

	p->armed_us = 0;
	while ((node = heap_min(&p->due)) && node->key <= now_us) {
		struct pool_slot *slot = list_entry(node, struct pool_slot, due);

		heap_pop(&p->due);
		slot_tick(slot, now_us);
		slot_schedule(slot);
	}
	pool_dispatch(p);
	pool_arm(p);
}

void pool_arm(struct pool *p)
{
	struct heap_node *node = heap_min(&p->due);
	int64_t left_us;

	if (!node || !p->is_started)
		return;
	if (p->armed_us && p->armed_us <= node->key)
		return;
	p->armed_us = node->key;
	left_us = node->key - clock_mono_us();
	uv_timer_start(&p->timer, on_timer, left_us > 0 ? (uint64_t)(left_us + 999) / 1000 : 0, 0);
}

/* A slot costs up to two descriptors here. */
static void raise_descriptor_limit(unsigned slots)
{
	struct rlimit limit;
	rlim_t wanted = 2 * (rlim_t)slots + 256;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void init_lists(struct pool *p)
{
	list_init(&p->ready);
	list_init(&p->ended);
	list_init(&p->dirty);
	for (unsigned i = 0; i < FRAME_PLACES; i++)
		list_init(&p->by_load[i]);
	heap_init(&p->due);
}

static void release(struct pool *p)
{
	heap_clear(&p->due);
	if (p->share)
		munmap(p->share, p->share_bytes);
	for (unsigned i = 0; i < p->unit_count; i++) {
		free(p->units[i]->slots);
		free(p->units[i]);
	}
	free(p->units);
	free(p->commands);
	free(p);
}

/* Which sizes the pool has and may get. */
static void init_size(struct pool *p)
{
	struct pool_options *o = &p->options;

	/* Only processes come and go. */
	if (o->kind != POOL_PREFORK)
		o->max_concurrency = 0;
	if (o->kind == POOL_SOLO || (o->concurrency == 0 && o->max_concurrency == 0))
		o->concurrency = 1;
	p->slots_per_unit = o->kind == POOL_THREADS ? o->concurrency : 1;
	p->max_units = o->kind == POOL_THREADS ? 1 : o->concurrency;
	if (o->max_concurrency > p->max_units)
		p->max_units = o->max_concurrency;
}

int pool_prepare(struct pool **ret_pool, const struct pool_options *options, struct err *err)
{
	struct pool *p = mem_calloc(1, sizeof(*p));
	unsigned slots;

	p->options = *options;
	p->spawner_fd = -1;
	init_lists(p);
	init_size(p);
	slots = p->max_units * p->slots_per_unit;
	raise_descriptor_limit(slots);
	/* Seeded once here, or each child would ask the kernel for its own. */
	json_object_seed(0);
	/* Memory is taken by what is touched, so room for slots that never come costs nothing. */
	p->share_bytes = slots * sizeof(struct share_slot);
	p->share = mmap(NULL, p->share_bytes, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p->share == MAP_FAILED) {
		p->share = NULL;
		err_errno(err, "shared memory for the pool");
		release(p);
		return -1;
	}
	for (unsigned i = 0; i < p->options.concurrency; i += p->slots_per_unit)
		pool_add_unit(p);
	if (options->kind != POOL_SOLO &&
	    spawner_start(&p->options, p->share, p->max_units, p->slots_per_unit, &p->spawner_pid,
			  &p->spawner_fd, err) != 0) {
		release(p);
		return -1;
	}
	*ret_pool = p;
	return 0;
}

int pool_start(struct pool *p, uv_loop_t *loop, struct err *err)
{
	p->options.loop = loop;
	uv_timer_init(loop, &p->timer);
	uv_prepare_init(loop, &p->prepare);
	uv_idle_init(loop, &p->idle);
	p->timer.data = p->prepare.data = p->idle.data = p;
	p->open_handles = 3;
	if (p->spawner_fd >= 0) {
		uv_poll_init(loop, &p->spawner_poll, p->spawner_fd);
		p->spawner_poll.data = p;
		p->open_handles = 4;
	}
	p->is_started = true;
	for (unsigned i = 0; i < p->unit_count; i++)
		if (unit_start(p->units[i], err) != 0)
			return -1;
	pool_wake(p);
	return 0;
}

unsigned pool_room(const struct pool *p)
{
	if (p->is_stopping || p->is_killed || p->ready_count >= p->room)
		return 0;
	return p->room - p->ready_count;
}

void pool_submit(struct pool *p, struct pool_job *job)
{
	job->slot = NULL;
	job->serial = 0;
	job->started_us = 0;
	job->place = 0;
	job->is_soft_sent = job->is_killed = false;
	job->is_terminated = job->is_refused = false;
	list_append(&p->ready, &job->node);
	p->ready_count++;
	pool_dispatch(p);
}

static bool take(struct pool *p, struct pool_job *job)
{
	struct pool_slot *slot = job->slot;

	if (slot) {
		if (job->started_us || !slot_steal(slot, job))
			return false;
		slot_refresh(slot);
		slot_schedule(slot);
		pool_wake(p);
		return true;
	}
	list_remove(&job->node);
	p->ready_count--;
	return true;
}

static bool is_ended(const struct pool *p, const struct pool_job *job)
{
	const struct list_node *node;

	list_foreach (node, &p->ended)
		if (node == &job->node)
			return true;
	return false;
}

bool pool_take_back(struct pool *p, struct pool_job *job)
{
	return !is_ended(p, job) && take(p, job);
}

void pool_terminate(struct pool *p, struct pool_job *job, int signal)
{
	struct pool_slot *slot = job->slot;

	if (is_ended(p, job))
		return;
	if (job->is_terminated) {
		if (slot && !slot->is_finishing && p->options.kind == POOL_PREFORK)
			unit_signal(slot->unit, signal);
		return;
	}
	if (take(p, job)) {
		list_append(&p->ended, &job->node);
		pool_wake(p);
		return;
	}
	if (signal == POOL_INTERRUPT_SIGNAL && !slot->is_finishing) {
		slot_interrupt(slot, job);
		slot_schedule(slot);
		pool_arm(p);
		return;
	}
	job->is_terminated = true;
	/* Its end is already here: there is nothing to kill but somebody else's job. */
	if (slot->is_finishing)
		return;
	if (p->options.kind == POOL_PREFORK) {
		(void)slot_doom(slot, DOOM_TERMINATED, signal);
	} else {
		slot_interrupt(slot, job);
		slot_schedule(slot);
		pool_arm(p);
	}
}

void pool_stop(struct pool *p, void (*on_stopped)(void *ctx), void *ctx)
{
	p->is_stopping = true;
	p->on_stopped = on_stopped;
	p->stopped_ctx = ctx;
	pool_wake(p);
	if (!p->is_started)
		on_stopped(ctx);
}

/* Of several jobs that have begun the last one runs; the outcomes of the others were not seen yet.
 */
static void interrupt_solo(struct pool *p)
{
	struct pool_slot *slot = p->units[0]->slots;
	struct pool_job *job;

	slot_steal_queued(slot);
	if (slot->outstanding == 0)
		return;
	job = list_entry(slot->jobs.prev, struct pool_job, node);
	job->is_terminated = true;
	slot_interrupt(slot, job);
	slot_schedule(slot);
}

void pool_kill(struct pool *p)
{
	struct list_node *node;

	p->is_killed = true;
	if (p->solo)
		interrupt_solo(p);
	while ((node = list_pop(&p->ready))) {
		p->ready_count--;
		list_append(&p->ended, node);
	}
	for (unsigned i = 0; i < p->unit_count; i++)
		unit_doom(p->units[i], DOOM_KILLED, SIGKILL);
	pool_wake(p);
	pool_arm(p);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct pool *p = handle->data;

	if (--p->open_handles == 0 && !p->is_left_behind)
		release(p);
}

void pool_free(struct pool *p)
{
	int status;

	if (!p)
		return;
	for (unsigned i = 0; i < p->unit_count; i++)
		for (unsigned k = 0; k < p->slots_per_unit; k++) {
			link_close(&p->units[i]->slots[k]);
			str_clear(&p->units[i]->slots[k].out);
		}
	for (size_t i = 0; i < p->command_count; i++)
		if (p->commands[i].fd >= 0)
			close(p->commands[i].fd);
	/* The thread ends by itself now that its socket is closed; but its body may go on. */
	p->is_left_behind = p->solo && p->units[0]->slots->outstanding > 0;
	if (p->is_left_behind)
		solo_abandon(p->solo);
	else
		solo_join(p->solo);
	if (p->is_started) {
		uv_close((uv_handle_t *)&p->timer, on_handle_closed);
		uv_close((uv_handle_t *)&p->prepare, on_handle_closed);
		uv_close((uv_handle_t *)&p->idle, on_handle_closed);
		if (p->spawner_fd >= 0)
			uv_close((uv_handle_t *)&p->spawner_poll, on_handle_closed);
	}
	if (p->spawner_fd >= 0) {
		/* The end of the stream tells the spawner to kill what is left and to end. */
		close(p->spawner_fd);
		if (waitpid(p->spawner_pid, &status, 0) > 0 && status != 0 && !p->is_told_fatal)
			pool_notice(p, LOG_ERROR, "the pool's spawner ended with status %d",
				    status);
	}
	if (!p->is_started)
		release(p);
}

void pool_stats(const struct pool *p, struct pool_stats *ret_stats)
{
	*ret_stats = p->stats;
	ret_stats->slots = ret_stats->busy = ret_stats->pid_count = 0;
	for (unsigned i = 0; i < p->unit_count; i++) {
		const struct pool_unit *unit = p->units[i];

		if (!unit->is_alive)
			continue;
		ret_stats->slots += unit->slot_count;
		for (unsigned k = 0; k < unit->slot_count; k++)
			ret_stats->busy += unit->slots[k].outstanding > 0;
		if (unit->pid > 0 && ret_stats->pid_count < 64)
			ret_stats->pids[ret_stats->pid_count++] = unit->pid;
	}
}
