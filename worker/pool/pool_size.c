/*
 * How many processes a prefork pool has: growing, shrinking, replacing all of them. Each has a
 * place in the shared memory, which was mapped for as many as may ever be wanted before the spawner
 * was forked; only the pages of places that are taken hold memory.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "worker/pool/pool_state.h"

struct pool_unit *pool_add_unit(struct pool *p)
{
	struct pool_unit *unit = mem_calloc(1, sizeof(*unit));

	unit->index = p->unit_count;
	unit->slot_count = p->slots_per_unit;
	unit->slots = mem_calloc(unit->slot_count, sizeof(*unit->slots));
	for (unsigned i = 0; i < unit->slot_count; i++) {
		struct pool_slot *slot = &unit->slots[i];

		slot->pool = p;
		slot->unit = unit;
		slot->index = unit->index * p->slots_per_unit + i;
		slot->share = &p->share[slot->index];
		list_init(&slot->node);
		list_init(&slot->dirty_node);
		list_init(&slot->jobs);
		str_init(&slot->out, FRAME_PLACES * (FRAME_HEAD_MAX + POOL_BIG + 64));
	}
	p->units = mem_realloc(p->units, (p->unit_count + 1) * sizeof(struct pool_unit *));
	p->units[p->unit_count++] = unit;
	unit->is_wanted = true;
	p->wanted++;
	return unit;
}

unsigned pool_size(const struct pool *p)
{
	return p->wanted * p->slots_per_unit;
}

static void set_wanted(struct pool_unit *unit, bool is_wanted)
{
	struct pool *p = unit->slots->pool;

	p->wanted = p->wanted - unit->is_wanted + is_wanted;
	unit->is_wanted = is_wanted;
}

static bool is_vacant(const struct pool *p, unsigned place)
{
	return place < p->unit_count && !p->units[place]->is_wanted && !p->units[place]->is_alive;
}

/* The pages that hold nothing but this place and the free ones beside it go back to the system. */
void unit_vacate(struct pool_unit *unit)
{
	const struct pool *p = unit->slots->pool;
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	unsigned first = unit->index, end = unit->index + 1;

	while (first > 0 && is_vacant(p, first - 1))
		first--;
	while (is_vacant(p, end))
		end++;
	uintptr_t from = ((uintptr_t)&p->share[first] + page - 1) & ~(page - 1);
	uintptr_t to = (uintptr_t)&p->share[end] & ~(page - 1);

	if (from < to)
		madvise((void *)from, to - from, MADV_REMOVE);
}

/* A place that is free; else a new one; else one whose process is still ending: it is replaced
 * then. NULL when all are taken. */
static struct pool_unit *find_place(struct pool *p)
{
	struct pool_unit *ending = NULL;

	for (unsigned i = 0; i < p->unit_count; i++) {
		struct pool_unit *unit = p->units[i];

		if (unit->is_wanted)
			continue;
		if (!unit->is_alive)
			return unit;
		ending = unit;
	}
	return p->unit_count < p->max_units ? pool_add_unit(p) : ending;
}

int pool_grow(struct pool *p, unsigned n, struct err *err)
{
	if (p->options.kind != POOL_PREFORK)
		return err_set(err, ERR_UNSUPPORTED, "a %s pool cannot grow",
			       pool_kind_name(p->options.kind));
	if (n > p->max_units - p->wanted)
		return err_set(err, ERR_LIMIT, "a pool of %u cannot grow by %u: at most %u",
			       p->wanted, n, p->max_units);
	if (p->is_stopping || p->is_killed)
		return err_set(err, ERR_REFUSED, "the pool is stopping");
	while (n-- > 0) {
		struct pool_unit *unit = find_place(p);

		set_wanted(unit, true);
		if (unit->is_alive || !p->is_started || unit_start(unit, err) == 0)
			continue;
		set_wanted(unit, false);
		return -1;
	}
	pool_wake(p);
	return 0;
}

/* One that is not there at the moment, or the last one that has nothing to do. */
static struct pool_unit *find_idle(const struct pool *p)
{
	struct pool_unit *idle = NULL;

	if (p->ready_count > 0)
		return NULL; /* there is work for all of them */
	for (unsigned i = p->unit_count; i > 0; i--) {
		struct pool_unit *unit = p->units[i - 1];

		if (unit->is_wanted && !unit->is_alive)
			return unit;
		if (!idle && unit->is_wanted && unit->slots->outstanding == 0)
			idle = unit;
	}
	return idle;
}

int pool_shrink(struct pool *p, unsigned n, struct err *err)
{
	if (p->options.kind != POOL_PREFORK)
		return err_set(err, ERR_UNSUPPORTED, "a %s pool cannot shrink",
			       pool_kind_name(p->options.kind));
	while (n-- > 0) {
		struct pool_unit *unit = find_idle(p);

		if (!unit)
			return err_set(err, ERR_LIMIT, "Can't shrink pool. All processes busy!");
		set_wanted(unit, false);
		if (!unit->is_alive) {
			unit_vacate(unit);
			continue;
		}
		slot_retire(unit->slots, EXIT_SUCCESS);
	}
	pool_wake(p);
	return 0;
}

bool pool_restart(struct pool *p)
{
	if (p->options.kind != POOL_PREFORK)
		return false;
	for (unsigned i = 0; i < p->unit_count; i++)
		p->units[i]->is_stale = p->units[i]->is_wanted;
	p->is_restarting = true;
	pool_wake(p);
	return true;
}

bool pool_is_replacing(const struct pool *p)
{
	for (unsigned i = 0; i < p->unit_count; i++) {
		const struct pool_unit *unit = p->units[i];

		if (unit->is_wanted &&
		    (!unit->is_alive || unit->doom != DOOM_NONE || unit->pid == 0))
			return true;
	}
	return false;
}

void pool_roll(struct pool *p)
{
	bool has_stale = false;

	if (!p->is_restarting || p->is_stopping || p->is_killed || pool_is_replacing(p))
		return;
	for (unsigned i = 0; i < p->unit_count; i++) {
		struct pool_unit *unit = p->units[i];

		if (!unit->is_wanted || !unit->is_stale)
			continue;
		has_stale = true;
		if (unit->slots->outstanding > 0)
			continue;
		slot_retire(unit->slots, EXIT_SUCCESS);
		return;
	}
	p->is_restarting = has_stale;
	if (!has_stale)
		pool_notice(p, LOG_INFO, "pool restarted: %u processes replaced", p->wanted);
}

bool pool_process_at(const struct pool *p, unsigned place, struct pool_process *ret)
{
	const struct pool_unit *unit;

	if (place >= p->unit_count)
		return false;
	unit = p->units[place];
	*ret = (struct pool_process){.pid = unit->is_alive ? unit->pid : 0,
				     .written = unit->slots->written,
				     .is_writing = unit->slots->is_blocked};
	return true;
}
