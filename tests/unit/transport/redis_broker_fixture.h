/* Brokers on a redis-server of their own, what was delivered to them, and a client beside. */
#ifndef TESTS_UNIT_TRANSPORT_REDIS_BROKER_FIXTURE_H
#define TESTS_UNIT_TRANSPORT_REDIS_BROKER_FIXTURE_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/unit/support/redis_server.h"
#include "tests/unit/support/run_loop.h"
#include "tests/unit/transport/redis_taker.h"
#include "transport/envelope.h"

struct fixture {
	struct redis_server server;
	redisContext *client;
	uv_loop_t loop;
	struct broker_options options;
	char *url;
};

static inline void set_up(struct fixture *x)
{
	memset(x, 0, sizeof(*x));
	redis_server_init(&x->server);
	redis_server_start(&x->server);
	x->client = redis_server_try(&x->server);
	ck_assert_ptr_nonnull(x->client);
	uv_loop_init(&x->loop);
	x->url = mem_printf("redis://127.0.0.1:%d/0", x->server.port);
	x->options = (struct broker_options){.loop = &x->loop,
					     .url = x->url,
					     .events = &taker_events,
					     .connect_timeout_s = 2,
					     .max_retries = 100,
					     .retry_on_startup = true,
					     .max_message_bytes = 1 << 20,
					     .max_publish_bytes = 8 << 20,
					     .node_name = "w@h"};
}

/* Consumes the queues, named with spaces between. */
static inline void taker_open(struct fixture *x, struct taker *t, const char *queues,
			      unsigned prefetch)
{
	auto_free char *names = mem_strdup(queues);
	struct err err = {0};
	char *rest = NULL;

	memset(t, 0, sizeof(*t));
	x->options.ctx = t;
	t->broker = broker_open(&x->options, &err);
	ck_assert_msg(t->broker != NULL, "%s", err.text);
	for (char *name = strtok_r(names, " ", &rest); name; name = strtok_r(NULL, " ", &rest)) {
		struct queue_def def = {.name = name, .exchange = ""};

		ck_assert_int_eq(broker_consume(t->broker, &def, &err), 0);
	}
	broker_qos(t->broker, prefetch, 0);
	broker_start(t->broker);
	wait_until(&x->loop, t->is_up, 3000);
}

static inline void taker_free(struct taker *t)
{
	for (unsigned i = 0; i < t->seen && i < BODIES_MOST; i++)
		free(t->bodies[i]);
	free(t->tags);
	t->tags = NULL;
	t->seen = 0;
}

static inline void taker_close(struct fixture *x, struct taker *t)
{
	broker_pause(t->broker);
	broker_close(t->broker, 2);
	wait_until(&x->loop, t->is_closed, 4000);
	taker_free(t);
}

static inline void tear_down(struct fixture *x)
{
	ck_assert_int_eq(uv_loop_close(&x->loop), 0);
	if (x->client)
		redisFree(x->client);
	redis_server_clear(&x->server);
	free(x->url);
}

#define ask(x, ...) redis_server_ask((x)->client, __VA_ARGS__)

static inline long long number(struct fixture *x, const char *command)
{
	redisReply *reply = redisCommand(x->client, command);
	long long value;

	ck_assert_ptr_nonnull(reply);
	value = reply->integer;
	freeReplyObject(reply);
	return value;
}

#define tell(x, ...) freeReplyObject(ask((x), __VA_ARGS__))

/* The envelope of a message, as a Python producer writes it. */
static inline char *envelope(const char *queue, const char *body, int priority)
{
	struct publication p = {.exchange = "",
				.routing_key = queue,
				.body = body,
				.body_len = strlen(body),
				.priority = priority,
				.content_type = "application/json",
				.content_encoding = "utf-8"};
	auto_str out = STR_INIT(64 << 20);

	ck_assert_int_eq(envelope_encode(&out, &p, "tag", NULL), 0);
	return str_detach(&out);
}

static inline void put(struct fixture *x, const char *queue, const char *body)
{
	auto_free char *text = envelope(queue, body, 0);

	tell(x, "LPUSH %s %s", queue, text);
}

#endif
