#include "tests/unit/transport/redis_letters_fixture.h"
#include "transport/envelope.h"

/* The order of the numbers that stand as bodies in a list, oldest first. */
static void assert_bodies(struct fixture *x, const char *key, unsigned count)
{
	redisReply *list = redisCommand(x->client, "LRANGE %b 0 -1", key, strlen(key));

	ck_assert_uint_eq(list->elements, count);
	for (unsigned i = 0; i < count; i++) {
		struct message m;
		struct err err = {0};
		char want[16];
		const redisReply *element = list->element[count - 1 - i];

		message_init(&m);
		ck_assert_int_eq(envelope_decode(&m, element->str, element->len, 1000, &err), 0);
		snprintf(want, sizeof(want), "%u", i);
		ck_assert_str_eq(m.body, want);
		message_clear(&m);
	}
	freeReplyObject(list);
}

static void publish_numbers(struct side *s, const char *exchange, const char *key, unsigned first,
			    unsigned end)
{
	char text[16];

	for (unsigned i = first; i < end; i++) {
		snprintf(text, sizeof(text), "%u", i);
		publish(s, exchange, key, text);
	}
}

START_TEST(messages_come_in_order_and_nothing_is_left_beside_them)
{
	struct fixture x;

	fixture_open(&x, NULL);
	publish_numbers(&x.a, "", "q", 0, 1500);
	wait_until(&x.loop, x.a.published == 1500, 5000);
	assert_bodies(&x, "q", 1500);
	side_leave(&x, &x.a);
	ck_assert_int_eq(ask(&x, "DBSIZE"), 1);
	fixture_close(&x);
}
END_TEST

START_TEST(a_priority_has_a_list_of_its_own)
{
	static const int priorities[] = {-1, 0, 2, 3, 5, 8, 9, 10};
	struct fixture x;

	fixture_open(&x, NULL);
	for (size_t i = 0; i < sizeof(priorities) / sizeof(*priorities); i++) {
		const struct publication p = {
			.routing_key = "q", .priority = priorities[i], .body = "x", .body_len = 1};
		ck_assert_int_eq(redis_letters_publish(&x.a.letters, &p, on_published, &x.a, NULL),
				 0);
	}
	wait_until(&x.loop, x.a.published == 8, 3000);
	ck_assert_int_eq(ask(&x, "LLEN q"), 3);
	ck_assert_int_eq(ask(&x, "LLEN %s", "q" SEP "3"), 2);
	ck_assert_int_eq(ask(&x, "LLEN %s", "q" SEP "6"), 1);
	ck_assert_int_eq(ask(&x, "LLEN %s", "q" SEP "9"), 2);
	fixture_close(&x);
}
END_TEST

/* C-53 C-74 */
START_TEST(exchanges_reach_what_is_bound_to_them_once)
{
	struct fixture x;

	fixture_open(&x, NULL);
	ask(&x, "SADD _kombu.binding.t %s", "a.*.c" SEP "^a\\.[^\\.]+\\.c$" SEP "both");
	ask(&x, "SADD _kombu.binding.t %s", "a.*.c" SEP "^a\\..*?[^\\.]\\.c$" SEP "both");
	ask(&x, "SADD _kombu.binding.t %s", "a.#" SEP "^a\\..*?$" SEP "all");
	ask(&x, "SADD _kombu.binding.d %s", "k" SEP SEP "one");
	ask(&x, "SADD _kombu.binding.d %s", "k" SEP SEP "two");
	ask(&x, "SADD _kombu.binding.d %s", "other" SEP SEP "three");
	publish(&x.a, "t", "a.b.c", "{}");
	publish(&x.a, "d", "k", "{}");
	publish(&x.a, "nobody", "k", "{}");
	wait_until(&x.loop, x.a.published == 3, 3000);
	ck_assert_int_eq(ask(&x, "LLEN both"), 1);
	ck_assert_int_eq(ask(&x, "LLEN all"), 1);
	ck_assert_int_eq(ask(&x, "LLEN one"), 1);
	ck_assert_int_eq(ask(&x, "LLEN two"), 1);
	ck_assert_int_eq(ask(&x, "EXISTS three"), 0);
	ck_assert_ptr_nonnull(strstr(x.a.last_notice, "nothing is bound to it"));
	fixture_close(&x);
}
END_TEST

START_TEST(a_queue_that_is_declared_is_bound_before_the_message)
{
	const struct queue_def queue = {.name = "q", .exchange = "e", .routing_key = "k"};
	const struct publication p = {
		.exchange = "e", .routing_key = "k", .declare = &queue, .body = "x", .body_len = 1};
	struct fixture x;

	fixture_open(&x, NULL);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(redis_letters_publish(&x.a.letters, &p, on_published, &x.a, NULL),
				 0);
	wait_until(&x.loop, x.a.published == 10, 3000);
	ck_assert_int_eq(ask(&x, "LLEN q"), 10);
	ck_assert_int_eq(ask(&x, "SCARD _kombu.binding_permanent.e"), 1);
	fixture_close(&x);
}
END_TEST

