#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define uthash_fatal(msg) abort()
/* The default function falls through its cases, which clang warns of. */
#define HASH_FUNCTION HASH_FNV
#include <uthash.h>

struct map_entry {
	UT_hash_handle hh; /* keeps the order of insertion as well */
	void *value;
	char key[];
};

struct map {
	struct map_entry *table;
	/* The entry deleted last. It is freed one deletion later, so that a walk which deletes the
	 * entry at hand can still step on from it. */
	struct map_entry *deleted;
};

struct map *map_new(void)
{
	return mem_calloc(1, sizeof(struct map));
}

void map_free(struct map *map)
{
	struct map_entry *entry, *next;

	if (!map)
		return;
	entry = map->table;
	HASH_CLEAR(hh, map->table); /* frees the buckets; the entries stay chained */
	for (; entry; entry = next) {
		next = entry->hh.next;
		free(entry);
	}
	free(map->deleted);
	free(map);
}

static struct map_entry *find(const struct map *map, const char *key)
{
	struct map_entry *entry;

	HASH_FIND(hh, map->table, key, strlen(key), entry);
	return entry;
}

void *map_put(struct map *map, const char *key, void *value)
{
	struct map_entry *entry = find(map, key);
	size_t len;

	if (entry) {
		void *before = entry->value;

		entry->value = value;
		return before;
	}
	len = strlen(key);
	entry = mem_calloc(1, sizeof(*entry) + len + 1);
	memcpy(entry->key, key, len + 1);
	entry->value = value;
	HASH_ADD(hh, map->table, key, len, entry);
	return NULL;
}

void *map_get(const struct map *map, const char *key)
{
	struct map_entry *entry = find(map, key);

	return entry ? entry->value : NULL;
}

bool map_has(const struct map *map, const char *key)
{
	return find(map, key) != NULL;
}

void *map_del(struct map *map, const char *key)
{
	struct map_entry *entry = find(map, key);

	if (!entry)
		return NULL;
	HASH_DEL(map->table, entry);
	free(map->deleted);
	map->deleted = entry;
	return entry->value;
}

size_t map_count(const struct map *map)
{
	return HASH_COUNT(map->table);
}

struct map_entry *map_first(const struct map *map)
{
	return map->table;
}

struct map_entry *map_next(struct map_entry *entry)
{
	return entry->hh.next;
}

const char *map_key(const struct map_entry *entry)
{
	return entry->key;
}

void *map_value(const struct map_entry *entry)
{
	return entry->value;
}
