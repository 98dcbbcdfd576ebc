/*
 * Texts and small arrays that live and die together: one block where the size is known before, more
 * where it was guessed too low. Nothing in it is freed alone.
 *
 *     struct arena a = {0};
 *     arena_reserve(&a, 300);            (optional: what follows shares one block of this size)
 *     const char *name = arena_dup(&a, "x", 1);
 *     arena_clear(&a);
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_block;
struct arena {
	struct arena_block *top; /* NULL while empty */
};

/* Makes sure that `size` more bytes fit without another block. */
void arena_reserve(struct arena *a, size_t size);
/* Aligned for pointers and 64-bit numbers, not cleared. */
void *arena_alloc(struct arena *a, size_t size) __attribute__((returns_nonnull));
/* Copies `len` bytes and adds a NUL behind them; takes len + 1 bytes, whatever the alignment. */
char *arena_dup(struct arena *a, const void *data, size_t len) __attribute__((returns_nonnull));
/* NULL in, NULL out. */
char *arena_strdup(struct arena *a, const char *text);
/* Empties, but keeps one block of at most `keep` bytes for the next time. */
void arena_reset(struct arena *a, size_t keep);
void arena_clear(struct arena *a);
#define auto_arena __attribute__((cleanup(arena_clear))) struct arena

#endif
