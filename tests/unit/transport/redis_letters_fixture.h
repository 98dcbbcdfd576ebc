/* A Redis server, a plain client beside ours, and the letters of a driver that does nothing else.
 */
#ifndef TESTS_UNIT_TRANSPORT_REDIS_LETTERS_FIXTURE_H
#define TESTS_UNIT_TRANSPORT_REDIS_LETTERS_FIXTURE_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/unit/support/redis_server.h"
#include "tests/unit/support/run_loop.h"
#include "tests/unit/transport/redis_letters_side.h"

#define SEP "\x06\x16"

struct fixture {
	struct redis_server server;
	redisContext *client;
	uv_loop_t loop;
	char url[64];
	struct side a, b; /* two programs */
};

static inline void side_open(struct fixture *x, struct side *s, const char *json)
{
	static const struct redis_conn_events conn_events = {
		.on_up = on_conn_up, .on_down = on_conn_down, .on_closed = on_conn_closed};
	static const struct redis_letters_events events = {.on_settled = on_settled,
							   .on_tracker = on_tracker,
							   .on_invalidate = on_invalidate,
							   .on_closed = on_letters_closed};
	const struct redis_conn_options conn = {
		.loop = &x->loop,
		.url = x->url,
		.connect_timeout_s = 2,
		.max_output = 64 << 20,
		.events = &conn_events,
		.ctx = s,
	};
	const struct redis_letters_options options = {
		.conn = &conn,
		.names = &s->names,
		.scripts = &s->scripts,
		.max_body = 1 << 20,
		.max_publish = 16 << 20,
		.events = &events,
		.notice = on_notice,
		.ctx = s,
	};
	struct err err = {0};

	*s = (struct side){0};
	ck_assert_int_eq(redis_options_read(&s->names, json, &err), 0);
	redis_scripts_init(&s->scripts);
	ck_assert_msg(redis_letters_init(&s->letters, &options, &err) == 0, "%s", err.text);
	s->conn = redis_conn_open(&conn, &err);
	ck_assert_msg(s->conn != NULL, "%s", err.text);
}

static inline void side_leave(struct fixture *x, struct side *s)
{
	redis_letters_leave(&s->letters);
	wait_until(&x->loop, redis_letters_is_done(&s->letters), 3000);
}

static inline void side_close(struct fixture *x, struct side *s)
{
	redis_letters_close(&s->letters);
	redis_conn_close(s->conn);
	wait_until(&x->loop, s->is_closed && s->is_conn_closed, 3000);
	redis_letters_clear(&s->letters);
	redis_options_clear(&s->names);
}

static inline void fixture_open(struct fixture *x, const char *json)
{
	memset(x, 0, sizeof(*x));
	redis_server_init(&x->server);
	redis_server_start(&x->server);
	x->client = redis_server_try(&x->server);
	ck_assert_ptr_nonnull(x->client);
	snprintf(x->url, sizeof(x->url), "redis://127.0.0.1:%d/0", x->server.port);
	uv_loop_init(&x->loop);
	side_open(x, &x->a, json);
	side_open(x, &x->b, json);
}

static inline void fixture_close(struct fixture *x)
{
	side_close(x, &x->a);
	side_close(x, &x->b);
	ck_assert_int_eq(uv_loop_close(&x->loop), 0);
	redisFree(x->client);
	redis_server_clear(&x->server);
}

/* What an integer command answers. */
static inline long long ask(struct fixture *x, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static inline long long ask(struct fixture *x, const char *fmt, ...)
{
	va_list args;
	redisReply *reply;
	long long number;

	va_start(args, fmt);
	reply = redisvCommand(x->client, fmt, args);
	va_end(args);
	ck_assert_ptr_nonnull(reply);
	ck_assert_msg(reply->type == REDIS_REPLY_INTEGER || reply->type == REDIS_REPLY_STATUS,
		      "%s: %s", fmt, reply->str ? reply->str : "no integer");
	number = reply->integer;
	freeReplyObject(reply);
	return number;
}

static inline void publish(struct side *s, const char *exchange, const char *key, const char *body)
{
	const struct publication p = {
		.exchange = exchange,
		.routing_key = key,
		.content_type = "application/json",
		.content_encoding = "utf-8",
		.priority = -1,
		.delivery_mode = 2,
		.body = body,
		.body_len = strlen(body),
	};
	struct err err = {0};

	ck_assert_msg(redis_letters_publish(&s->letters, &p, on_published, s, &err) == 0, "%s",
		      err.text);
}

#endif
