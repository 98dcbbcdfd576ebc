/* The messages that were delivered and not yet answered, by tag: the number of the message's record
 * and where it stands here. */
#ifndef TRANSPORT_REDIS_HELD_H
#define TRANSPORT_REDIS_HELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REDIS_HELD_BITS 24 /* of a tag; the rest is the number */
#define REDIS_HELD_MOST ((unsigned)1 << REDIS_HELD_BITS)

struct redis_held {
	uint64_t *tags;	 /* 0 = free */
	unsigned *frees; /* stack of free places */
	unsigned count, cap, used, free_count;
};

/* Zeroed is empty. Numbers begin at 1 and fit 40 bits; at most REDIS_HELD_MOST may be used. */
uint64_t redis_held_put(struct redis_held *h, uint64_t number);
bool redis_held_has(const struct redis_held *h, uint64_t tag);
/* False when there is none (any more). */
bool redis_held_drop(struct redis_held *h, uint64_t tag);
static inline uint64_t redis_held_number(uint64_t tag)
{
	return tag >> REDIS_HELD_BITS;
}
/* Up to `max` tags from place *at on, which moves; 0 at the end. */
size_t redis_held_list(const struct redis_held *h, unsigned *at, uint64_t *tags, size_t max);
void redis_held_clear(struct redis_held *h);

#endif
