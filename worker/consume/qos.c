#include "worker/consume/consumer.h"

/* A task that waits for its ETA stays unacked and would block the queue, so each one raises the
 * prefetch count by one, up to worker_eta_task_limit. Unlike Celery's, the count is computed and
 * not kept by increments, so it is back at its base after every burst (contract: tasks.md 10 j). */
void qos_update(struct consumer *c)
{
	size_t waiting = c->requests.counts[REQUEST_WAITING_ETA];
	size_t limit = c->config->worker_eta_task_limit;
	size_t count = c->qos_base;

	if (c->qos_base != 0)
		count += waiting;
	if (limit != 0 && count > limit)
		count = limit > c->qos_base ? limit : c->qos_base;
	if (count == c->qos_sent)
		return;
	c->qos_sent = (unsigned)count;
	broker_qos(c->broker, c->qos_sent);
}
