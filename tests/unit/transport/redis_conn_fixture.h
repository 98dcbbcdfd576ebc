/* A loop, a redis-server and connections to it, with what they told. */
#ifndef TESTS_UNIT_TRANSPORT_REDIS_CONN_FIXTURE_H
#define TESTS_UNIT_TRANSPORT_REDIS_CONN_FIXTURE_H

#include <check.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/unit/support/redis_server.h"
#include "tests/unit/support/run_loop.h"
#include "transport/redis_conn.h"

struct link {
	struct redis_conn *conn;
	unsigned ups, downs, answers, unanswered;
	bool is_up, is_closed;
	struct err why; /* of the last on_down */
	char *answer;	/* of the last one, in brief */
};

static inline void link_on_up(void *ctx)
{
	struct link *l = ctx;

	l->ups++;
	l->is_up = true;
}

static inline void link_on_down(void *ctx, const struct err *why)
{
	struct link *l = ctx;

	l->downs++;
	l->is_up = false;
	l->why = *why;
}

static inline void link_on_closed(void *ctx)
{
	((struct link *)ctx)->is_closed = true;
}

static inline void link_on_answer(void *ctx, const redisReply *reply)
{
	struct link *l = ctx;

	if (reply == NULL) {
		l->unanswered++;
		return;
	}
	l->answers++;
	free(l->answer);
	if (reply->type == REDIS_REPLY_INTEGER)
		l->answer = mem_printf("%lld", reply->integer);
	else if (reply->type == REDIS_REPLY_ARRAY)
		l->answer = mem_printf("[%zu]", reply->elements);
	else
		l->answer = mem_strdup(reply->str ? reply->str : "nil");
}

static const struct redis_conn_events link_events = {
	.on_up = link_on_up,
	.on_down = link_on_down,
	.on_closed = link_on_closed,
};

static inline struct redis_conn_options link_options(uv_loop_t *loop, struct link *l)
{
	return (struct redis_conn_options){.loop = loop,
					   .connect_timeout_s = 2,
					   .max_output = (size_t)16 << 20,
					   .events = &link_events,
					   .ctx = l};
}

/* Opens it with what was set in the options. */
static inline void link_open(struct link *l, const struct redis_conn_options *options)
{
	struct err err = {0};

	l->conn = redis_conn_open(options, &err);
	ck_assert_msg(l->conn != NULL, "%s", err.text);
}

static inline void link_close(uv_loop_t *loop, struct link *l)
{
	redis_conn_close(l->conn);
	wait_until(loop, l->is_closed, 2000);
	free(l->answer);
	memset(l, 0, sizeof(*l));
}

/* Sends words; the answer is in l->answer afterwards. */
static inline int link_send(struct link *l, const char *words)
{
	struct redis_arg args[16];
	int argc = 0;

	for (const char *p = words; *p; p += strspn(p, " ")) {
		args[argc] = (struct redis_arg){p, strcspn(p, " ")};
		p += args[argc++].len;
	}
	return redis_conn_command(l->conn, args, argc, link_on_answer, l);
}

#define link_ask(loop, l, words)                                                                   \
	do {                                                                                       \
		unsigned before_ = (l)->answers;                                                   \
		ck_assert_int_eq(link_send((l), (words)), 0);                                      \
		wait_until((loop), (l)->answers > before_, 2000);                                  \
	} while (0)

#endif
