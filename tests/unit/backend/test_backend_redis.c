#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "backend/backend.h"
#include "base/mem.h"
#include "tests/unit/support/redis_server.h"
#include "tests/unit/support/run_loop.h"

#define SUCCESS	 "{\"status\": \"SUCCESS\", \"result\": 3}"
#define FAILURE	 "{\"status\": \"FAILURE\", \"result\": {}}"
#define STARTED	 "{\"status\": \"STARTED\", \"result\": null}"
#define KEY	 "celery-task-meta-"
#define MANY	 1000
#define MAX_SEEN 4096

struct fixture {
	struct redis_server server;
	redisContext *client; /* a plain blocking client beside ours */
	uv_loop_t loop;
	struct backend_options options;
	struct backend *backend;
	unsigned done, failed, notices, errors, rooms;
	char last_notice[600];
	unsigned order[MAX_SEEN]; /* of the stores whose `done` came */
	struct err last;
	char *got;
	bool has_got, is_closed;
};

struct numbered {
	struct fixture *x;
	unsigned number;
};

static void on_notice(void *ctx, bool is_error, const char *text)
{
	struct fixture *x = ctx;

	x->notices++;
	x->errors += is_error;
	snprintf(x->last_notice, sizeof(x->last_notice), "%s", text);
}

static void on_room(void *ctx)
{
	((struct fixture *)ctx)->rooms++;
}

static void on_closed(void *ctx)
{
	((struct fixture *)ctx)->is_closed = true;
}

static void on_done(void *ctx, const struct err *err)
{
	struct fixture *x = ctx;

	x->done++;
	if (err) {
		x->failed++;
		x->last = *err;
	}
}

static void on_numbered_done(void *ctx, const struct err *err)
{
	struct numbered *n = ctx;

	n->x->order[n->x->done] = n->number;
	on_done(n->x, err);
}

static void on_got(void *ctx, const char *record, size_t len, const struct err *err)
{
	struct fixture *x = ctx;

	ck_assert_ptr_null(err);
	x->has_got = true;
	free(x->got);
	x->got = record ? mem_dup(record, len) : NULL;
}

static void set_up(struct fixture *x)
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
					      .max_waiting_bytes = 64 << 20,
					      .connect_timeout_s = 2,
					      .on_notice = on_notice,
					      .on_room = on_room,
					      .on_closed = on_closed,
					      .ctx = x};
}

static void open_url(struct fixture *x, const char *url)
{
	struct err err = {0};

	x->options.url = url;
	x->backend = backend_open(&x->options, &err);
	x->options.url = NULL;
	ck_assert_msg(x->backend != NULL, "%s", err.text);
}

static void open_backend(struct fixture *x)
{
	auto_free char *url = mem_printf("redis://127.0.0.1:%d/0", x->server.port);

	open_url(x, url);
}

static void tear_down(struct fixture *x)
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

static void store_as(struct fixture *x, const char *id, enum task_state state, const char *record)
{
	backend_store(x->backend, id, state, record, strlen(record), on_done, x);
}

static void store(struct fixture *x, const char *id, const char *record)
{
	store_as(x, id, TASK_SUCCESS, record);
}

static redisReply *ask(struct fixture *x, const char *format, ...)
{
	va_list args;
	redisReply *reply;

	va_start(args, format);
	reply = redisvCommand(x->client, format, args);
	va_end(args);
	ck_assert_ptr_nonnull(reply);
	return reply;
}

#define assert_text(x, expected, ...)                                                              \
	do {                                                                                       \
		redisReply *reply_ = ask((x), __VA_ARGS__);                                        \
		ck_assert_pstr_eq(reply_->str, (expected));                                        \
		freeReplyObject(reply_);                                                           \
	} while (0)

static long long number(struct fixture *x, const char *command, const char *key)
{
	redisReply *reply = ask(x, command, key);
	long long value = reply->integer;

	freeReplyObject(reply);
	return value;
}

static void tell(struct fixture *x, const char *command)
{
	freeReplyObject(ask(x, command));
}

/* T-97 */
START_TEST(a_record_lies_under_its_key_for_a_day)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	store(&x, "id", SUCCESS);
	ck_assert_uint_eq(x.done, 0);
	wait_until(&x.loop, x.done == 1, 2000);
	ck_assert_uint_eq(x.failed, 0);
	assert_text(&x, SUCCESS, "GET " KEY "id");
	ck_assert_int_ge(number(&x, "TTL %s", KEY "id"), 86398);
	ck_assert_int_le(number(&x, "TTL %s", KEY "id"), 86400);
	ck_assert_uint_eq(x.notices, 0);
	tear_down(&x);
}
END_TEST

