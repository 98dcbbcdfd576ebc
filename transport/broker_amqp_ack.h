/*
 * Delivery tags that are not settled yet, and the fewest methods that settle what was settled since
 * the last flush: one "multiple" ack up to where everything is settled, single ones beyond. Pure.
 */
#ifndef TRANSPORT_BROKER_AMQP_ACK_H
#define TRANSPORT_BROKER_AMQP_ACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum amqp_settle { SETTLE_ACK, SETTLE_REJECT, SETTLE_REQUEUE };

struct amqp_ack_entry {
	uint64_t tag : 62;
	uint64_t state : 2;
};

struct amqp_ack_pending {
	uint64_t tag;
	enum amqp_settle how;
};

struct amqp_ack_window {
	/* Rising tags from `head` to `count`; what is settled in between goes when it is half. */
	struct amqp_ack_entry *entries;
	size_t head, count, cap, settled;
	size_t open; /* tags that are not settled */
	/* Settled, but not sent yet. */
	struct amqp_ack_pending *pending;
	size_t pending_count, pending_cap;
};

void ack_window_init(struct amqp_ack_window *w);
void ack_window_clear(struct amqp_ack_window *w);
/* Tags come in rising order. */
void ack_window_add(struct amqp_ack_window *w, uint64_t tag);
/* False for a tag that is not open (settled before, never seen): it must not reach the broker,
 * which would close the channel. */
bool ack_window_settle(struct amqp_ack_window *w, uint64_t tag, enum amqp_settle how);
typedef void amqp_settle_fn(void *ctx, uint64_t tag, enum amqp_settle how, bool multiple);
/* Calls `send` for every method to be sent, refusals before the acks that pass over them, and about
 * ACK_FLUSH_MOST of them; what is beyond that stays for the next flush. Up to `may_hold` acks
 * beyond an open tag are kept for a later flush as well, which may take them all with one
 * "multiple". Returns how many are kept. */
#define ACK_FLUSH_MOST 65536
size_t ack_window_flush(struct amqp_ack_window *w, size_t may_hold, amqp_settle_fn *send,
			void *ctx);

#endif