START_TEST(a_batch_whose_answer_is_lost_is_not_pushed_twice)
{
	struct fixture x;

	fixture_open(&x, NULL);
	wait_until(&x.loop, x.a.is_up, 3000);
	for (unsigned round = 0; round < 4; round++) {
		publish_numbers(&x.a, "", "q", round * 50, round * 50 + 50);
		/* The server reads and does it, but nobody is there for the answer. */
		uv_run(&x.loop, UV_RUN_NOWAIT);
		redis_conn_restart(x.a.conn, "the test says so");
		wait_until(&x.loop, x.a.published == round * 50 + 50, 5000);
	}
	assert_bodies(&x, "q", 200);
	fixture_close(&x);
}
END_TEST

START_TEST(a_server_that_is_full_gets_them_later_in_order)
{
	struct fixture x;

	fixture_open(&x, NULL);
	wait_until(&x.loop, x.a.is_up, 3000);
	publish_numbers(&x.a, "", "q", 0, 10);
	wait_until(&x.loop, x.a.published == 10, 3000);
	ask(&x, "CONFIG SET maxmemory 1");
	publish_numbers(&x.a, "", "q", 10, 100);
	wait_until(&x.loop, x.a.notices > 0, 3000);
	publish_numbers(&x.a, "", "q", 100, 200);
	ck_assert_uint_eq(x.a.published, 10);
	ask(&x, "CONFIG SET maxmemory 0");
	wait_until(&x.loop, x.a.published == 200, 5000);
	ck_assert_uint_eq(x.a.notices, 1);
	assert_bodies(&x, "q", 200);
	fixture_close(&x);
}
END_TEST

START_TEST(what_is_no_list_refuses_only_its_own)
{
	struct fixture x;

	fixture_open(&x, NULL);
	ask(&x, "SET text x");
	ask(&x, "SADD _kombu.binding.d %s", "k" SEP SEP "text");
	ask(&x, "SADD _kombu.binding.d %s", "k" SEP SEP "good");
	ask(&x, "SET _kombu.binding.broken x");
	publish(&x.a, "", "q", "0");
	publish(&x.a, "", "text", "x");
	publish(&x.a, "", "q", "1");
	publish(&x.a, "d", "k", "x");
	publish(&x.a, "broken", "k", "x");
	publish(&x.a, "", "q", "2");
	wait_until(&x.loop, x.a.published + x.a.refused == 6, 3000);
	ck_assert_uint_eq(x.a.refused, 3);
	ck_assert_int_eq(ask(&x, "LLEN good"), 1);
	assert_bodies(&x, "q", 3);
	fixture_close(&x);
}
END_TEST

START_TEST(what_waits_has_a_bound_and_an_end)
{
	struct fixture x;
	auto_free char *large = mem_calloc(1, 1 << 20);
	struct err err = {0};
	struct publication p = {.routing_key = "q", .body = large, .body_len = (1 << 20) - 1};
	int count = 0;

	memset(large, 'x', (1 << 20) - 1);
	fixture_open(&x, NULL);
	wait_until(&x.loop, x.a.is_up, 3000);
	redis_server_stop(&x.server, SIGKILL);
	wait_until(&x.loop, !x.a.is_up, 3000);
	while (redis_letters_publish(&x.a.letters, &p, on_published, &x.a, &err) == 0)
		count++;
	ck_assert_int_gt(count, 8);
	ck_assert_int_lt(count, 17);
	ck_assert_ptr_nonnull(strstr(err.text, "wait for Redis"));
	redis_server_start(&x.server);
	wait_until(&x.loop, x.a.published == (unsigned)count, 8000);
	redis_server_stop(&x.server, SIGKILL);
	wait_until(&x.loop, !x.a.is_up, 3000);
	publish(&x.a, "", "q", "x");
	publish(&x.a, "e", "k", "x");
	fixture_close(&x);
	ck_assert_uint_eq(x.a.refused, 2);
	ck_assert_ptr_nonnull(strstr(x.a.last_err.text, "in time"));
}
END_TEST

START_TEST(scripts_that_are_forgotten_are_sent_again)
{
	struct fixture x;

	fixture_open(&x, NULL);
	for (unsigned i = 0; i < 50; i++) {
		publish_numbers(&x.a, "", "q", i * 10, i * 10 + 10);
		ask(&x, "SCRIPT FLUSH");
		wait_until(&x.loop, x.a.published == i * 10 + 10, 3000);
	}
	assert_bodies(&x, "q", 500);
	fixture_close(&x);
}
END_TEST

START_TEST(an_exchange_with_too_many_bindings_costs_a_message_and_not_the_connection)
{
	static const char fill[] =
		"for i = 1, 70000 do redis.call('SADD', KEYS[1], i) end return 1";
	struct fixture x;

	fixture_open(&x, NULL);
	wait_until(&x.loop, x.a.settled == 1, 3000);
	ask(&x, "EVAL %s 1 _kombu.binding.crowded", fill);
	publish(&x.a, "crowded", "key", "1");
	publish(&x.a, "", "q", "2");
	wait_until(&x.loop, x.a.published == 1 && x.a.refused == 1, 3000);
	ck_assert(strstr(x.a.last_err.text, "70000 bindings") != NULL);
	ck_assert(strstr(x.a.last_notice, "70000 bindings") != NULL);
	ck_assert_int_eq(ask(&x, "LLEN q"), 1);
	ck_assert_uint_eq(x.a.settled, 1);
	fixture_close(&x);
}
END_TEST
