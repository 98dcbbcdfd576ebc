#include "worker/request/request.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "worker/request/shelf.h"

#define BUCKETS_AT_START 64

static const char *const state_names[REQUEST_STATE_COUNT] = {
	[REQUEST_RECEIVED] = "received",    [REQUEST_WAITING_ETA] = "scheduled",
	[REQUEST_WAITING_RATE] = "limited", [REQUEST_READY] = "reserved",
	[REQUEST_SUBMITTED] = "submitted",  [REQUEST_RUNNING] = "active",
	[REQUEST_FINISHING] = "finishing",
};

void requests_init(struct requests *all)
{
	memset(all, 0, sizeof(*all));
	for (unsigned i = 0; i < REQUEST_STATE_COUNT; i++)
		list_init(&all->lists[i]);
	heap_init(&all->eta);
	heap_init(&all->shelf.due);
	str_init(&all->shelf.scratch, STR_MAX_DEFAULT);
	all->bucket_count = BUCKETS_AT_START;
	all->buckets = mem_calloc(all->bucket_count, sizeof(*all->buckets));
}

void requests_clear(struct requests *all)
{
	struct list_node *pos, *tmp;

	for (unsigned i = 0; i < REQUEST_STATE_COUNT; i++)
		list_foreach_safe (pos, tmp, &all->lists[i])
			request_free(all, list_entry(pos, struct request, node));
	heap_clear(&all->eta);
	shelf_clear(all);
	free(all->buckets);
	all->buckets = NULL;
	free(all->limits);
	all->limits = NULL;
	all->limit_count = 0;
}

/* FNV-1a: ids are short and mostly random already. */
size_t request_hash(const char *id, int64_t retries)
{
	uint64_t hash = 14695981039346656037u ^ (uint64_t)retries;

	for (; *id; id++)
		hash = (hash ^ (unsigned char)*id) * 1099511628211u;
	return (size_t)(hash ^ (hash >> 32));
}

static struct request **bucket_of(const struct requests *all, const char *id, int64_t retries)
{
	return &all->buckets[request_hash(id, retries) & (all->bucket_count - 1)];
}

static void bucket_push(struct requests *all, struct request *r)
{
	struct request **bucket = bucket_of(all, r->message.id, r->message.retries);

	r->is_first_twin = true;
	r->index_next = *bucket;
	*bucket = r;
}

static void index_grow(struct requests *all)
{
	struct request **old = all->buckets;
	size_t old_count = all->bucket_count;

	all->bucket_count *= 2;
	all->buckets = mem_calloc(all->bucket_count, sizeof(*all->buckets));
	for (size_t i = 0; i < old_count; i++) {
		struct request *r = old[i];

		while (r) {
			struct request *next = r->index_next;

			bucket_push(all, r);
			r = next;
		}
	}
	free(old);
}

struct request *requests_find(struct requests *all, const char *id, int64_t retries)
{
	struct request *r = *bucket_of(all, id, retries);
	struct shelved *s;

	while (r && (r->message.retries != retries || strcmp(r->message.id, id) != 0))
		r = r->index_next;
	if (r || !(s = shelf_find(all, id, retries)))
		return r;
	return shelf_take(all, s);
}

static void index_add(struct requests *all, struct request *r)
{
	struct request *first = requests_find(all, r->message.id, r->message.retries);

	list_init(&r->twins);
	all->total++;
	if (first) {
		list_append(&first->twins, &r->twins);
		return;
	}
	if (all->total > all->bucket_count)
		index_grow(all);
	bucket_push(all, r);
}

static void index_remove(struct requests *all, struct request *r)
{
	struct request *next = list_entry(r->twins.next, struct request, twins);

	all->total--;
	if (r->is_first_twin) {
		struct request **at = bucket_of(all, r->message.id, r->message.retries);

		while (*at != r)
			at = &(*at)->index_next;
		*at = r->index_next;
		if (next != r) {
			next->is_first_twin = true;
			next->index_next = *at;
			*at = next;
		}
	}
	r->is_first_twin = false;
	r->index_next = NULL;
	list_remove(&r->twins);
}

void requests_adopt(struct requests *all, struct request *r, unsigned session, uint64_t tag)
{
	r->session = session;
	r->tag = tag;
	index_remove(all, r);
	index_add(all, r);
}

static bool choose(enum sm_choice choice, bool otherwise)
{
	return choice == SM_DEFAULT ? otherwise : choice == SM_YES;
}

static double first_set(double a, double b, double c)
{
	if (a > 0)
		return a;
	return b > 0 ? b : c;
}

static int max_retries_of(const struct sm_task *task)
{
	switch (task->max_retries) {
	case 0:
		return 3; /* Celery's default */
	case SM_NO_RETRY:
		return 0;
	default:
		return task->max_retries;
	}
}

static void resolve_policy(struct request *r, const struct config *config)
{
	const struct sm_task *task = r->task->decl;
	struct request_policy *p = &r->policy;

	p->acks_late = choose(task->acks_late, config->task_acks_late);
	p->acks_on_failure = choose(task->acks_on_failure, config->task_acks_on_failure);
	p->acks_on_timeout = choose(task->acks_on_timeout, config->task_acks_on_timeout);
	p->reject_on_worker_lost =
		choose(task->reject_on_worker_lost, config->task_reject_on_worker_lost);
	p->retry_on_worker_lost =
		choose(task->retry_on_worker_lost, config->task_retry_on_worker_lost);
	p->ignore_result = choose(task->ignore_result, config->task_ignore_result);
	if (r->message.ignore_result != TRI_NULL)
		p->ignore_result = r->message.ignore_result == TRI_TRUE;
	p->store_errors = !p->ignore_result || choose(task->store_errors_even_if_ignored,
						      config->task_store_errors_even_if_ignored);
	p->track_started = choose(task->track_started, config->task_track_started);
	p->max_retries = max_retries_of(task);
	p->retry_delay_s = task->retry_delay_s > 0 ? task->retry_delay_s : 180;
}

