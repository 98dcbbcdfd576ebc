/* Processes: starting, dooming, replacing them, by way of the spawner. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "worker/pool/pool_state.h"

#define EARLY_DEATHS_MAX 10
#define RESPAWN_PAUSE_US 1000000

static void on_spawner(uv_poll_t *poll, int status, int events);

void pool_send_commands(struct pool *p)
{
	size_t sent = 0;
	int events = UV_READABLE;

	while (sent < p->command_count) {
		struct pool_command *c = &p->commands[sent];

		if (spawner_send(p->spawner_fd, &c->command, c->fd) != 0) {
			if (errno == EINTR)
				continue;
			/* ETOOMANYREFS: it has yet to take descriptors that are on their way. */
			if (errno == EAGAIN || errno == ETOOMANYREFS) {
				events |= UV_WRITABLE;
				break;
			}
		}
		if (c->fd >= 0)
			close(c->fd);
		sent++;
	}
	p->command_count -= sent;
	memmove(p->commands, p->commands + sent, p->command_count * sizeof(*p->commands));
	uv_poll_start(&p->spawner_poll, events, on_spawner);
}

void pool_command(struct pool *p, const struct spawner_command *command, int fd)
{
	if (p->command_count == p->command_cap) {
		p->command_cap = p->command_cap ? p->command_cap * 2 : 8;
		p->commands = mem_realloc(p->commands, p->command_cap * sizeof(*p->commands));
	}
	p->commands[p->command_count++] = (struct pool_command){.command = *command, .fd = fd};
	pool_wake(p);
}

void unit_signal(struct pool_unit *unit, int signal)
{
	struct spawner_command command = {
		.verb = SPAWNER_SIGNAL, .unit = unit->index, .signal = signal};

	if (unit->is_alive && !unit->slots->pool->solo)
		pool_command(unit->slots->pool, &command, -1);
}

void unit_doom(struct pool_unit *unit, enum pool_doom doom, int signal)
{
	unit->doom = doom;
	unit_signal(unit, signal);
	for (unsigned i = 0; i < unit->slot_count; i++)
		slot_refresh(&unit->slots[i]);
}

static void reset_share(struct share_slot *share)
{
	for (unsigned i = 0; i < FRAME_PLACES; i++)
		atomic_store(&share->places[i].state, SHARE_EMPTY);
	atomic_store(&share->pid, 0);
	atomic_store(&share->tid, 0);
	atomic_store(&share->exit_code, 0);
	ring_reset(&share->ring);
}

static int start_solo(struct pool_slot *slot, int fd, struct err *err)
{
	struct pool *p = slot->pool;
	struct slot_options options = {.pool = &p->options, .share = slot->share, .fd = fd};

	p->solo = solo_start(&options, err);
	if (p->solo)
		return 0;
	close(fd);
	return -1;
}

static int connect_slot(struct pool_slot *slot, struct err *err)
{
	struct spawner_command add = {
		.verb = SPAWNER_ADD, .unit = slot->unit->index, .slot = slot->index};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return err_errno(err, "socket pair for a pool process");
	reset_share(slot->share);
	slot->next_place = 0;
	slot->runs = 0;
	slot->is_closed = slot->is_slow = false;
	link_open(slot, pair[0]);
	if (slot->pool->options.kind == POOL_SOLO)
		return start_solo(slot, pair[1], err);
	pool_command(slot->pool, &add, pair[1]);
	return 0;
}

int unit_start(struct pool_unit *unit, struct err *err)
{
	struct pool *p = unit->slots->pool;
	struct spawner_command fork_it = {.verb = SPAWNER_FORK, .unit = unit->index};

	unit->doom = DOOM_NONE;
	unit->has_run = unit->is_broken = unit->is_stale = false;
	unit->pid = p->options.kind == POOL_SOLO ? getpid() : 0;
	for (unsigned i = 0; i < unit->slot_count; i++) {
		if (connect_slot(&unit->slots[i], err) == 0)
			continue;
		for (unsigned k = 0; k <= i; k++)
			link_close(&unit->slots[k]);
		return -1;
	}
	if (p->options.kind != POOL_SOLO)
		pool_command(p, &fork_it, -1);
	unit->is_alive = true;
	p->units_alive++;
	for (unsigned i = 0; i < unit->slot_count; i++)
		slot_refresh(&unit->slots[i]);
	return 0;
}

static void respawn_later(struct pool_unit *unit)
{
	unit->slots->respawn_us = clock_mono_us() + RESPAWN_PAUSE_US;
	slot_schedule(unit->slots);
	pool_arm(unit->slots->pool);
}

void unit_respawn(struct pool_unit *unit)
{
	struct pool *p = unit->slots->pool;
	struct err err = {0};
	bool is_wanted =
		unit->is_wanted && !p->is_killed && (!p->is_stopping || p->ready_count > 0);

	if (!is_wanted || unit->is_alive)
		return;
	if (unit_start(unit, &err) == 0) {
		pool_dispatch(p);
		return;
	}
	pool_notice(p, LOG_ERROR, "cannot replace a pool process: %s", err.text);
	respawn_later(unit);
}

/* "exitcode 1", "signal 9 (SIGKILL)", as billiard's human_status(). */
static char *describe(int status)
{
	const char *name;

	if (!WIFSIGNALED(status))
		return mem_printf("exitcode %d", WEXITSTATUS(status));
	name = sigabbrev_np(WTERMSIG(status));
	return mem_printf("signal %d (SIG%s)", WTERMSIG(status), name ? name : "?");
}

