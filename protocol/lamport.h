/*
 * Lamport's logical clock, as the workers of a cluster keep it: it orders events across hosts whose
 * clocks differ. Mirrors kombu/clocks.py.
 */
#ifndef PROTOCOL_LAMPORT_H
#define PROTOCOL_LAMPORT_H

#include <stdint.h>

/* What a peer claims beyond this is not believed: Python counts on without a bound, we do not. */
#define LAMPORT_MAX (UINT64_MAX / 4)

struct lamport {
	uint64_t value;
};

/* One step for something of our own; the value it happens at. */
static inline uint64_t lamport_tick(struct lamport *clock)
{
	return ++clock->value;
}

/* Something that another one saw at `other` has reached us. */
static inline uint64_t lamport_merge(struct lamport *clock, uint64_t other)
{
	if (other > clock->value && other <= LAMPORT_MAX)
		clock->value = other;
	return ++clock->value;
}

#endif
