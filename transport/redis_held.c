#include "transport/redis_held.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void grow(struct redis_held *h)
{
	h->cap = h->cap ? h->cap * 2 : 64;
	h->tags = mem_realloc(h->tags, h->cap * sizeof(*h->tags));
	h->frees = mem_realloc(h->frees, h->cap * sizeof(*h->frees));
}

uint64_t redis_held_put(struct redis_held *h, uint64_t number)
{
	unsigned place;

	if (h->free_count > 0) {
		place = h->frees[--h->free_count];
	} else {
		if (h->count == h->cap)
			grow(h);
		place = h->count++;
	}
	h->tags[place] = number << REDIS_HELD_BITS | place;
	h->used++;
	return h->tags[place];
}

bool redis_held_has(const struct redis_held *h, uint64_t tag)
{
	unsigned place = (unsigned)(tag & (REDIS_HELD_MOST - 1));

	return tag != 0 && place < h->count && h->tags[place] == tag;
}

bool redis_held_drop(struct redis_held *h, uint64_t tag)
{
	if (!redis_held_has(h, tag))
		return false;
	h->tags[tag & (REDIS_HELD_MOST - 1)] = 0;
	h->frees[h->free_count++] = (unsigned)(tag & (REDIS_HELD_MOST - 1));
	h->used--;
	return true;
}

size_t redis_held_list(const struct redis_held *h, unsigned *at, uint64_t *tags, size_t max)
{
	size_t n = 0;

	for (; *at < h->count && n < max; ++*at)
		if (h->tags[*at] != 0)
			tags[n++] = h->tags[*at];
	return n;
}

void redis_held_clear(struct redis_held *h)
{
	free(h->tags);
	free(h->frees);
	memset(h, 0, sizeof(*h));
}
