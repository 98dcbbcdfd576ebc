#include "base/clock.h"
#include "worker/consume/consumer.h"

/* Results and retries that wait for their server hold tasks back: memory stays bounded, nothing is
 * dropped. */
static bool may_start(const struct consumer *c)
{
	const struct finish *f = &c->finish;

	return !c->is_stopping && !(f->backend && backend_is_full(f->backend)) &&
	       f->publishing_bytes < c->config->worker_max_waiting_bytes;
}

void pump_run(struct consumer *c)
{
	struct list_node *ready = &c->requests.lists[REQUEST_READY];
	unsigned room = !list_is_empty(ready) && may_start(c) ? pool_room(c->pool) : 0;

	while (room > 0 && !list_is_empty(ready)) {
		struct request *r = list_entry(ready->next, struct request, node);

		if (r->message.expires_us != TIME_UNSET &&
		    clock_wall_us() > r->message.expires_us) {
			finish_expired(&c->finish, r);
			continue;
		}
		requests_move(&c->requests, r, REQUEST_SUBMITTED);
		pool_submit(c->pool, &r->job);
		room--;
	}
}