/* T-98 */
START_TEST(the_same_bytes_are_published)
{
	struct fixture x;
	redisContext *subscriber;
	redisReply *reply;
	void *pushed = NULL;
	char record[] = "{\"status\": \"SUCCESS\", \"result\": \"\\u00e9 \"}";

	set_up(&x);
	subscriber = redis_server_try(&x.server);
	reply = redisCommand(subscriber, "SUBSCRIBE " KEY "id");
	freeReplyObject(reply);
	open_backend(&x);
	store(&x, "id", record);
	wait_until(&x.loop, x.done == 1, 2000);
	redisSetTimeout(subscriber, (struct timeval){.tv_sec = 2});
	ck_assert_int_eq(redisGetReply(subscriber, &pushed), REDIS_OK);
	reply = pushed;
	ck_assert_str_eq(reply->element[0]->str, "message");
	ck_assert_str_eq(reply->element[1]->str, KEY "id");
	ck_assert_str_eq(reply->element[2]->str, record);
	freeReplyObject(reply);
	redisFree(subscriber);
	tear_down(&x);
}
END_TEST

/* T-100 */
START_TEST(a_stored_success_is_kept)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	store(&x, "id", SUCCESS);
	store(&x, "id", FAILURE);
	store(&x, "id", "{\"status\": \"SUCCESS\", \"result\": 4}");
	wait_until(&x.loop, x.done == 3, 2000);
	ck_assert_uint_eq(x.failed, 0);
	assert_text(&x, SUCCESS, "GET " KEY "id");
	tear_down(&x);
}
END_TEST

/* T-100 */
START_TEST(a_success_in_another_writing_is_kept_too)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	freeReplyObject(ask(&x, "SET " KEY "id %s", "{\"result\":1,\"status\":\"SUCCESS\"}"));
	freeReplyObject(ask(&x, "SET " KEY "packed %b", "\0celery-compressed", (size_t)18));
	freeReplyObject(ask(&x, "SET " KEY "list %s", "[1]"));
	store(&x, "id", FAILURE);
	store(&x, "packed", FAILURE);
	store(&x, "list", FAILURE);
	wait_until(&x.loop, x.done == 3, 2000);
	ck_assert_uint_eq(x.failed, 0);
	assert_text(&x, "{\"result\":1,\"status\":\"SUCCESS\"}", "GET " KEY "id");
	assert_text(&x, FAILURE, "GET " KEY "packed");
	assert_text(&x, FAILURE, "GET " KEY "list");
	tear_down(&x);
}
END_TEST

/* T-101 */
START_TEST(a_failure_is_overwritten)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	store_as(&x, "id", TASK_STARTED, STARTED);
	store_as(&x, "id", TASK_FAILURE, FAILURE);
	store(&x, "id", SUCCESS);
	wait_until(&x.loop, x.done == 3, 2000);
	assert_text(&x, SUCCESS, "GET " KEY "id");
	tear_down(&x);
}
END_TEST

/* T-102 */
START_TEST(no_expiry_is_no_ttl)
{
	struct fixture x;

	set_up(&x);
	x.options.result_expires_s = 0;
	open_backend(&x);
	store(&x, "id", SUCCESS);
	wait_until(&x.loop, x.done == 1, 2000);
	ck_assert_int_eq(number(&x, "TTL %s", KEY "id"), -1);
	tear_down(&x);
}
END_TEST

/* T-102 T-166 */
START_TEST(failures_have_an_expiry_of_their_own)
{
	struct fixture x;

	set_up(&x);
	x.options.result_expires_s = 100.9;
	x.options.failure_expires_s = 5000;
	open_backend(&x);
	store(&x, "ok", SUCCESS);
	store_as(&x, "bad", TASK_FAILURE, FAILURE);
	wait_until(&x.loop, x.done == 2, 2000);
	ck_assert_int_le(number(&x, "TTL %s", KEY "ok"), 100);
	ck_assert_int_gt(number(&x, "TTL %s", KEY "bad"), 4900);
	tear_down(&x);
}
END_TEST

/* T-166 */
START_TEST(failures_may_stay_for_ever)
{
	struct fixture x;

	set_up(&x);
	x.options.failure_expires_s = 0;
	open_backend(&x);
	store_as(&x, "bad", TASK_FAILURE, FAILURE);
	wait_until(&x.loop, x.done == 1, 2000);
	ck_assert_int_eq(number(&x, "TTL %s", KEY "bad"), -1);
	tear_down(&x);
}
END_TEST

