/*
 * What was revoked: task ids and stamps, by remote control, by other workers (mingle) or by an
 * expiry. Bounded and ordered by age, as Celery's LimitedSet: above `max` the oldest entry goes,
 * and what is older than `expires_s` goes when the set is full or purged. Unlike Celery's, stamps
 * are bounded too, and so are the bytes. Every operation on one entry takes constant time.
 *
 * Sources: celery/worker/state.py, celery/utils/collections.py (LimitedSet),
 * celery/worker/request.py (revoked).
 */
#ifndef WORKER_REQUEST_REVOKED_H
#define WORKER_REQUEST_REVOKED_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define REVOKED_MAX	  50000
#define REVOKED_EXPIRES_S 10800
#define REVOKED_BYTES_MAX ((size_t)64 << 20) /* of memory for ids, and for stamps */

struct revoked_entry;

struct revoked_set {
	struct revoked_entry *table; /* oldest first */
	size_t max;		     /* 0 = no limit but the bytes */
	size_t bytes;
	int64_t expires_us; /* 0 = never */
};

struct revoked {
	struct revoked_set ids;
	struct revoked_set stamps; /* of header and value */
	uint64_t changes;	   /* grows with each: something is to be saved */
};

/* `max` 0 = no limit, `expires_s` 0 = never; as in Celery's environment variables. */
void revoked_init(struct revoked *r, size_t max, double expires_s);
void revoked_clear(struct revoked *r);

/* Adds an id, or makes it the newest one. */
void revoked_add(struct revoked *r, const char *id);
/* The same for one that was revoked `age_us` ago (a state file). To be called in order of age, the
 * oldest first. */
void revoked_add_aged(struct revoked *r, const char *id, int64_t age_us);
bool revoked_find(const struct revoked *r, const char *id);
static inline bool revoked_has(const struct revoked *r, const char *id)
{
	return r->ids.table && revoked_find(r, id);
}
static inline bool revoked_is_empty(const struct revoked *r)
{
	return !r->ids.table && !r->stamps.table;
}
/* Drops what has expired. */
void revoked_purge(struct revoked *r);
size_t revoked_count(const struct revoked *r);
/* The ids as a new JSON list, the oldest first: the answer of `inspect revoked` and, after a purge,
 * of `hello`. */
json_t *revoked_list(const struct revoked *r);
/* What another worker has revoked: a list of ids, or an object whose keys are ids (Celery before
 * 5.7). Its times mean nothing on this host: the ids count from now. Anything else is ignored. */
void revoked_merge(struct revoked *r, const json_t *ids);
/* Each id with its age, the oldest first. */
typedef void revoked_each_fn(void *ctx, const char *id, int64_t age_us);
void revoked_each(const struct revoked *r, revoked_each_fn *fn, void *ctx);

/* Tasks whose stamp `header` is this value, or a list with it, are revoked. */
void revoked_add_stamp(struct revoked *r, const char *header, const json_t *value);
/* JSON text of a value. */
typedef void revoked_stamp_fn(void *ctx, const char *header, const char *value, size_t len);
void revoked_each_stamp(const struct revoked *r, revoked_stamp_fn *fn, void *ctx);
/* Do the texts of a task's headers `stamped_headers` and `stamps` (either may be NULL) hold a
 * revoked stamp? *ret_why (may be NULL) gets "{'header': 'value'}". */
bool revoked_by_stamps(const struct revoked *r, const char *stamped_headers, const char *stamps,
		       struct str *ret_why);

#endif
