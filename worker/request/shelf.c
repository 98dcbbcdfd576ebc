#include "worker/request/shelf.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/request/packed.h"

/* What is due sooner would only be packed and unpacked. */
#define NEAR_US		 1000000
#define BUCKETS_AT_START 64

static struct shelved *of_node(struct heap_node *node)
{
	return list_entry(node, struct shelved, due);
}

static struct shelved **bucket_of(const struct shelf *shelf, const char *id, int64_t retries)
{
	return &shelf->buckets[request_hash(id, retries) & (shelf->bucket_count - 1)];
}

/* The bucket of one on the shelf. */
static struct shelved **bucket_for(const struct shelf *shelf, const struct shelved *s)
{
	int64_t retries;
	auto_free char *id = packed_key(s->packed, s->task->name, &retries);

	return bucket_of(shelf, id, retries);
}

static void index_grow(struct shelf *shelf)
{
	struct shelved **old = shelf->buckets;
	size_t old_count = shelf->bucket_count;

	shelf->bucket_count = old_count ? old_count * 2 : BUCKETS_AT_START;
	shelf->buckets = mem_calloc(shelf->bucket_count, sizeof(struct shelved *));
	for (size_t i = 0; i < old_count; i++) {
		struct shelved *s = old[i];

		while (s) {
			struct shelved *next = s->index_next, **bucket = bucket_for(shelf, s);

			s->index_next = *bucket;
			*bucket = s;
			s = next;
		}
	}
	free(old);
}

static void index_add(struct shelf *shelf, struct shelved *s, const char *id, int64_t retries)
{
	struct shelved **bucket;

	if (shelf->due.count >= shelf->bucket_count)
		index_grow(shelf);
	bucket = bucket_of(shelf, id, retries);
	s->index_next = *bucket;
	*bucket = s;
}

static void index_remove(struct shelf *shelf, const struct shelved *s)
{
	struct shelved **at = bucket_for(shelf, s);

	while (*at != s)
		at = &(*at)->index_next;
	*at = s->index_next;
}

bool shelf_put(struct requests *all, struct request *r)
{
	struct shelf *shelf = &all->shelf;
	struct shelved *s;

	if (r->message.eta_us - clock_wall_us() < NEAR_US || !list_is_empty(&r->twins) ||
	    r->is_settled || r->has_record)
		return false;
	str_reset(&shelf->scratch);
	if (packed_write(&shelf->scratch, &r->message, r->task->name) < 0)
		return false;
	s = mem_alloc(sizeof(*s) + shelf->scratch.len);
	memset(s, 0, sizeof(*s));
	memcpy(s->packed, shelf->scratch.data, shelf->scratch.len);
	str_shrink(&shelf->scratch, SHELF_SCRATCH_KEPT);
	s->task = r->task;
	s->received_us = r->received_us;
	s->session = r->session;
	s->tag = r->tag;
	index_add(shelf, s, r->message.id, r->message.retries);
	heap_push(&shelf->due, &s->due, r->message.eta_us);
	request_free(all, r);
	all->counts[REQUEST_WAITING_ETA]++;
	return true;
}

struct shelved *shelf_first(const struct requests *all)
{
	struct heap_node *node = heap_min(&all->shelf.due);

	return node ? of_node(node) : NULL;
}

static void message_of(const struct shelved *s, struct task_message *m)
{
	task_message_init(m);
	packed_read(m, s->packed, s->task->name);
	m->eta_us = s->due.key;
}

static void fill(struct request *r, const struct shelved *s)
{
	r->received_us = s->received_us;
	r->session = s->session;
	r->tag = s->tag;
}

struct request *shelf_take(struct requests *all, struct shelved *s)
{
	struct task_message m;
	struct request *r;

	message_of(s, &m);
	index_remove(&all->shelf, s);
	heap_remove(&all->shelf.due, &s->due);
	all->counts[REQUEST_WAITING_ETA]--;
	r = request_new(all, &m, s->task, all->config);
	fill(r, s);
	requests_move(all, r, REQUEST_WAITING_ETA);
	free(s);
	return r;
}

struct shelved *shelf_find(const struct requests *all, const char *id, int64_t retries)
{
	const struct shelf *shelf = &all->shelf;
	struct shelved *s = shelf->bucket_count ? *bucket_of(shelf, id, retries) : NULL;

	while (s && !packed_is(s->packed, s->task->name, id, retries))
		s = s->index_next;
	return s;
}

void shelf_take_ids(struct requests *all, const struct map *ids)
{
	struct shelf *shelf = &all->shelf;
	auto_free struct shelved **found = mem_calloc(shelf->due.count + 1, sizeof(*found));
	size_t count = 0;

	for (size_t i = 0; i < shelf->due.count; i++) {
		struct shelved *s = of_node(shelf->due.nodes[i]);
		auto_free char *id = packed_key(s->packed, s->task->name, NULL);

		if (map_has(ids, id))
			found[count++] = s;
	}
	for (size_t i = 0; i < count; i++)
		shelf_take(all, found[i]);
}

struct request *shelf_look(const struct requests *all, const struct shelved *s)
{
	struct task_message m;
	struct request *r;

	message_of(s, &m);
	r = request_make(all, &m, s->task, all->config);
	fill(r, s);
	r->state = REQUEST_WAITING_ETA;
	return r;
}

void shelf_clear(struct requests *all)
{
	struct shelf *shelf = &all->shelf;

	while (shelf->due.count > 0) {
		struct heap_node *last = shelf->due.nodes[shelf->due.count - 1];

		heap_remove(&shelf->due, last);
		free(of_node(last));
	}
	heap_clear(&shelf->due);
	free(shelf->buckets);
	shelf->buckets = NULL;
	str_clear(&shelf->scratch);
}
