#include <check.h>
#include <string.h>

#include "tests/unit/support/redis_server.h"
#include "tests/unit/support/run_loop.h"
#include "transport/redis_conn.h"

struct fixture {
	struct redis_server server;
	uv_loop_t loop;
	struct redis_conn *conn;
	unsigned answers, pushes;
	char last[64], kind[16];
	bool is_up, is_closed;
};

static void on_up(void *ctx)
{
	((struct fixture *)ctx)->is_up = true;
}

static void on_down(void *ctx, const struct err *why)
{
	(void)ctx;
	ck_abort_msg("%s", why->text);
}

static void on_closed(void *ctx)
{
	((struct fixture *)ctx)->is_closed = true;
}

static void on_push(void *ctx, const redisReply *message)
{
	struct fixture *x = ctx;

	x->pushes++;
	snprintf(x->kind, sizeof(x->kind), "%s", message->element[0]->str);
	snprintf(x->last, sizeof(x->last), "%s", message->element[message->elements - 1]->str);
}

static void on_answer(void *ctx, const redisReply *reply)
{
	struct fixture *x = ctx;

	ck_assert_ptr_nonnull(reply);
	ck_assert_int_eq(reply->type, REDIS_REPLY_ARRAY);
	x->answers++;
}

static const struct redis_conn_events events = {
	.on_up = on_up,
	.on_down = on_down,
	.on_closed = on_closed,
	.on_push = on_push,
};

static void command(struct fixture *x, const char *name, const char *text)
{
	const struct redis_arg args[] = {{name, strlen(name)}, {text, strlen(text)}};

	ck_assert_int_eq(redis_conn_command(x->conn, args, *text ? 2 : 1, on_answer, x), 0);
}

START_TEST(what_a_subscriber_is_sent_is_no_answer)
{
	struct fixture x = {0};
	struct redis_conn_options options = {
		.connect_timeout_s = 2, .max_output = 1 << 20, .events = &events, .ctx = &x};
	struct err err = {0};
	char url[64];
	redisContext *client;

	redis_server_init(&x.server);
	redis_server_start(&x.server);
	snprintf(url, sizeof(url), "redis://127.0.0.1:%d/3", x.server.port);
	uv_loop_init(&x.loop);
	options.loop = &x.loop;
	options.url = url;
	x.conn = redis_conn_open(&options, &err);
	ck_assert_msg(x.conn != NULL, "%s", err.text);
	wait_until(&x.loop, x.is_up, 3000);
	command(&x, "SUBSCRIBE", "a");
	command(&x, "PSUBSCRIBE", "b*");
	command(&x, "PING", "");
	wait_until(&x.loop, x.answers == 3, 3000);

	client = redis_server_try(&x.server);
	for (int i = 0; i < 100; i++)
		freeReplyObject(redisCommand(client, "PUBLISH a text%d", i));
	command(&x, "PING", "");
	freeReplyObject(redisCommand(client, "PUBLISH c unheard"));
	wait_until(&x.loop, x.pushes == 100, 3000);
	ck_assert_str_eq(x.kind, "message");
	ck_assert_str_eq(x.last, "text99");
	freeReplyObject(redisCommand(client, "PUBLISH bee sum"));
	wait_until(&x.loop, x.pushes == 101, 3000);
	ck_assert_str_eq(x.kind, "pmessage");
	ck_assert_str_eq(x.last, "sum");
	command(&x, "UNSUBSCRIBE", "a");
	wait_until(&x.loop, x.answers == 5, 3000);

	redis_conn_close(x.conn);
	wait_until(&x.loop, x.is_closed, 3000);
	redisFree(client);
	uv_loop_close(&x.loop);
	redis_server_clear(&x.server);
}
END_TEST
