/* What a store and a read do on a server that is well. */
#include "protocol/compression.h"
#include "protocol/result.h"
#include "tests/unit/backend/redis_fixture.h"
#include "tests/unit/backend/redis_revoke.h"

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

static void set_packed(struct fixture *x, const char *key, const char *text, const char *serializer,
		       const char *compression)
{
	const struct content_form form = {
		.serializer = serializer_find(serializer),
		.compression =
			compression ? compression_find(compression, strlen(compression)) : NULL,
	};
	auto_str record = STR_INIT(4096);

	str_puts(&record, text);
	ck_assert_int_eq(result_pack(&record, &form, NULL, NULL), 0);
	freeReplyObject(ask(x, "SET %s %b", key, record.data, record.len));
}

/* Lua cannot read these. T-100 T-167 */
START_TEST(a_packed_success_is_kept_and_a_packed_failure_is_not)
{
	static const struct {
		const char *serializer, *compression;
	} forms[] = {{"json", "gzip"}, {"msgpack", NULL}, {"yaml", NULL}, {"msgpack", "zstd"}};
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	for (size_t i = 0; i < 4; i++) {
		set_packed(&x, KEY "good", SUCCESS, forms[i].serializer, forms[i].compression);
		set_packed(&x, KEY "bad", FAILURE, forms[i].serializer, forms[i].compression);
		store(&x, "good", "{\"status\": \"SUCCESS\", \"result\": 4}");
		store(&x, "bad", SUCCESS);
		wait_until(&x.loop, x.done == 2 * (i + 1), 2000);
		ck_assert_uint_eq(x.failed, 0);
		assert_text(&x, SUCCESS, "GET " KEY "bad");
		ck_assert_int_eq(number(&x, "EXISTS %s", KEY "good"), 1);
		redisReply *reply = ask(&x, "GET " KEY "good");

		if (forms[i].compression)
			ck_assert_mem_eq(reply->str, "\0celery", 7);
		ck_assert_int_eq(result_state_of(reply->str, reply->len), TASK_SUCCESS);
		freeReplyObject(reply);
	}
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
	static const char *const words[] = {"ssl_cert_reqs is missing", "master_name",
					    "no database number", "redis+socket:///path"};
	struct fixture x = {0};

	uv_loop_init(&x.loop);
	x.options.loop = &x.loop;
	for (int i = 0; i < 4; i++) {
		struct err err = {0};

		x.options.url = urls[i];
		ck_assert_ptr_null(backend_open(&x.options, &err));
		ck_assert_int_eq(err.code, ERR_INVALID);
		ck_assert_ptr_nonnull(strstr(err.text, words[i]));
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

/* T-168 */
START_TEST(a_revoke_is_stored_over_nothing_and_over_what_has_not_begun)
{
	static const struct {
		const char *old; /* NULL = none */
		bool is_stored;
	} rows[] = {
		{NULL, true},
		{"{\"status\": \"RETRY\", \"result\": {}}", true},
		{"{\"result\":null,\"status\":\"RECEIVED\"}", true},
		{"{\"status\": \"REJECTED\"}", true},
		{"{\"status\": \"PENDING\"}", true},
		{STARTED, false},
		{FAILURE, false},
		{SUCCESS, false},
		{"{\"status\": \"REVOKED\", \"result\": 1}", false},
		{"{\"status\": \"PROGRESS\"}", false},
		{"{\"status\": 5}", false},
		{"[1]", false},
		{"no JSON", false},
		{"", false},
	};
	const unsigned count = sizeof(rows) / sizeof(rows[0]);
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	for (unsigned i = 0; i < count; i++) {
		auto_free char *id = mem_printf("%u", i);

		if (rows[i].old)
			freeReplyObject(ask(&x, "SET " KEY "%s %s", id, rows[i].old));
		store_revoke(&x, id);
	}
	wait_until(&x.loop, x.done == count, 2000);
	ck_assert_uint_eq(x.failed, 0);
	for (unsigned i = 0; i < count; i++) {
		auto_free char *id = mem_printf("%u", i);

		assert_text(&x, rows[i].is_stored ? REVOKED : rows[i].old, "GET " KEY "%s", id);
	}
	ck_assert_int_gt(number(&x, "TTL %s", KEY "0"), 86000);
	tear_down(&x);
}
END_TEST
