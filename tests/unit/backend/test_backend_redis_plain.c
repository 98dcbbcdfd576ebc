/* Records that are the only one of their id go to Redis without the script; what happens when they
 * are not, or when the server or the connection is in the way. */
#include "tests/unit/backend/redis_fixture.h"
#include "tests/unit/backend/redis_relay.h"
#include "tests/unit/backend/redis_user.h"

#define OTHER "{\"status\": \"SUCCESS\", \"result\": 4}"

static redisContext *subscribe(struct fixture *x, const char *key)
{
	redisContext *subscriber = redis_server_try(&x->server);

	freeReplyObject(redisCommand(subscriber, "SUBSCRIBE %s", key));
	redisSetTimeout(subscriber, (struct timeval){.tv_usec = 300000});
	return subscriber;
}

/* The messages until none comes for a while; all must be `expected`. */
static unsigned heard(redisContext *subscriber, const char *expected)
{
	unsigned count = 0;
	void *pushed = NULL;

	for (; redisGetReply(subscriber, &pushed) == REDIS_OK; count++) {
		redisReply *reply = pushed;

		ck_assert_str_eq(reply->element[2]->str, expected);
		freeReplyObject(reply);
	}
	redisFree(subscriber);
	return count;
}

/* How often the server has carried out a command. */
static int calls(struct fixture *x, const char *command)
{
	auto_free char *name = mem_printf("cmdstat_%s:calls=", command);
	redisReply *reply = ask(x, "INFO commandstats");
	const char *at = strstr(reply->str, name);
	int count = at ? (int)strtol(at + strlen(name), NULL, 10) : 0;

	freeReplyObject(reply);
	return count;
}

/* T-97 T-98 T-102 */
START_TEST(an_only_record_is_set_and_published)
{
	struct fixture x;
	redisContext *subscriber;

	set_up(&x);
	x.options.failure_expires_s = 0;
	subscriber = subscribe(&x, KEY "id");
	open_backend(&x);
	store_only(&x, "id", TASK_SUCCESS, SUCCESS);
	store_only(&x, "bad", TASK_FAILURE, FAILURE);
	wait_until(&x.loop, x.done == 2, 2000);
	ck_assert_uint_eq(x.failed, 0);
	assert_text(&x, SUCCESS, "GET " KEY "id");
	assert_text(&x, FAILURE, "GET " KEY "bad");
	ck_assert_int_ge(number(&x, "TTL %s", KEY "id"), 86398);
	ck_assert_int_eq(number(&x, "TTL %s", KEY "bad"), -1);
	ck_assert_uint_eq(heard(subscriber, SUCCESS), 1);
	ck_assert_int_eq(calls(&x, "evalsha"), 0);
	ck_assert_int_eq(calls(&x, "set"), 2);
	tear_down(&x);
}
END_TEST

/* T-100 */
START_TEST(a_success_that_it_meets_is_kept)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	freeReplyObject(ask(&x, "SET " KEY "1 %s", OTHER));
	freeReplyObject(ask(&x, "SET " KEY "2 %s", "{\"result\":1,\"status\":\"SUCCESS\"}"));
	store_only(&x, "1", TASK_SUCCESS, SUCCESS);
	store_only(&x, "2", TASK_FAILURE, FAILURE);
	wait_until(&x.loop, x.done == 2, 2000);
	ck_assert_uint_eq(x.failed, 0);
	assert_text(&x, OTHER, "GET " KEY "1");
	assert_text(&x, "{\"result\":1,\"status\":\"SUCCESS\"}", "GET " KEY "2");
	ck_assert_int_eq(calls(&x, "evalsha"), 2);
	tear_down(&x);
}
END_TEST

/* T-101 */
START_TEST(any_other_record_that_it_meets_is_overwritten)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	freeReplyObject(ask(&x, "SET " KEY "failed %s", FAILURE));
	store_as(&x, "started", TASK_STARTED, STARTED);
	store_only(&x, "started", TASK_SUCCESS, SUCCESS);
	store_only(&x, "failed", TASK_SUCCESS, SUCCESS);
	wait_until(&x.loop, x.done == 3, 2000);
	ck_assert_uint_eq(x.failed, 0);
	assert_text(&x, SUCCESS, "GET " KEY "started");
	assert_text(&x, SUCCESS, "GET " KEY "failed");
	ck_assert_int_ge(number(&x, "TTL %s", KEY "failed"), 86398);
	tear_down(&x);
}
END_TEST

/* Twice the same id by mistake of the caller, both on their way at once. T-100 */
START_TEST(two_only_records_of_one_id_leave_one_success)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	store_only(&x, "1", TASK_FAILURE, FAILURE);
	store_only(&x, "1", TASK_SUCCESS, SUCCESS);
	store_only(&x, "2", TASK_SUCCESS, SUCCESS);
	store_only(&x, "2", TASK_FAILURE, FAILURE);
	store_only(&x, "3", TASK_SUCCESS, SUCCESS);
	store_only(&x, "3", TASK_SUCCESS, OTHER);
	wait_until(&x.loop, x.done == 6, 2000);
	ck_assert_uint_eq(x.failed, 0);
	assert_text(&x, SUCCESS, "GET " KEY "1");
	assert_text(&x, SUCCESS, "GET " KEY "2");
	assert_text(&x, SUCCESS, "GET " KEY "3");
	tear_down(&x);
}
END_TEST