/* T-103 */
START_TEST(a_key_prefix_gets_its_separator)
{
	static const char *const cases[][2] = {
		{"{\"global_keyprefix\": \"app\"}", "app_" KEY "id"},
		{"{\"global_keyprefix\": \"app:\"}", "app:" KEY "id"},
		{"{\"global_keyprefix\": \"app.\"}", "app." KEY "id"},
	};

	for (int i = 0; i < 3; i++) {
		struct fixture x;

		set_up(&x);
		x.options.transport_options = cases[i][0];
		open_backend(&x);
		store(&x, "id", SUCCESS);
		wait_until(&x.loop, x.done == 1, 2000);
		assert_text(&x, SUCCESS, "GET %s", cases[i][1]);
		tear_down(&x);
	}
}
END_TEST

START_TEST(unix_socket_and_database_of_the_url_are_used)
{
	struct fixture x;
	auto_free char *url = NULL;

	set_up(&x);
	url = mem_printf("redis+socket://%s?virtual_host=3", x.server.socket);
	open_url(&x, url);
	store(&x, "id", SUCCESS);
	wait_until(&x.loop, x.done == 1, 2000);
	tell(&x, "SELECT 3");
	assert_text(&x, SUCCESS, "GET " KEY "id");
	tear_down(&x);
}
END_TEST

START_TEST(a_password_is_sent_and_never_shown)
{
	struct fixture x;
	auto_free char *url = NULL, *wrong = NULL;

	set_up(&x);
	tell(&x, "CONFIG SET requirepass s3cret/%%");
	wrong = mem_printf("redis://:wr0ng@127.0.0.1:%d/0", x.server.port);
	open_url(&x, wrong);
	store(&x, "id", SUCCESS);
	wait_until(&x.loop, x.errors == 1, 2000);
	ck_assert_ptr_nonnull(strstr(x.last_notice, "WRONGPASS"));
	ck_assert_ptr_null(strstr(x.last_notice, "wr0ng"));
	backend_close(x.backend, 0.1);
	wait_until(&x.loop, x.is_closed, 2000);
	ck_assert_uint_eq(x.failed, 1);

	x.is_closed = false;
	url = mem_printf("redis://:s3cret%%2f%%25@127.0.0.1:%d/0", x.server.port);
	open_url(&x, url);
	store(&x, "id", SUCCESS);
	wait_until(&x.loop, x.done == 2, 2000);
	ck_assert_uint_eq(x.failed, 1);
	tear_down(&x);
}
END_TEST

START_TEST(what_is_not_spoken_is_said_so)
{
	static const char *const urls[] = {"rediss://h/0", "sentinel://h:26379;sentinel://g:26379",
					   "redis://h/name", "redis+socket://"};
	struct fixture x = {0};

	uv_loop_init(&x.loop);
	x.options.loop = &x.loop;
	for (int i = 0; i < 4; i++) {
		struct err err = {0};

		x.options.url = urls[i];
		ck_assert_ptr_null(backend_open(&x.options, &err));
		ck_assert_int_eq(err.code, i < 2 ? ERR_UNSUPPORTED : ERR_INVALID);
		ck_assert_ptr_nonnull(strcasestr(err.text, "redis"));
	}
	uv_loop_close(&x.loop);
}
END_TEST

START_TEST(get_gives_the_record_or_nothing)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	backend_get(x.backend, "id", on_got, &x);
	wait_until(&x.loop, x.has_got, 2000);
	ck_assert_ptr_null(x.got);
	x.has_got = false;
	store(&x, "id", SUCCESS);
	backend_get(x.backend, "id", on_got, &x);
	wait_until(&x.loop, x.has_got, 2000);
	ck_assert_str_eq(x.got, SUCCESS);
	tear_down(&x);
}
END_TEST

START_TEST(a_flushed_script_is_loaded_again)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	store(&x, "1", SUCCESS);
	wait_until(&x.loop, x.done == 1, 2000);
	tell(&x, "SCRIPT FLUSH");
	store(&x, "2", STARTED);
	store(&x, "2", SUCCESS);
	wait_until(&x.loop, x.done == 3, 2000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_uint_eq(x.notices, 0);
	assert_text(&x, SUCCESS, "GET " KEY "2");
	tear_down(&x);
}
END_TEST