/* What was told to end must also end well. */
static bool is_planned_end(const struct pool_unit *unit, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	if (unit->doom == DOOM_RETIRED)
		return code == EXIT_SUCCESS || code == POOL_EXIT_RECYCLE;
	return unit->doom != DOOM_NONE && !unit->is_broken;
}

/* A death that nobody here asked for is worth a line. */
static void tell_death(struct pool_unit *unit, int status, const char *how)
{
	struct pool *p = unit->slots->pool;
	auto_free char *name = p->options.kind == POOL_PREFORK
				       ? mem_printf("PoolWorker-%u", unit->index + 1)
				       : mem_strdup("PoolThreads");
	int level = is_planned_end(unit, status) ? LOG_DEBUG : LOG_ERROR;

	pool_notice(p, level, "Process '%s' pid:%d exited with '%s'", name, unit->pid, how);
}

/* In a threads pool the process also ends when all its threads have ended. */
static bool is_wanted_end(const struct pool_unit *unit)
{
	for (unsigned i = 0; i < unit->slot_count; i++)
		if (!unit->slots[i].is_closed)
			return false;
	return true;
}

static void replace(struct pool_unit *unit)
{
	struct pool *p = unit->slots->pool;

	if (!unit->is_wanted) {
		unit_vacate(unit);
		return;
	}
	if (unit->has_run || unit->doom != DOOM_NONE)
		p->early_deaths = 0;
	else if (++p->early_deaths == EARLY_DEATHS_MAX)
		pool_notice(p, LOG_ERROR,
			    "pool processes die before they run anything: the next ones are "
			    "started a second apart");
	if (p->early_deaths >= EARLY_DEATHS_MAX)
		respawn_later(unit);
	else
		unit_respawn(unit);
}

void unit_exited(struct pool_unit *unit, int status)
{
	struct pool *p = unit->slots->pool;
	struct solo *solo = p->solo;
	auto_free char *how = describe(status);

	if (!unit->is_alive)
		return;
	/* What it said before it died counts, and may end jobs: nothing may be given to it now. */
	unit->is_alive = false;
	p->units_alive--;
	for (unsigned i = 0; i < unit->slot_count; i++)
		link_drain(&unit->slots[i]);
	if (unit->doom == DOOM_NONE && is_wanted_end(unit))
		unit->doom = DOOM_RETIRED;
	if (!solo)
		tell_death(unit, status, how);
	for (unsigned i = 0; i < unit->slot_count; i++)
		slot_abandon(&unit->slots[i], how);
	p->solo = NULL;
	solo_join(solo);
	replace(unit);
	pool_dispatch(p);
	pool_wake(p);
}

static void fork_failed(struct pool_unit *unit, int number)
{
	struct pool *p = unit->slots->pool;

	/* A limit of processes is met by all that are missing, each every second. */
	if (p->fork_told_us == 0 || clock_mono_us() - p->fork_told_us >= RESPAWN_PAUSE_US) {
		p->fork_told_us = clock_mono_us();
		pool_notice(p, LOG_ERROR, "cannot fork a pool process: %s", strerror(number));
	}
	unit->is_alive = false;
	p->units_alive--;
	for (unsigned i = 0; i < unit->slot_count; i++)
		slot_abandon(&unit->slots[i], "");
	respawn_later(unit);
}

static void take_report(struct pool *p, const struct spawner_report *r)
{
	struct pool_unit *unit;

	if (r->unit >= p->unit_count)
		return;
	unit = p->units[r->unit];
	switch ((enum spawner_event)r->event) {
	case SPAWNER_FORKED:
		unit->pid = r->pid;
		if (p->is_restarting)
			pool_wake(p);
		break;
	case SPAWNER_FORK_FAILED:
		fork_failed(unit, r->status);
		break;
	case SPAWNER_EXITED:
		unit_exited(unit, r->status);
		break;
	}
}

/* The spawner is gone and has taken all processes along. What they ran ends as cut off; what waited
 * has nobody to run it any more. */
static void abandon_all(struct pool *p)
{
	struct list_node *node;

	p->is_killed = true;
	while ((node = list_pop(&p->ready))) {
		p->ready_count--;
		list_append(&p->ended, node);
	}
	for (unsigned i = 0; i < p->unit_count; i++) {
		struct pool_unit *unit = p->units[i];

		for (unsigned k = 0; k < unit->slot_count; k++)
			link_drain(&unit->slots[k]);
		p->units_alive -= unit->is_alive;
		unit->is_alive = false;
		unit->doom = DOOM_KILLED;
		unit->is_broken = false;
		for (unsigned k = 0; k < unit->slot_count; k++)
			slot_abandon(&unit->slots[k], "");
	}
	pool_wake(p);
}

static void read_reports(struct pool *p)
{
	struct spawner_report report;
	int got;

	while ((got = spawner_receive(p->spawner_fd, &report)) > 0)
		take_report(p, &report);
	if (got == 0 || p->is_told_fatal)
		return;
	p->is_told_fatal = true;
	uv_poll_stop(&p->spawner_poll);
	p->options.events->on_fatal(p->options.ctx, "the pool's spawner process is gone");
	abandon_all(p);
}

static void on_spawner(uv_poll_t *poll, int status, int events)
{
	struct pool *p = poll->data;

	if (status < 0 || (events & (UV_READABLE | UV_DISCONNECT)))
		read_reports(p);
	if ((events & UV_WRITABLE) && !p->is_told_fatal)
		pool_send_commands(p);
	pool_arm(p);
}
