/* The messages that were delivered and not yet acked, by tag. Tags only grow, though places are
 * used again, so that a tag that is over is never taken for another message. */
#ifndef TRANSPORT_FILESYSTEM_SLOTS_H
#define TRANSPORT_FILESYSTEM_SLOTS_H

#include <stdint.h>

#define FILESYSTEM_SLOT_BITS 24 /* of a tag; the rest counts up */
#define FILESYSTEM_MAX_SLOTS ((unsigned)1 << FILESYSTEM_SLOT_BITS)

struct filesystem_slot {
	char *name; /* NULL = free */
	uint64_t tag;
	unsigned next_free; /* index + 1; 0 = none */
};

struct filesystem_slots {
	struct filesystem_slot *all;
	unsigned count, cap, used;
	unsigned free; /* index + 1 of the first free one; 0 = none */
	uint64_t serial;
};

/* Zeroed is empty. At most FILESYSTEM_MAX_SLOTS may be used. Returns the tag. */
uint64_t filesystem_slots_put(struct filesystem_slots *s, const char *name);
/* The name behind a tag, to be freed; NULL when there is none (any more). */
char *filesystem_slots_take(struct filesystem_slots *s, uint64_t tag);
void filesystem_slots_clear(struct filesystem_slots *s);

#endif
