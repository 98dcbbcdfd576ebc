#include "worker/request/limiter.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"

void limiter_init(struct limiter *l, const struct registry *registry)
{
	l->count = registry_count(registry);
	l->buckets = mem_calloc(l->count + 1, sizeof(*l->buckets));
	for (unsigned i = 0; i < l->count; i++) {
		const char *rate = registry_at(registry, i)->decl->rate_limit;
		double per_second = 0;

		/* The registry has refused what does not parse. */
		if (rate && rate_parse(rate, &per_second, NULL) == 0)
			limiter_set(l, registry_at(registry, i), per_second, rate);
	}
}

void limiter_set(struct limiter *l, const struct task_entry *task, double per_second,
		 const char *text)
{
	struct limiter_bucket *b = &l->buckets[task->index];
	char *rate = mem_strdup(text);

	free(b->rate);
	b->rate = rate;
	b->interval_us = per_second > 0 ? (int64_t)llround(fmin(1e6 / per_second, 1e15)) : 0;
	b->next_us = b->started_us ? b->started_us + b->interval_us : 0;
}

const char *limiter_rate(const struct limiter *l, const struct task_entry *task)
{
	return l->buckets[task->index].rate;
}

void limiter_clear(struct limiter *l)
{
	for (unsigned i = 0; i < l->count; i++)
		free(l->buckets[i].rate);
	free(l->buckets);
	*l = (struct limiter){0};
}

int64_t limiter_reserve(struct limiter *l, const struct task_entry *task, int64_t now_us)
{
	struct limiter_bucket *b = &l->buckets[task->index];
	int64_t at = b->next_us > now_us ? b->next_us : now_us;

	if (b->interval_us == 0)
		return now_us;
	b->next_us = at + b->interval_us;
	return at;
}

void limiter_start(struct limiter *l, const struct task_entry *task, int64_t now_us)
{
	l->buckets[task->index].started_us = now_us;
}

void limiter_forget_waiting(struct limiter *l)
{
	for (unsigned i = 0; i < l->count; i++) {
		struct limiter_bucket *b = &l->buckets[i];

		b->next_us = b->started_us ? b->started_us + b->interval_us : 0;
	}
}
