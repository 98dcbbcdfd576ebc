/* A loop, a Redis store on a server of its own, and what it told. */
#ifndef TESTS_UNIT_BACKEND_REDIS_FIXTURE_H
#define TESTS_UNIT_BACKEND_REDIS_FIXTURE_H

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "base/mem.h"
#include "tests/unit/backend/record.h"
#include "tests/unit/support/redis_server.h"
#include "tests/unit/support/run_loop.h"

#define SUCCESS	 "{\"status\": \"SUCCESS\", \"result\": 3}"
#define FAILURE	 "{\"status\": \"FAILURE\", \"result\": {}}"
#define STARTED	 "{\"status\": \"STARTED\", \"result\": null}"
#define KEY	 "celery-task-meta-"
#define MAX_SEEN 4096

struct fixture {
	struct redis_server server;
	redisContext *client; /* a plain blocking client beside ours */
	uv_loop_t loop;
	struct backend_options options;
	struct backend *backend;
	unsigned done, failed, notices, errors, rooms;
	char last_notice[600], refused[64];
	unsigned order[MAX_SEEN]; /* of the stores whose `done` came */
	struct err last;
	char *got;
	bool has_got, is_closed;
};

static inline void on_notice(void *ctx, bool is_error, const char *text)
{
	struct fixture *x = ctx;

	x->notices++;
	x->errors += is_error;
	snprintf(x->last_notice, sizeof(x->last_notice), "%s", text);
}

static inline void on_room(void *ctx)
{
	((struct fixture *)ctx)->rooms++;
}

static inline void on_refused(void *ctx, const char *task_id, enum task_state state,
			      const struct err *err)
{
	struct fixture *x = ctx;

	ck_assert_int_eq(state, TASK_SUCCESS);
	ck_assert_ptr_nonnull(err);
	snprintf(x->refused, sizeof(x->refused), "%s", task_id);
}

static inline void on_closed(void *ctx)
{
	((struct fixture *)ctx)->is_closed = true;
}

static inline void on_done(void *ctx, const struct err *err)
{
	struct fixture *x = ctx;

	x->done++;
	if (err) {
		x->failed++;
		x->last = *err;
	}
}

static inline void on_got(void *ctx, const char *record, size_t len, const struct err *err)
{
	struct fixture *x = ctx;

	ck_assert_ptr_null(err);
	x->has_got = true;
	free(x->got);
	x->got = record ? mem_dup(record, len) : NULL;
}

static inline void set_up(struct fixture *x)
{
	memset(x, 0, sizeof(*x));
	redis_server_init(&x->server);
	redis_server_start(&x->server);
	x->client = redis_server_try(&x->server);
	ck_assert_ptr_nonnull(x->client);
	uv_loop_init(&x->loop);
	x->options = (struct backend_options){.loop = &x->loop,
					      .result_expires_s = 86400,
					      .failure_expires_s = -1,
					      .chord_expires_s = -1,
					      .max_waiting_bytes = 64 << 20,
					      .connect_timeout_s = 2,
					      .on_notice = on_notice,
					      .on_refused = on_refused,
					      .on_room = on_room,
					      .on_closed = on_closed,
					      .ctx = x};
}

static inline void open_url(struct fixture *x, const char *url)
{
	struct err err = {0};

	x->options.url = url;
	x->backend = backend_open(&x->options, &err);
	x->options.url = NULL;
	ck_assert_msg(x->backend != NULL, "%s", err.text);
}

static inline void open_backend(struct fixture *x)
{
	auto_free char *url = mem_printf("redis://127.0.0.1:%d/0", x->server.port);

	open_url(x, url);
}

static inline void tear_down(struct fixture *x)
{
	if (x->backend && !x->is_closed) {
		backend_close(x->backend, 1);
		wait_until(&x->loop, x->is_closed, 2000);
	}
	ck_assert_int_eq(uv_loop_close(&x->loop), 0);
	if (x->client)
		redisFree(x->client);
	redis_server_clear(&x->server);
	free(x->got);
}

static inline void store_as(struct fixture *x, const char *id, enum task_state state,
			    const char *text)
{
	struct backend_record record = record_of(id, state, text, false);

	backend_store(x->backend, &record, on_done, x);
}

/* A record that is the only one of its id. */
static inline void store_only(struct fixture *x, const char *id, enum task_state state,
			      const char *text)
{
	struct backend_record record = record_of(id, state, text, true);

	backend_store(x->backend, &record, on_done, x);
}

/* Without `done`. */
static inline void store_silently(struct fixture *x, const char *id, const char *text)
{
	struct backend_record record = record_of(id, TASK_SUCCESS, text, true);

	backend_store(x->backend, &record, NULL, NULL);
}

static inline void store(struct fixture *x, const char *id, const char *record)
{
	store_as(x, id, TASK_SUCCESS, record);
}

#define ask(x, ...) redis_server_ask((x)->client, __VA_ARGS__)

#define assert_text(x, expected, ...)                                                              \
	do {                                                                                       \
		redisReply *reply_ = ask((x), __VA_ARGS__);                                        \
		ck_assert_pstr_eq(reply_->str, (expected));                                        \
		freeReplyObject(reply_);                                                           \
	} while (0)

static inline long long number(struct fixture *x, const char *command, const char *key)
{
	redisReply *reply = ask(x, command, key);
	long long value = reply->integer;

	freeReplyObject(reply);
	return value;
}

static inline void tell(struct fixture *x, const char *command)
{
	freeReplyObject(ask(x, command));
}

#endif
