/* Messages that our own publisher would refuse to send. */
#ifndef TESTS_AMQP_POISON_H
#define TESTS_AMQP_POISON_H

#include "tests/unit/transport/amqp_fixture.h"
#include "transport/broker_amqp_conn.h"
#include "transport/broker_amqp_topology.h"

struct poisoner {
	struct amqp_conn *conn;
	struct url url;
	unsigned opened, down;
};

static inline void poisoner_open(void *ctx)
{
	struct poisoner *p = ctx;
	amqp_channel_open_t open = {0};

	p->opened++;
	amqp_conn_send(p->conn, 1, AMQP_CHANNEL_OPEN_METHOD, &open);
}

static inline void poisoner_method(void *ctx, unsigned channel, const amqp_method_t *method)
{
	(void)ctx;
	(void)channel;
	(void)method;
}

static inline void poisoner_data(void *ctx, unsigned channel, struct span data)
{
	(void)ctx;
	(void)channel;
	(void)data;
}

static inline void poisoner_blocked(void *ctx, const char *reason)
{
	(void)ctx;
	(void)reason;
}

static inline void poisoner_flush(void *ctx)
{
	(void)ctx;
}

static inline void poisoner_down(void *ctx, const struct err *why)
{
	struct poisoner *p = ctx;

	ck_assert_msg(why == NULL, "%s", why ? why->text : "");
	p->down++;
}

static inline void put_u32(char *to, size_t value)
{
	for (int i = 3; i >= 0; i--, value >>= 8)
		to[i] = (char)value;
}

/* A message whose headers nest `depth` tables. */
static inline void poison_send(struct poisoner *p, const char *exchange, const char *routing_key,
			       unsigned depth)
{
	amqp_basic_publish_t publish = {.exchange = amqp_text(exchange),
					.routing_key = amqp_text(routing_key)};
	static char header[128000];
	size_t size = 14 + (size_t)depth * 7 + 4;
	char *at = header + 14;

	memset(header, 0, sizeof(header));
	header[1] = 60;
	header[12] = 0x20;
	for (unsigned i = 0; i < depth; i++, at += 7) {
		put_u32(at, size - (size_t)(at - header) - 4);
		memcpy(at + 4, "\1aF", 3);
	}
	amqp_conn_send(p->conn, 1, AMQP_BASIC_PUBLISH_METHOD, &publish);
	amqp_conn_send_frame(p->conn, 1, AMQP_FRAME_HEADER, header, size);
}

static inline void poisoner_begin(struct poisoner *p, struct fixture *f)
{
	static const struct amqp_conn_events events = {
		.on_open = poisoner_open,
		.on_method = poisoner_method,
		.on_header = poisoner_data,
		.on_body = poisoner_data,
		.on_blocked = poisoner_blocked,
		.on_flush = poisoner_flush,
		.on_down = poisoner_down,
	};

	memset(p, 0, sizeof(*p));
	ck_assert_int_eq(url_parse(&p->url, fixture_url(), NULL), 0);
	struct amqp_conn_options options = {
		.loop = &f->loop,
		.url = &p->url,
		.max_output = 1 << 20,
		.product_version = "0",
		.name = "poisoner",
		.events = &events,
		.ctx = p,
	};
	p->conn = amqp_conn_open(&options);
	ck_assert(fixture_wait(f, &p->opened, 1, 5000));
}

static inline void poisoner_end(struct poisoner *p, struct fixture *f)
{
	amqp_conn_close(p->conn);
	ck_assert(fixture_wait(f, &p->down, 1, 5000));
	amqp_conn_free(p->conn);
	url_clear(&p->url);
}

#endif
