/* Who consumes of a broker, and what was delivered and told. */
#ifndef TESTS_UNIT_TRANSPORT_REDIS_TAKER_H
#define TESTS_UNIT_TRANSPORT_REDIS_TAKER_H

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "transport/broker.h"

#define BODIES_MOST 4096

struct taker {
	struct broker *broker;
	unsigned ups, downs, notices, errors, seen;
	bool is_up, is_closed;
	char last_notice[600];
	char *bodies[BODIES_MOST]; /* of the first ones */
	bool redelivered[BODIES_MOST];
	uint64_t *tags; /* of all */
	size_t tags_cap;
	bool acks;
};

static inline void taker_on_up(void *ctx, const char *host)
{
	struct taker *t = ctx;

	ck_assert_ptr_nonnull(host);
	t->ups++;
	t->is_up = true;
}

static inline void taker_on_down(void *ctx, const struct err *why, double retry_in_s, int attempt,
				 int max_attempts)
{
	struct taker *t = ctx;

	(void)why;
	(void)retry_in_s;
	(void)attempt;
	(void)max_attempts;
	t->downs++;
	t->is_up = false;
}

static inline void taker_on_delivery(void *ctx, struct message *message, unsigned session,
				     uint64_t tag)
{
	struct taker *t = ctx;

	if (t->seen == t->tags_cap) {
		t->tags_cap = t->tags_cap ? 2 * t->tags_cap : 64;
		t->tags = mem_realloc(t->tags, t->tags_cap * sizeof(*t->tags));
	}
	if (t->seen < BODIES_MOST) {
		t->bodies[t->seen] = mem_dup(message->body, message->body_len);
		t->redelivered[t->seen] = message->is_redelivered;
	}
	t->tags[t->seen++] = tag;
	if (t->acks)
		broker_ack(t->broker, session, tag);
}

static inline void taker_on_notice(void *ctx, bool is_error, const char *text)
{
	struct taker *t = ctx;

	t->notices++;
	t->errors += is_error;
	snprintf(t->last_notice, sizeof(t->last_notice), "%s", text);
}

static inline void taker_on_closed(void *ctx)
{
	((struct taker *)ctx)->is_closed = true;
}

static const struct broker_events taker_events = {
	.on_up = taker_on_up,
	.on_down = taker_on_down,
	.on_delivery = taker_on_delivery,
	.on_notice = taker_on_notice,
	.on_closed = taker_on_closed,
};

#endif
