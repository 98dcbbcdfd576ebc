/* From the frames of a delivery to on_delivery: put together, bounded, refused when it cannot be
 * read, so that no message whatever its content costs the connection. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/amqp_properties.h"
#include "transport/broker_amqp.h"

/* What an ordinary message's names, headers and properties take. */
#define ARENA_BYTES 4096

static const char *bytes_text(struct arena *arena, amqp_bytes_t bytes)
{
	return arena_dup(arena, bytes.bytes, bytes.len);
}

void deliver_reset(struct amqp_consumer *c)
{
	if (!c->is_arriving)
		return;
	message_reset(&c->message);
	c->is_arriving = false;
}

void deliver_begin(struct amqp_consumer *c, const amqp_basic_deliver_t *deliver)
{
	struct message *m = &c->message;

	deliver_reset(c);
	arena_reserve(&m->arena, ARENA_BYTES);
	c->is_arriving = true;
	c->has_header = c->is_skipped = false;
	c->tag = deliver->delivery_tag;
	m->is_redelivered = deliver->redelivered;
	m->exchange = bytes_text(&m->arena, deliver->exchange);
	m->routing_key = bytes_text(&m->arena, deliver->routing_key);
	ack_window_add(&c->acks, c->tag);
}

static void deliver_refuse(struct amqp_consumer *c, const char *why)
{
	c->is_skipped = true;
	amqp_consumer_settle(c, c->broker->session, c->tag, SETTLE_REJECT);
	amqp_broker_notice(c->broker, true, "message %llu with routing key '%.100s' rejected: %s",
			   (unsigned long long)c->tag, c->message.routing_key, why);
}

/* All bytes are there. */
static void deliver_finish(struct amqp_consumer *c)
{
	struct amqp_broker *b = c->broker;

	if (!c->is_skipped && c->is_paused) {
		/* It was on its way when we cancelled; another worker shall have it. */
		amqp_consumer_settle(c, b->session, c->tag, SETTLE_REQUEUE);
	} else if (!c->is_skipped) {
		c->message.body[c->message.body_len] = '\0';
		b->delivered++;
		b->base.events->on_delivery(b->base.ctx, &c->message, b->session, c->tag);
	}
	deliver_reset(c);
}

uint64_t deliver_body_size(struct span header)
{
	uint64_t value = 0;

	for (int i = 4; i < 12; i++)
		value = value << 8 | (unsigned char)header.data[i];
	return value;
}

void deliver_header(struct amqp_consumer *c, struct span payload)
{
	struct err err = {0};
	size_t max = c->broker->max_message_bytes;

	if (!c->is_arriving || c->has_header || payload.len < 14)
		return;
	c->has_header = true;
	c->body_left = deliver_body_size(payload);
	if (amqp_properties_read(&c->message, payload, &err) != 0)
		err_prefix(&err, "its headers cannot be read: ");
	else if (c->body_left > max)
		err_set(&err, ERR_LIMIT, "its body of %llu bytes is above the limit of %zu",
			(unsigned long long)c->body_left, max);
	else
		c->message.body = mem_alloc((size_t)c->body_left + 1);
	if (err.code != ERR_NONE)
		deliver_refuse(c, err.text);
	if (c->body_left == 0)
		deliver_finish(c);
}

void deliver_body(struct amqp_consumer *c, struct span data)
{
	if (!c->is_arriving || !c->has_header)
		return;
	if (data.len > c->body_left)
		data.len = (size_t)c->body_left;
	if (!c->is_skipped) {
		memcpy(c->message.body + c->message.body_len, data.data, data.len);
		c->message.body_len += data.len;
	}
	c->body_left -= data.len;
	if (c->body_left == 0)
		deliver_finish(c);
}
