/* What becomes of messages whose owner the registry has lost. */
#include "tests/unit/transport/redis_broker_fixture.h"

#define GONE "0123456789abcdef0123456789abcdef"

static void put_orphan(struct fixture *x, const char *field, const char *body)
{
	auto_free char *message = envelope("celery", body, 0);
	auto_free char *record = mem_printf("[%s, \"\", \"celery\"]", message);

	tell(x, "HSET unacked %s %s", field, record);
	tell(x, "ZADD unacked_index 1e10 %s", field);
}

/* More than is looked at in a second; of a Python worker, and not old. */
static void put_many_others(struct fixture *x)
{
	tell(x, "EVAL %s 1 unacked_index",
	     "for i = 1, 30000 do redis.call('ZADD', KEYS[1], '1e10', '7f2b-' .. i) end");
}

/* C-46 C-47 */
START_TEST(what_an_owner_held_that_no_registry_knows_comes_back_after_a_lease) /* timeout 30 */
{
	struct fixture x;
	struct taker a, b;
	int64_t began_us;

	set_up(&x);
	put(&x, "mine", "[0]");
	taker_open(&x, &a, "mine", 1);
	wait_until(&x.loop, a.seen == 1, 2000);
	put_many_others(&x);
	put_orphan(&x, GONE ":1", "[1]");
	put_orphan(&x, GONE ":2", "[2]");
	put_orphan(&x, "0123456789ABCDEF-not-an-id:3", "[3]");
	tell(&x, "DEL smallage.nodes smallage.nodes.pass");
	began_us = clock_mono_us();
	taker_open(&x, &b, "celery", 10);
	wait_until(&x.loop, b.seen == 2, 20000);
	ck_assert_int_gt(clock_mono_us() - began_us, 9500000);
	ck_assert_str_eq(b.bodies[0], "[1]");
	ck_assert_str_eq(b.bodies[1], "[2]");
	ck_assert(b.redelivered[0]);
	/* Who is alive came back onto the list in time. */
	ck_assert(broker_is_held(a.broker, 1, a.tags[0]));
	ck_assert_int_eq(number(&x, "HLEN unacked"), 4);
	ck_assert_int_eq(number(&x, "ZCOUNT smallage.nodes 1 +inf"), 2);
	taker_close(&x, &a);
	taker_close(&x, &b);
	ck_assert_int_eq(number(&x, "HLEN unacked"), 1);
	tear_down(&x);
}
END_TEST

/* Each looks from time to time, and not all of them. */
START_TEST(one_of_the_workers_looks_for_lost_owners)
{
	struct fixture x;
	struct taker a, b;
	redisReply *stats;
	const char *calls;
	int64_t until_us;
	long pages;

	set_up(&x);
	put_many_others(&x);
	tell(&x, "CONFIG RESETSTAT");
	taker_open(&x, &a, "celery", 10);
	taker_open(&x, &b, "celery", 10);
	until_us = clock_mono_us() + 4000000;
	wait_until(&x.loop, clock_mono_us() > until_us, 5000);
	stats = ask(&x, "INFO commandstats");
	calls = strstr(stats->str, "cmdstat_zscan:calls=");
	ck_assert_ptr_nonnull(calls);
	pages = strtol(calls + 20, NULL, 10);
	ck_assert_msg(pages > 25 && pages < 40, "%ld pages", pages);
	freeReplyObject(stats);
	taker_close(&x, &a);
	taker_close(&x, &b);
	tear_down(&x);
}
END_TEST
