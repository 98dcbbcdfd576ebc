/*
 * One header's value without a tree of its own: what ordinary messages carry is a kind and a number
 * or a run of bytes. Only what is nested, and what 64 bits cannot hold, is a json_t.
 */
#ifndef PROTOCOL_VALUE_H
#define PROTOCOL_VALUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

/* A run of bytes that belongs to somebody else. */
struct span {
	const char *data;
	size_t len;
};

enum value_kind {
	VALUE_ABSENT,
	VALUE_NULL,
	VALUE_BOOL,
	VALUE_INT,
	VALUE_REAL,  /* finite */
	VALUE_TEXT,  /* UTF-8, or WTF-8 when it came from JSON; may hold NUL, has none behind it */
	VALUE_LIST,  /* of plain values */
	VALUE_EMPTY, /* an object without members */
	VALUE_JSON,  /* anything else; who owns the value owns a reference */
};

struct value {
	enum value_kind kind;
	union {
		bool truth;
		int64_t integer;
		double real;
		struct span text;
		struct {
			const struct value *items; /* none of them a VALUE_LIST or VALUE_JSON */
			size_t count;
		} list;
		json_t *json;
	};
};

/* The same as a value that borrows everything. NULL is absent. */
struct value value_of_json(const json_t *json);
/* The same, with texts and lists in the arena; a VALUE_JSON takes a reference of its own. */
struct value value_copy_json(struct arena *arena, const json_t *json);
/* New reference; NULL when absent. */
json_t *value_to_json(const struct value *value);
/* Gives up the reference of a VALUE_JSON; leaves an absent value. */
void value_drop(struct value *value);

/* An array of either form. */
bool value_is_list(const struct value *value);
size_t value_list_size(const struct value *value);
/* Borrowed. */
struct value value_list_at(const struct value *value, size_t i);

/* Python's bool(value). */
bool value_is_truthy(const struct value *value);
/* Appends it as json.dumps() does. */
int value_dump(struct str *out, const struct value *value);

#endif
