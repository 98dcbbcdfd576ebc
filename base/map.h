/*
 * Strings to pointers. Keys are copied; values are the caller's. Iteration is in order of
 * insertion, and the entry at hand may be deleted while iterating.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>

struct map;
struct map_entry;

struct map *map_new(void);
void map_free(struct map *map); /* NULL is allowed; values are not freed */
/* Returns the value that stood there before, or NULL. */
void *map_put(struct map *map, const char *key, void *value);
void *map_get(const struct map *map, const char *key);
bool map_has(const struct map *map, const char *key);
void *map_del(struct map *map, const char *key);
size_t map_count(const struct map *map);
/* Walk: `for (e = map_first(m); e; e = map_next(e))`. */
struct map_entry *map_first(const struct map *map);
struct map_entry *map_next(struct map_entry *entry);
const char *map_key(const struct map_entry *entry);
void *map_value(const struct map_entry *entry);

#endif
