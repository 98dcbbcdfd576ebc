/*
 * The parts of one JSON text by name, without a tree: pyjson_scan() and what is done with its
 * spans.
 */
#ifndef PROTOCOL_PYJSON_ITEMS_H
#define PROTOCOL_PYJSON_ITEMS_H

#include "base/arena.h"
#include "protocol/pyjson.h"

#define PYJSON_ITEMS_SOME 32 /* more than this take memory from the heap */

struct pyjson_items {
	struct pyjson_item some[PYJSON_ITEMS_SOME]; /* not to be looked at: see `all` */
	struct pyjson_item *all;
	size_t count;
	enum pyjson_kind kind; /* of the text; no items but for an array or an object */
};

/* None, as of a text that is not there. */
void pyjson_items_init(struct pyjson_items *items);
/* Sets all of `items`; they are to be cleared whatever it returns. */
int pyjson_items_scan(struct pyjson_items *items, const char *data, size_t len, struct err *err);
void pyjson_items_clear(struct pyjson_items *items);
#define auto_items __attribute__((cleanup(pyjson_items_clear))) struct pyjson_items

/* The last value of that key, as in Python; no data when there is none. */
struct span pyjson_items_find(const struct pyjson_items *items, const char *name);
/* As pyjson_items_find, but null is no value either. */
struct span pyjson_items_find_set(const struct pyjson_items *items, const char *name);

/* What stands between the quotes of a string, decoded: the same bytes where nothing is escaped,
 * else a copy in the arena. */
struct span pyjson_items_decode(struct arena *arena, struct span raw);
/* A value of a text that was scanned, with nothing borrowed but the bytes of the text. */
struct value pyjson_items_value(struct arena *arena, struct span text);

#endif
