#include <signal.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/consume/consumer.h"
#include "worker/request/shelf.h"

/* What was revoked does not run. Mirrors celery/worker/request.py, maybe_expire() and revoked(). */

/* By its id, or by a stamp: *why (may be NULL) then says which. */
static bool is_revoked(const struct consumer *c, const struct request *r, struct str *why)
{
	const struct task_message *m = &r->message;

	return revoked_has(&c->revoked, m->id) ||
	       revoked_by_stamps(&c->revoked, m->stamped_headers, m->stamps, why);
}

bool revoke_check(struct consumer *c, struct request *r)
{
	const struct task_message *m = &r->message;

	if (m->expires_us == TIME_UNSET && revoked_is_empty(&c->revoked))
		return false;
	auto_str why = STR_INIT(4096);
	auto_str by = STR_INIT(8192);

	if (m->expires_us != TIME_UNSET && clock_wall_us() > m->expires_us) {
		revoked_add(&c->revoked, m->id);
		finish_revoked(&c->finish, r, FINISH_EXPIRED, NULL);
		return true;
	}
	if (!is_revoked(c, r, &why))
		return false;
	if (why.len > 0)
		str_addf(&by, " (revoked by header: %s)", why.data);
	finish_revoked(&c->finish, r, FINISH_REVOKED, by.data);
	return true;
}

void revoke_sweep(struct consumer *c)
{
	static const enum request_state waiting[] = {REQUEST_READY, REQUEST_SUBMITTED};
	bool was_pumping = c->is_pumping;
	struct list_node *pos, *tmp;

	/* The end of a request calls the pump, which would change the lists under our feet. */
	c->is_pumping = true;
	for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++)
		list_foreach_safe (pos, tmp, &c->requests.lists[waiting[i]]) {
			struct request *r = list_entry(pos, struct request, node);

			if (!is_revoked(c, r, NULL))
				continue;
			if (r->state == REQUEST_READY || pool_take_back(c->pool, &r->job))
				revoke_check(c, r);
		}
	c->is_pumping = was_pumping;
	pump_run(c);
}

static bool can_be_found(const struct request *r)
{
	return r->state != REQUEST_WAITING_RATE || r->message.eta_us != TIME_UNSET;
}

size_t revoke_find(struct consumer *c, const struct map *ids, struct request ***ret_found)
{
	struct request **found = NULL;
	size_t count = 0, cap = 0;
	struct list_node *node;

	shelf_take_ids(&c->requests, ids);
	for (unsigned state = 0; state < REQUEST_FINISHING; state++)
		list_foreach (node, &c->requests.lists[state]) {
			struct request *r = list_entry(node, struct request, node);

			if (!can_be_found(r) || !map_has(ids, r->message.id))
				continue;
			if (count == cap) {
				cap = cap ? 2 * cap : 16;
				found = mem_realloc(found, cap * sizeof(struct request *));
			}
			found[count++] = r;
		}
	*ret_found = found;
	return count;
}

int revoke_terminate(struct consumer *c, struct request *r, int signal)
{
	bool was_pumping = c->is_pumping;

	if (r->state == REQUEST_RECEIVED || r->state == REQUEST_WAITING_ETA ||
	    r->state == REQUEST_WAITING_RATE)
		return 0;
	if (r->state == REQUEST_READY ||
	    (r->state == REQUEST_SUBMITTED && pool_take_back(c->pool, &r->job))) {
		c->is_pumping = true;
		finish_revoked(&c->finish, r, FINISH_REVOKED, NULL);
		c->is_pumping = was_pumping;
		return 0;
	}
	if (c->config->worker_pool != CONFIG_PREFORK)
		return -1;
	/* That one is the soft limit's: the body may go on. */
	if (signal != SIGUSR1)
		r->terminate_signal = signal;
	pool_terminate(c->pool, &r->job, signal);
	return 0;
}
