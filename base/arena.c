#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define ALIGNMENT alignof(int64_t)

struct arena_block {
	struct arena_block *below;
	size_t used, size;
	alignas(ALIGNMENT) char data[];
};

static size_t room(const struct arena *a)
{
	return a->top ? a->top->size - a->top->used : 0;
}

void arena_reserve(struct arena *a, size_t size)
{
	struct arena_block *block;

	if (a->top && room(a) >= size)
		return;
	block = mem_alloc(sizeof(*block) + size);
	block->below = a->top;
	block->used = 0;
	block->size = size;
	a->top = block;
}

static char *take(struct arena *a, size_t size)
{
	char *at;

	arena_reserve(a, size);
	at = a->top->data + a->top->used;
	a->top->used += size;
	return at;
}

void *arena_alloc(struct arena *a, size_t size)
{
	size_t over = a->top ? a->top->used % ALIGNMENT : 0, pad = over ? ALIGNMENT - over : 0;

	arena_reserve(a, pad + size);
	if (a->top->used > 0) /* still the same block */
		a->top->used += pad;
	return take(a, size);
}

char *arena_dup(struct arena *a, const void *data, size_t len)
{
	char *copy = take(a, len + 1);

	if (len)
		memcpy(copy, data, len);
	copy[len] = '\0';
	return copy;
}

char *arena_strdup(struct arena *a, const char *text)
{
	return text ? arena_dup(a, text, strlen(text)) : NULL;
}

static void drop_below(struct arena_block *block)
{
	while (block) {
		struct arena_block *below = block->below;

		free(block);
		block = below;
	}
}

void arena_reset(struct arena *a, size_t keep)
{
	if (!a->top)
		return;
	if (a->top->size > keep) {
		arena_clear(a);
		return;
	}
	drop_below(a->top->below);
	a->top->below = NULL;
	a->top->used = 0;
}

void arena_clear(struct arena *a)
{
	drop_below(a->top);
	a->top = NULL;
}
