/*
 * A task's stamps, for revoking by them: the headers `stamped_headers` (a list of names) and
 * `stamps` (name to value, or to a list of values) as JSON texts. Source: celery/worker/request.py
 * (stamps, revoked), celery/worker/control.py (revoke_by_stamped_headers). Pure.
 */
#ifndef WORKER_REQUEST_STAMP_H
#define WORKER_REQUEST_STAMP_H

#include <jansson.h>
#include <stdbool.h>

#include "base/str.h"

/* Calls `fn` for each value of each stamp that stamped_headers names, until it returns true. A name
 * without a value (missing, null) is skipped, a list counts by its elements. Texts that make no
 * sense hold no stamps. */
typedef bool stamp_fn(void *ctx, const char *header, const json_t *value);
void stamps_walk(const char *stamped_headers, const char *stamps, stamp_fn *fn, void *ctx);

/* Appends the value as JSON text, the same for all values that are equal in Python: 1, 1.0 and
 * True; objects whatever the order of their keys. */
void stamp_put_value(struct str *out, const json_t *value);
bool stamp_is_equal(const json_t *a, const json_t *b);
/* Appends "{'header': 'value'}" as Python's repr of such a dict. */
void stamp_put_pair(struct str *out, const char *header, const json_t *value);

#endif
