/*
 * JSON as Python's json module and kombu write and read it, on jansson's values. jansson's own
 * parser refuses what Python sends (NaN, Infinity, integers over 64 bits, lone surrogates) and its
 * writer prints floats and escapes differently; bytes must match Celery's.
 *
 * What json_t cannot hold is kept in a marked object that no JSON text can produce (its only key
 * holds a byte that is not UTF-8): numbers out of range keep their token text and are written back
 * as they came. Lone surrogates become three-byte WTF-8 sequences and are written back as \udXXX.
 *
 * Keys may hold NUL: walk with json_object_iter_key_len. jansson 2.14 cuts such keys in
 * json_object_update, json_copy, json_deep_copy and json_equal: not for what came from a message.
 *
 * kombu's tags ({"__type__": t, "__value__": v} and nothing else) stay objects: they round-trip,
 * and pyjson_tag tells what they are. Loading refuses unknown tags and values that the tag's Python
 * decoder would refuse. Sources: kombu/utils/json.py, CPython Lib/json.
 */
#ifndef PROTOCOL_PYJSON_H
#define PROTOCOL_PYJSON_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "protocol/message.h"

#define PYJSON_MAX_DEPTH 512

/* Whole text to one value; a new reference, or NULL with `err` set (ERR_INVALID, ERR_LIMIT). */
json_t *pyjson_load(const char *data, size_t len, struct err *err);

/* Appends the value as json.dumps(value) does: separators ", " and ": ", ASCII only, lower-case
 * \u escapes, floats as repr. Returns -1 when `out` is full; a value deeper than PYJSON_MAX_DEPTH
 * counts as filling it. */
int pyjson_dump(struct str *out, const json_t *value);
/* As pyjson_dump of a string. `text` must be UTF-8 (invalid bytes become \ufffd). */
int pyjson_dump_str(struct str *out, const char *text, size_t len);

enum pyjson_tag {
	PYJSON_PLAIN, /* no tag */
	PYJSON_DATETIME,
	PYJSON_DATE,
	PYJSON_TIME,
	PYJSON_DECIMAL,
	PYJSON_UUID,
	PYJSON_BYTES,  /* UTF-8 */
	PYJSON_BASE64, /* other bytes */
	PYJSON_NUMBER, /* integer over 64 bits, NaN, Infinity: ret_text is the token */
};
/* Which kind the value is; *ret_text (may be NULL) gets its text form, borrowed ("1.50",
 * "2026-01-02", a UUID's 32 hex digits, base64 text), NULL for plain values. */
enum pyjson_tag pyjson_tag(const json_t *value, const char **ret_text);

/* Makes a marked number from a token that is a valid JSON or Python number. New reference. */
json_t *pyjson_number(const char *token, size_t len);

/*
 * Scans one JSON text without building a tree: checks it whole (syntax, UTF-8, depth; tags too when
 * the text contains any) and reports the spans of an array's elements or an object's values.
 * Nothing is allocated for plain texts.
 */
struct pyjson_item {
	struct span key;   /* object only: the raw text between the quotes, escapes not decoded */
	struct span value; /* raw text of the value */
};
enum pyjson_kind {
	PYJSON_NULL,
	PYJSON_BOOL,
	PYJSON_NUM,
	PYJSON_STRING,
	PYJSON_ARRAY,
	PYJSON_OBJECT
};
/* Fills at most `max` items; *ret_count gets how many there are in all (may be more than max). */
int pyjson_scan(const char *data, size_t len, enum pyjson_kind *ret_kind, struct pyjson_item *items,
		size_t max, size_t *ret_count, struct err *err);
/* The kind of a value by its first byte (the text must be valid). */
enum pyjson_kind pyjson_kind_of(struct span value);

/* Appends Python's repr() of the value ('a', True, None, {'k': [1]}), as saferepr cuts it:
 * at most `max_len` characters, containers below `max_levels` as [...] {...} (...); 0 = no limit.
 * `as_tuple` prints a top-level array as a tuple. Source: celery/utils/saferepr.py. */
int pyjson_repr(struct str *out, const json_t *value, size_t max_len, unsigned max_levels,
		bool as_tuple);
/* Appends Python's repr() of a str, of its first `max_chars` characters (0 = all): quotes, escapes,
 * never a control character. */
int pyjson_repr_str(struct str *out, const char *text, size_t len, size_t max_chars);
/* As pyjson_repr, of a valid text; reads no more of a long one than shows. -1 also when it is not
 * valid, but behind what shows nobody looks. */
int pyjson_repr_text(struct str *out, const char *data, size_t len, size_t max_len,
		     unsigned max_levels, bool as_tuple);

/* The Python type of the value: "int", "NoneType", "Decimal". */
const char *pyjson_type_name(const json_t *value);

#endif
