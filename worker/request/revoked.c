#include "worker/request/revoked.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define uthash_fatal(msg) abort()
/* The default function falls through its cases, which clang warns of. */
#define HASH_FUNCTION HASH_FNV
#include <uthash.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/request/stamp.h"

struct revoked_entry {
	UT_hash_handle hh; /* keeps the order of insertion as well */
	int64_t at_us;	   /* monotonic */
	size_t len;
	char key[];
};

static size_t cost_of(size_t len)
{
	return sizeof(struct revoked_entry) + len;
}

static void set_drop(struct revoked_set *s, struct revoked_entry *e)
{
	HASH_DEL(s->table, e);
	s->bytes -= cost_of(e->len);
	free(e);
}

static void set_clear(struct revoked_set *s)
{
	struct revoked_entry *e = s->table, *next;

	HASH_CLEAR(hh, s->table); /* frees the buckets; the entries stay chained */
	for (; e; e = next) {
		next = e->hh.next;
		free(e);
	}
	s->bytes = 0;
}

static struct revoked_entry *set_find(const struct revoked_set *s, const char *key, size_t len)
{
	struct revoked_entry *e;

	HASH_FIND(hh, s->table, key, len, e);
	return e;
}

static void set_purge(struct revoked_set *s)
{
	int64_t now_us = clock_mono_us();

	while (s->table &&
	       ((s->max > 0 && HASH_COUNT(s->table) > s->max) || s->bytes > REVOKED_BYTES_MAX))
		set_drop(s, s->table);
	while (s->table && s->expires_us > 0 && s->table->at_us + s->expires_us <= now_us)
		set_drop(s, s->table);
}

/* As in Celery, the expired ones are only looked for when the set is full. */
static void set_add(struct revoked_set *s, const char *key, size_t len, int64_t at_us)
{
	struct revoked_entry *e = set_find(s, key, len);

	if (cost_of(len) > REVOKED_BYTES_MAX)
		return;
	if (e)
		set_drop(s, e);
	e = mem_alloc(sizeof(*e) + len + 1);
	e->at_us = at_us;
	e->len = len;
	memcpy(e->key, key, len);
	e->key[len] = '\0';
	HASH_ADD(hh, s->table, key, len, e);
	s->bytes += cost_of(len);
	if ((s->max > 0 && HASH_COUNT(s->table) >= s->max) || s->bytes > REVOKED_BYTES_MAX)
		set_purge(s);
}

void revoked_init(struct revoked *r, size_t max, double expires_s)
{
	*r = (struct revoked){0};
	r->ids.max = max;
	r->ids.expires_us = (int64_t)(fmin(expires_s, 1e10) * 1e6);
	r->stamps.max = max > 0 ? max : REVOKED_MAX;
}

void revoked_clear(struct revoked *r)
{
	set_clear(&r->ids);
	set_clear(&r->stamps);
}

void revoked_add(struct revoked *r, const char *id)
{
	revoked_add_aged(r, id, 0);
}

void revoked_add_aged(struct revoked *r, const char *id, int64_t age_us)
{
	set_add(&r->ids, id, strlen(id), clock_mono_us() - age_us);
	r->changes++;
}

bool revoked_find(const struct revoked *r, const char *id)
{
	return set_find(&r->ids, id, strlen(id)) != NULL;
}

void revoked_purge(struct revoked *r)
{
	size_t before = HASH_COUNT(r->ids.table);

	set_purge(&r->ids);
	if (HASH_COUNT(r->ids.table) != before)
		r->changes++;
}

size_t revoked_count(const struct revoked *r)
{
	return HASH_COUNT(r->ids.table);
}

static void append_id(void *ctx, const char *id, int64_t age_us)
{
	(void)age_us;
	json_array_append_new(ctx, json_string_nocheck(id));
}

json_t *revoked_list(const struct revoked *r)
{
	json_t *list = json_array();

	revoked_each(r, append_id, list);
	return list;
}

void revoked_merge(struct revoked *r, const json_t *ids)
{
	/* The cast is jansson's: walking an object changes nothing of it. */
	json_t *object = (json_t *)(uintptr_t)ids;

	for (size_t i = 0; i < json_array_size(ids); i++)
		if (json_is_string(json_array_get(ids, i)))
			revoked_add(r, json_string_value(json_array_get(ids, i)));
	for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at))
		revoked_add(r, json_object_iter_key(at));
}

void revoked_each(const struct revoked *r, revoked_each_fn *fn, void *ctx)
{
	int64_t now_us = clock_mono_us();

	for (const struct revoked_entry *e = r->ids.table; e; e = e->hh.next)
		fn(ctx, e->key, now_us - e->at_us);
}

/* --- stamps: the key is the header, a NUL, and one form of the value for all that are equal --- */

static void stamp_key(struct str *out, const char *header, const json_t *value)
{
	str_add(out, header, strlen(header) + 1);
	stamp_put_value(out, value);
}

void revoked_add_stamp(struct revoked *r, const char *header, const json_t *value)
{
	auto_str key = STR_INIT(REVOKED_BYTES_MAX);

	stamp_key(&key, header, value);
	if (key.is_full)
		return;
	set_add(&r->stamps, key.data, key.len, clock_mono_us());
	r->changes++;
}

void revoked_each_stamp(const struct revoked *r, revoked_stamp_fn *fn, void *ctx)
{
	for (const struct revoked_entry *e = r->stamps.table; e; e = e->hh.next) {
		size_t header_len = strlen(e->key);

		fn(ctx, e->key, e->key + header_len + 1, e->len - header_len - 1);
	}
}

struct search {
	const struct revoked *revoked;
	struct str *why;
	bool is_found;
};

static bool look_for(void *ctx, const char *header, const json_t *value)
{
	struct search *search = ctx;
	auto_str key = STR_INIT(REVOKED_BYTES_MAX);

	stamp_key(&key, header, value);
	search->is_found =
		!key.is_full && set_find(&search->revoked->stamps, key.data, key.len) != NULL;
	if (search->is_found && search->why)
		stamp_put_pair(search->why, header, value);
	return search->is_found;
}

bool revoked_by_stamps(const struct revoked *r, const char *stamped_headers, const char *stamps,
		       struct str *ret_why)
{
	struct search search = {.revoked = r, .why = ret_why};

	if (r->stamps.table && stamped_headers && stamps)
		stamps_walk(stamped_headers, stamps, look_for, &search);
	return search.is_found;
}
