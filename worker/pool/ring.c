#include "worker/pool/ring.h"

#include <string.h>

_Static_assert((RING_BYTES & (RING_BYTES - 1)) == 0, "positions wrap with the count");

void ring_reset(struct ring *r)
{
	atomic_store(&r->put, 0);
	atomic_store(&r->taken, 0);
	atomic_store(&r->is_rung, 0);
}

static void copy_in(struct ring *r, uint32_t at, const char *data, size_t len)
{
	size_t place = at % RING_BYTES, first = RING_BYTES - place;

	if (first > len)
		first = len;
	if (first > 0)
		memcpy(r->bytes + place, data, first);
	if (len > first)
		memcpy(r->bytes, data + first, len - first);
}

bool ring_put(struct ring *r, const char *head, size_t head_len, const char *tail, size_t tail_len)
{
	uint32_t at = atomic_load_explicit(&r->put, memory_order_relaxed);
	uint32_t used = at - atomic_load_explicit(&r->taken, memory_order_acquire);
	size_t room = used < RING_BYTES ? RING_BYTES - used : 0;

	if (head_len > room || tail_len > room - head_len)
		return false;
	copy_in(r, at, head, head_len);
	copy_in(r, at + (uint32_t)head_len, tail, tail_len);
	atomic_store(&r->put, at + (uint32_t)(head_len + tail_len));
	return true;
}

bool ring_bell(struct ring *r)
{
	return atomic_exchange(&r->is_rung, 1) == 0;
}

void ring_visit(struct ring *r)
{
	atomic_store(&r->is_rung, 0);
}

bool ring_peek(const struct ring *r, uint32_t at, char *to, size_t len)
{
	uint32_t there = atomic_load(&r->put) - at;
	size_t place = at % RING_BYTES, first = RING_BYTES - place;

	if (len > RING_BYTES || there > RING_BYTES || len > there)
		return false;
	if (first > len)
		first = len;
	memcpy(to, r->bytes + place, first);
	memcpy(to + first, r->bytes, len - first);
	return true;
}

void ring_release(struct ring *r, uint32_t at)
{
	atomic_store_explicit(&r->taken, at, memory_order_release);
}