/* T-98 T-100 T-101 */
START_TEST(a_server_without_scripts_gets_transactions)
{
	struct fixture x;
	auto_free char *url = NULL;

	set_up(&x);
	tell(&x, "ACL SETUSER plain on >pw ~* &* +@all -evalsha -eval -script");
	url = mem_printf("redis://plain:pw@127.0.0.1:%d/0", x.server.port);
	open_url(&x, url);
	for (int i = 0; i < 200; i++) {
		auto_free char *id = mem_printf("%d", i / 2);

		store(&x, id, i % 2 ? SUCCESS : STARTED);
	}
	store(&x, "0", FAILURE);
	wait_until(&x.loop, x.done == 201, 3000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_uint_eq(x.notices, 1);
	ck_assert_uint_eq(x.errors, 0);
	assert_text(&x, SUCCESS, "GET " KEY "0");
	assert_text(&x, SUCCESS, "GET " KEY "99");
	ck_assert_int_gt(number(&x, "TTL %s", KEY "99"), 86000);
	tear_down(&x);
}
END_TEST

START_TEST(a_refusal_for_good_is_reported)
{
	struct fixture x;
	auto_free char *url = NULL;

	set_up(&x);
	tell(&x, "ACL SETUSER reader on >pw ~* &* +@read +@connection +@scripting");
	url = mem_printf("redis://reader:pw@127.0.0.1:%d/0", x.server.port);
	open_url(&x, url);
	store(&x, "id", SUCCESS);
	wait_until(&x.loop, x.done == 1, 2000);
	ck_assert_uint_eq(x.failed, 1);
	ck_assert_int_eq(x.last.code, ERR_REFUSED);
	tear_down(&x);
}
END_TEST

START_TEST(a_full_server_is_waited_for)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	tell(&x, "CONFIG SET maxmemory 1");
	store_as(&x, "id", TASK_STARTED, STARTED);
	store(&x, "id", SUCCESS);
	store(&x, "other", SUCCESS);
	wait_until(&x.loop, x.errors == 1, 2000);
	ck_assert_ptr_nonnull(strstr(x.last_notice, "OOM"));
	ck_assert_uint_eq(x.done, 0);
	tell(&x, "CONFIG SET maxmemory 0");
	wait_until(&x.loop, x.done == 3, 3000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_uint_eq(x.notices, 2);
	assert_text(&x, SUCCESS, "GET " KEY "id");
	assert_text(&x, SUCCESS, "GET " KEY "other");
	tear_down(&x);
}
END_TEST

START_TEST(a_replica_is_left_until_it_is_master_again)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	store(&x, "1", SUCCESS);
	wait_until(&x.loop, x.done == 1, 2000);
	tell(&x, "REPLICAOF 127.0.0.1 1");
	store(&x, "2", SUCCESS);
	wait_until(&x.loop, x.errors == 1, 2000);
	tell(&x, "REPLICAOF NO ONE");
	wait_until(&x.loop, x.done == 2, 4000);
	ck_assert_uint_eq(x.failed, 0);
	assert_text(&x, SUCCESS, "GET " KEY "2");
	tear_down(&x);
}
END_TEST

