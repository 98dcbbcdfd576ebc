#include "worker/consume/consumer.h"

/* A task that waits for its ETA stays unacked and would block the queue, so each one raises the
 * prefetch count by one, up to worker_eta_task_limit. Unlike Celery's, the count is computed and
 * not kept by increments, so it is back at its base after every burst (contract: tasks.md 10 j). */
/* One task more per round trip would take a backlog of tasks due later at a few thousand a second,
 * and block what is due now behind it. After a long run of nothing but such tasks some more are
 * asked for at once; the first task that can run ends that, so at most this many are held beyond
 * Celery's count. */
#define HEADROOM_MOST  64
#define HEADROOM_AFTER 128

static size_t headroom(const struct consumer *c)
{
	if (c->eta_streak < HEADROOM_AFTER)
		return 0;
	return c->eta_streak / 16 < HEADROOM_MOST ? c->eta_streak / 16 : HEADROOM_MOST;
}

void qos_resize(struct consumer *c)
{
	unsigned size = c->autoscale.pool ? c->autoscale.max : pool_size(c->pool);
	uint64_t base = (uint64_t)size * c->config->worker_prefetch_multiplier;

	if (c->config->worker_prefetch_multiplier == 0)
		return; /* unlimited */
	base = base < UINT32_MAX ? base : UINT32_MAX;
	c->qos_base = base > 0 ? (unsigned)base : 1;
	qos_update(c);
}

void qos_update(struct consumer *c)
{
	size_t waiting = c->requests.counts[REQUEST_WAITING_ETA];
	size_t limit = c->config->worker_eta_task_limit;
	size_t count = c->qos_base;

	if (c->qos_base != 0)
		count += headroom(c);
	else
		waiting = 0;
	if (limit != 0 && count + waiting > limit) {
		count = c->qos_base;
		waiting = limit > count ? limit - count : 0;
	}
	if (count == c->qos_count && count + waiting == c->qos_sent)
		return;
	c->qos_count = (unsigned)count;
	c->qos_sent = (unsigned)(count + waiting);
	acks_prefetch(&c->finish.acks, c->qos_sent);
	if (c->broker)
		broker_qos(c->broker, c->qos_count, (unsigned)waiting);
}