struct request_limits requests_limits(const struct requests *all, const struct task_entry *task)
{
	if (task->index < all->limit_count && all->limits[task->index].is_set)
		return all->limits[task->index];
	return (struct request_limits){false, task->decl->soft_time_limit_s,
				       task->decl->time_limit_s};
}

static void resolve_limits(const struct requests *all, struct request *r,
			   const struct config *config)
{
	struct request_limits own = requests_limits(all, r->task);

	r->policy.soft_limit_s =
		first_set(r->message.soft_time_limit_s, own.soft_s, config->task_soft_time_limit);
	r->policy.hard_limit_s =
		first_set(r->message.time_limit_s, own.hard_s, config->task_time_limit);
	r->job.soft_limit_s = r->policy.soft_limit_s;
	r->job.hard_limit_s = r->policy.hard_limit_s;
}

void requests_limit(struct requests *all, const struct task_entry *task, double soft_s,
		    double hard_s, const struct config *config)
{
	struct list_node *node;
	unsigned count = task->index + 1;

	if (count > all->limit_count) {
		all->limits = mem_realloc(all->limits, count * sizeof(*all->limits));
		memset(all->limits + all->limit_count, 0,
		       (count - all->limit_count) * sizeof(*all->limits));
		all->limit_count = count;
	}
	all->limits[task->index] = (struct request_limits){true, soft_s, hard_s};
	for (unsigned state = 0; state < REQUEST_RUNNING; state++)
		list_foreach (node, &all->lists[state]) {
			struct request *r = list_entry(node, struct request, node);

			if (r->task == task && r->job.started_us == 0)
				resolve_limits(all, r, config);
		}
}

static void fill_job(struct request *r)
{
	struct pool_job *job = &r->job;
	const struct task_message *m = &r->message;

	job->task = r->task;
	job->id = m->id;
	job->retries = m->retries > INT32_MAX ? INT32_MAX : (int)m->retries;
	job->max_retries = r->policy.max_retries;
	job->is_redelivered = m->is_redelivered;
	job->args = m->args;
	job->kwargs = m->kwargs;
	job->message = m;
	if (m->custom_headers)
		job->custom_headers =
			(struct span){.data = m->custom_headers, .len = strlen(m->custom_headers)};
	list_init(&job->node);
}

struct request *request_make(const struct requests *all, struct task_message *message,
			     const struct task_entry *task, const struct config *config)
{
	struct request *r = mem_calloc(1, sizeof(*r));

	r->message = *message;
	task_message_init(message);
	r->task = task;
	resolve_policy(r, config);
	resolve_limits(all, r, config);
	fill_job(r);
	outcome_init(&r->outcome, OUTCOME_IGNORE);
	r->state = REQUEST_RECEIVED;
	list_init(&r->twins);
	return r;
}

struct request *request_new(struct requests *all, struct task_message *message,
			    const struct task_entry *task, const struct config *config)
{
	struct request *r = request_make(all, message, task, config);

	all->config = config;
	list_append(&all->lists[r->state], &r->node);
	all->counts[r->state]++;
	index_add(all, r);
	return r;
}

void request_discard(struct request *r)
{
	if (r->watch)
		*r->watch = NULL;
	outcome_clear(&r->outcome);
	task_message_clear(&r->message);
	free(r->children);
	free(r->send_error);
	free(r);
}

void request_free(struct requests *all, struct request *r)
{
	heap_remove(&all->eta, &r->due);
	list_remove(&r->node);
	all->counts[r->state]--;
	if (!r->is_hidden)
		index_remove(all, r);
	request_discard(r);
}

void requests_give_back(struct requests *all, struct request *r)
{
	struct request *twin = list_entry(r->twins.next, struct request, twins);
	struct request *first;
	bool has_twin = twin != r;

	request_free(all, r);
	if (!has_twin)
		return;
	/* What began is older than what did not, so these come first. */
	while ((first = requests_find(all, twin->message.id, twin->message.retries)) &&
	       first->is_settled) {
		index_remove(all, first);
		first->is_hidden = true;
	}
}

void requests_move(struct requests *all, struct request *r, enum request_state state)
{
	assert(state < REQUEST_STATE_COUNT);
	heap_remove(&all->eta, &r->due);
	list_remove(&r->node);
	all->counts[r->state]--;
	r->state = state;
	list_append(&all->lists[state], &r->node);
	all->counts[state]++;
	if (state == REQUEST_WAITING_ETA)
		heap_push(&all->eta, &r->due, r->message.eta_us);
	if (state == REQUEST_WAITING_RATE)
		heap_push(&all->eta, &r->due, r->start_us);
}

int request_label(struct str *out, const struct request *r)
{
	const struct task_message *m = &r->message;

	return str_addf(out, "%s[%s]", m->shadow && *m->shadow ? m->shadow : m->task, m->id);
}

void request_repr(struct str *out, const struct request *r, struct span json, bool as_tuple)
{
	if (task_entry_has_secrets(r->task)) {
		str_puts(out, "***");
		return;
	}
	pyjson_repr_text(out, json.data, json.len, 1024, 3, as_tuple);
}

void request_args_repr(struct str *out, const struct request *r)
{
	request_repr(out, r, r->message.args, true);
}

void request_kwargs_repr(struct str *out, const struct request *r)
{
	request_repr(out, r, r->message.kwargs, false);
}

const char *request_state_name(enum request_state state)
{
	return state_names[state];
}