START_TEST(a_server_that_comes_late_gets_everything)
{
	struct fixture x;

	set_up(&x);
	redis_server_stop(&x.server, SIGKILL);
	open_backend(&x);
	store(&x, "id", SUCCESS);
	wait_until(&x.loop, x.errors == 1, 2000);
	redis_server_start(&x.server);
	wait_until(&x.loop, x.done == 1, 5000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_uint_eq(x.notices, 2);
	ck_assert_ptr_nonnull(strstr(x.last_notice, "is back"));
	tear_down(&x);
}
END_TEST

/* T-71 */
START_TEST(nothing_is_lost_when_redis_dies_in_the_middle) /* timeout 30 */
{
	struct fixture x;
	struct numbered *numbers = mem_calloc(MANY, sizeof(*numbers));
	struct backend_stats stats;

	set_up(&x);
	x.server.has_persistence = true;
	redis_server_stop(&x.server, SIGKILL);
	redis_server_start(&x.server);
	open_backend(&x);
	for (unsigned i = 0; i < MANY; i++) {
		auto_free char *id = mem_printf("%u", i);
		auto_free char *record = mem_printf("{\"status\": \"SUCCESS\", \"result\": %u}", i);

		numbers[i] = (struct numbered){&x, i};
		backend_store(x.backend, id, TASK_SUCCESS, record, strlen(record), on_numbered_done,
			      &numbers[i]);
		if (i == MANY / 2) {
			wait_until(&x.loop, x.done > MANY / 4, 2000);
			redis_server_stop(&x.server, SIGKILL);
		}
	}
	wait_until(&x.loop, x.errors == 1, 3000);
	redis_server_start(&x.server);
	wait_until(&x.loop, x.done == MANY, 8000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_uint_eq(x.notices, 2);
	backend_stats(x.backend, &stats);
	ck_assert_uint_eq(stats.waiting, 0);
	ck_assert_uint_eq(stats.stored, MANY);
	ck_assert_uint_ge(stats.reconnects, 1);
	redisFree(x.client);
	x.client = redis_server_try(&x.server);
	for (unsigned i = 0; i < MANY; i++) {
		auto_free char *key = mem_printf(KEY "%u", i);
		auto_free char *record = mem_printf("{\"status\": \"SUCCESS\", \"result\": %u}", i);

		ck_assert_uint_eq(x.order[i], i);
		assert_text(&x, record, "GET %s", key);
	}
	tear_down(&x);
	free(numbers);
}
END_TEST

START_TEST(stores_of_one_id_keep_their_order_over_a_restart) /* timeout 20 */
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	store_as(&x, "id", TASK_STARTED, STARTED);
	redis_server_stop(&x.server, SIGKILL);
	for (int i = 0; i < 100; i++) {
		auto_free char *record =
			mem_printf("{\"status\": \"PROGRESS\", \"result\": %d}", i);

		store_as(&x, "id", TASK_CUSTOM, record);
	}
	wait_until(&x.loop, x.errors == 1, 3000);
	redis_server_start(&x.server);
	wait_until(&x.loop, x.done == 101, 5000);
	redisFree(x.client);
	x.client = redis_server_try(&x.server);
	assert_text(&x, "{\"status\": \"PROGRESS\", \"result\": 99}", "GET " KEY "id");
	tear_down(&x);
}
END_TEST

START_TEST(the_bound_is_told_and_so_is_the_room_after_it) /* timeout 20 */
{
	struct fixture x;

	set_up(&x);
	x.options.max_waiting_bytes = 10000;
	redis_server_stop(&x.server, SIGKILL);
	open_backend(&x);
	for (int i = 0; !backend_is_full(x.backend); i++) {
		auto_free char *id = mem_printf("%d", i);

		ck_assert_int_lt(i, 1000);
		store(&x, id, SUCCESS);
	}
	wait_until(&x.loop, x.errors == 1, 2000);
	ck_assert_uint_eq(x.rooms, 0);
	redis_server_start(&x.server);
	wait_until(&x.loop, x.rooms == 1, 5000);
	ck_assert(!backend_is_full(x.backend));
	tear_down(&x);
}
END_TEST

START_TEST(a_server_that_stands_still_is_given_up) /* timeout 40 */
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	store(&x, "1", SUCCESS);
	wait_until(&x.loop, x.done == 1, 2000);
	kill(x.server.pid, SIGSTOP);
	store(&x, "2", SUCCESS);
	wait_until(&x.loop, x.errors == 1, 20000);
	ck_assert_ptr_nonnull(strstr(x.last_notice, "no answer"));
	kill(x.server.pid, SIGCONT);
	wait_until(&x.loop, x.done == 2, 5000);
	tear_down(&x);
}
END_TEST

START_TEST(closing_gives_up_at_the_deadline)
{
	struct fixture x;

	set_up(&x);
	redis_server_stop(&x.server, SIGKILL);
	open_backend(&x);
	store(&x, "1", SUCCESS);
	backend_close(x.backend, 0.2);
	wait_until(&x.loop, x.is_closed, 1000);
	ck_assert_uint_eq(x.failed, 1);
	ck_assert_int_eq(x.last.code, ERR_TIMEOUT);
	tear_down(&x);
}
END_TEST

START_TEST(closing_writes_what_waits)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	for (int i = 0; i < 500; i++) {
		auto_free char *id = mem_printf("%d", i);

		store(&x, id, SUCCESS);
	}
	backend_close(x.backend, 5);
	wait_until(&x.loop, x.is_closed, 5000);
	ck_assert_uint_eq(x.done, 500);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_int_eq(number(&x, "DBSIZE%s", ""), 500);
	tear_down(&x);
}
END_TEST

START_TEST(a_large_record_goes_through)
{
	struct fixture x;
	size_t len = (size_t)40 << 20;
	char *record = mem_alloc(len + 1);

	set_up(&x);
	memset(record, 'x', len);
	record[len] = '\0';
	open_backend(&x);
	store(&x, "id", record);
	store(&x, "id2", SUCCESS);
	backend_get(x.backend, "id", on_got, &x);
	wait_until(&x.loop, x.done == 2 && x.has_got, 8000);
	ck_assert_uint_eq(strlen(x.got), len);
	ck_assert_int_eq(number(&x, "STRLEN %s", KEY "id"), (long long)len);
	tear_down(&x);
	free(record);
}
END_TEST