static void store_over_a_cut(const char *rules, enum task_state state, const char *record)
{
	struct fixture x;
	struct redis_relay relay;
	struct backend_stats stats;
	redisContext *subscriber;

	set_up(&x);
	redis_relay_start(&relay, x.server.port, "*3\r\n$7\r\nPUBLISH");
	subscriber = subscribe(&x, KEY "id");
	open_as_user(&x, relay.port, rules);
	store_only(&x, "id", state, record);
	wait_until(&x.loop, x.done == 1, 3000);
	ck_assert_uint_eq(x.failed, 0);
	backend_stats(x.backend, &stats);
	ck_assert_uint_eq(stats.reconnects, 1);
	assert_text(&x, record, "GET " KEY "id");
	ck_assert_uint_eq(heard(subscriber, record), 1);
	tear_down(&x);
	redis_relay_stop(&relay);
}

/* A client that waits by subscription would wait for ever otherwise. T-98 */
START_TEST(a_record_whose_publish_was_lost_is_published)
{
	store_over_a_cut("+@all", TASK_SUCCESS, SUCCESS);
	store_over_a_cut("+@all", TASK_FAILURE, FAILURE);
}
END_TEST

/* T-98 */
START_TEST(so_it_is_without_scripts) /* timeout 10 */
{
	store_over_a_cut(WITHOUT_SCRIPTS, TASK_SUCCESS, SUCCESS);
	store_over_a_cut(WITHOUT_SCRIPTS, TASK_FAILURE, FAILURE);
}
END_TEST

/* T-100 T-101 */
START_TEST(without_scripts_what_it_meets_is_looked_at_too)
{
	struct fixture x;

	set_up(&x);
	freeReplyObject(ask(&x, "SET " KEY "kept %s", OTHER));
	freeReplyObject(ask(&x, "SET " KEY "gone %s", FAILURE));
	open_as_user(&x, x.server.port, WITHOUT_SCRIPTS);
	store_only(&x, "kept", TASK_SUCCESS, SUCCESS);
	store_only(&x, "gone", TASK_SUCCESS, SUCCESS);
	store_only(&x, "new", TASK_SUCCESS, SUCCESS);
	wait_until(&x.loop, x.done == 3, 2000);
	ck_assert_uint_eq(x.failed, 0);
	assert_text(&x, OTHER, "GET " KEY "kept");
	assert_text(&x, SUCCESS, "GET " KEY "gone");
	assert_text(&x, SUCCESS, "GET " KEY "new");
	ck_assert_int_eq(calls(&x, "multi"), 1);
	tear_down(&x);
}
END_TEST

/* Neither SET nor a script that calls it: what is left is what Celery needs. */
START_TEST(a_user_who_may_do_what_celery_does_is_enough)
{
	struct fixture x;

	set_up(&x);
	open_as_user(&x, x.server.port,
		     "+@connection +@scripting +get +setex +publish +multi +exec");
	for (int i = 0; i < 100; i++) {
		auto_free char *id = mem_printf("%d", i);

		if (i % 2)
			store(&x, id, SUCCESS);
		else
			store_only(&x, id, TASK_SUCCESS, SUCCESS);
	}
	wait_until(&x.loop, x.done == 100, 3000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_uint_eq(x.notices, 1);
	assert_text(&x, SUCCESS, "GET " KEY "0");
	assert_text(&x, SUCCESS, "GET " KEY "99");
	tear_down(&x);
}
END_TEST

START_TEST(a_refusal_for_good_is_reported_with_the_id)
{
	struct fixture x;

	set_up(&x);
	open_as_user(&x, x.server.port, READ_ONLY);
	store_only(&x, "id", TASK_SUCCESS, SUCCESS);
	store_silently(&x, "alone", SUCCESS);
	wait_until(&x.loop, x.done == 1 && x.refused[0], 2000);
	ck_assert_uint_eq(x.failed, 1);
	ck_assert_int_eq(x.last.code, ERR_REFUSED);
	ck_assert_str_eq(x.refused, "alone");
	tear_down(&x);
}
END_TEST

/* T-71 */
START_TEST(a_full_server_is_waited_for)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	tell(&x, "CONFIG SET maxmemory 1");
	store_only(&x, "id", TASK_SUCCESS, SUCCESS);
	store(&x, "other", SUCCESS);
	wait_until(&x.loop, x.errors == 1, 2000);
	ck_assert_ptr_nonnull(strstr(x.last_notice, "OOM"));
	ck_assert_uint_eq(x.done, 0);
	tell(&x, "CONFIG SET maxmemory 0");
	wait_until(&x.loop, x.done == 2, 3000);
	ck_assert_uint_eq(x.failed, 0);
	assert_text(&x, SUCCESS, "GET " KEY "id");
	assert_text(&x, SUCCESS, "GET " KEY "other");
	tear_down(&x);
}
END_TEST
