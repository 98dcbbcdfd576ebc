#include "transport/broker_amqp_ack.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { STATE_OPEN, STATE_ACKED /* not sent yet */, STATE_DONE };

void ack_window_init(struct amqp_ack_window *w)
{
	*w = (struct amqp_ack_window){0};
}

void ack_window_clear(struct amqp_ack_window *w)
{
	free(w->entries);
	free(w->pending);
	ack_window_init(w);
}

/* Drops what is settled between open tags, which would otherwise pile up behind one long task. */
static void window_compact(struct amqp_ack_window *w)
{
	size_t n = 0;

	for (size_t i = w->head; i < w->count; i++)
		if (w->entries[i].state != STATE_DONE)
			w->entries[n++] = w->entries[i];
	w->head = 0;
	w->count = n;
	w->settled = 0;
}

void ack_window_add(struct amqp_ack_window *w, uint64_t tag)
{
	if (w->count == w->cap && (w->head + w->settled) * 2 > w->count)
		window_compact(w);
	if (w->count == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 64;
		w->entries = mem_realloc(w->entries, w->cap * sizeof(w->entries[0]));
	}
	w->entries[w->count++] = (struct amqp_ack_entry){.tag = tag, .state = STATE_OPEN};
	w->open++;
}

static struct amqp_ack_entry *window_find(const struct amqp_ack_window *w, uint64_t tag)
{
	size_t low = w->head, high = w->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (w->entries[mid].tag < tag)
			low = mid + 1;
		else
			high = mid;
	}
	return low < w->count && w->entries[low].tag == tag ? &w->entries[low] : NULL;
}

bool ack_window_settle(struct amqp_ack_window *w, uint64_t tag, enum amqp_settle how)
{
	struct amqp_ack_entry *entry = window_find(w, tag);

	if (!entry || entry->state != STATE_OPEN)
		return false;
	/* Refusals go out first in every flush, so an ack may pass over them at once. */
	entry->state = how == SETTLE_ACK ? STATE_ACKED : STATE_DONE;
	w->open--;
	w->settled += entry->state == STATE_DONE;
	if (w->pending_count == w->pending_cap) {
		w->pending_cap = w->pending_cap ? w->pending_cap * 2 : 64;
		w->pending = mem_realloc(w->pending, w->pending_cap * sizeof(w->pending[0]));
	}
	w->pending[w->pending_count++] = (struct amqp_ack_pending){.tag = tag, .how = how};
	return true;
}

/* Moves `head` over everything settled; the last ack among it, and how many there were. */
static uint64_t window_advance(struct amqp_ack_window *w, size_t *ret_acks)
{
	uint64_t last = 0;

	*ret_acks = 0;
	for (; w->head < w->count && w->entries[w->head].state != STATE_OPEN; w->head++) {
		if (w->entries[w->head].state == STATE_ACKED) {
			last = w->entries[w->head].tag;
			++*ret_acks;
		} else {
			w->settled--;
		}
	}
	if (w->head == w->count)
		w->head = w->count = 0;
	return last;
}

static void drop_pending(struct amqp_ack_window *w, size_t count)
{
	w->pending_count -= count;
	if (count > 0)
		memmove(w->pending, w->pending + count, w->pending_count * sizeof(w->pending[0]));
}

static void send_singles(struct amqp_ack_window *w, amqp_settle_fn *send, void *ctx)
{
	size_t count = w->pending_count < ACK_FLUSH_MOST ? w->pending_count : ACK_FLUSH_MOST;

	for (size_t i = 0; i < count; i++) {
		uint64_t tag = w->pending[i].tag;
		struct amqp_ack_entry *entry = window_find(w, tag);

		send(ctx, tag, SETTLE_ACK, false);
		if (entry) {
			entry->state = STATE_DONE;
			w->settled++;
		}
	}
	drop_pending(w, count);
}

/* False when some are left, which no ack may pass over. */
static bool send_refusals(struct amqp_ack_window *w, amqp_settle_fn *send, void *ctx)
{
	size_t kept = 0, sent = 0, refusals = 0;

	for (size_t i = 0; i < w->pending_count; i++) {
		bool is_refusal = w->pending[i].how != SETTLE_ACK;

		refusals += is_refusal;
		if (is_refusal && sent < ACK_FLUSH_MOST) {
			send(ctx, w->pending[i].tag, w->pending[i].how, false);
			sent++;
		} else {
			w->pending[kept++] = w->pending[i];
		}
	}
	w->pending_count = kept;
	return sent == refusals;
}

size_t ack_window_flush(struct amqp_ack_window *w, size_t may_hold, amqp_settle_fn *send, void *ctx)
{
	size_t acks, kept = 0;

	if (w->pending_count == 0)
		return 0;
	if (!send_refusals(w, send, ctx))
		return w->pending_count;
	uint64_t last = window_advance(w, &acks);
	if (acks > 0)
		send(ctx, last, SETTLE_ACK, acks > 1);
	for (size_t i = 0; i < w->pending_count; i++)
		if (w->pending[i].tag > last)
			w->pending[kept++] = w->pending[i];
	w->pending_count = kept;
	if (kept > may_hold)
		send_singles(w, send, ctx);
	return w->pending_count;
}
