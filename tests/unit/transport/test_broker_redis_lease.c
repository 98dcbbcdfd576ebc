/* What becomes of messages whose worker, connection or server goes away. */
#include "tests/unit/backend/redis_relay.h"
#include "tests/unit/transport/redis_broker_fixture.h"

#define GONE "0123456789abcdef0123456789abcdef"

static void put_record(struct fixture *x, const char *field, const char *exchange, const char *key,
		       const char *body, double score)
{
	auto_free char *message = envelope(key, body, 0);
	auto_free char *record = mem_printf("[%s, \"%s\", \"%s\"]", message, exchange, key);
	auto_free char *number = mem_printf("%f", score);

	tell(x, "HSET unacked %s %s", field, record);
	tell(x, "ZADD unacked_index %s %s", number, field);
}

/* C-47 */
START_TEST(what_a_dead_node_held_comes_back_after_ten_seconds) /* timeout 20 */
{
	struct fixture x;
	struct taker t;
	int64_t began_us;

	set_up(&x);
	put_record(&x, GONE ":1", "", "celery", "[1]", 1e10);
	put_record(&x, GONE ":2", "", "celery", "[2]", 1e10);
	put_record(&x, GONE ":10", "", "celery", "[3]", 1e10);
	tell(&x, "ZADD smallage.nodes 4294967297 " GONE);
	taker_open(&x, &t, "celery", 10);
	began_us = clock_mono_us();
	wait_until(&x.loop, t.seen == 3, 15000);
	ck_assert_int_gt(clock_mono_us() - began_us, 9000000);
	ck_assert_str_eq(t.bodies[0], "[1]");
	ck_assert_str_eq(t.bodies[1], "[2]");
	ck_assert_str_eq(t.bodies[2], "[3]");
	ck_assert(t.redelivered[0]);
	for (int i = 0; i < 3; i++)
		broker_ack(t.broker, 1, t.tags[i]);
	taker_close(&x, &t);
	ck_assert_int_eq(number(&x, "EXISTS unacked unacked_index celery"), 0);
	tear_down(&x);
}
END_TEST

/* C-47 */
START_TEST(of_many_dead_nodes_none_waits_for_the_others)
{
	enum { NODES = 30 };
	struct fixture x;
	struct taker t;
	char id[33], field[40];

	set_up(&x);
	for (int i = 0; i < NODES; i++) {
		snprintf(id, sizeof(id), "%032x", i + 1);
		snprintf(field, sizeof(field), "%s:1", id);
		put_record(&x, field, "", "celery", "[1]", 1e10);
		tell(&x, "ZADD smallage.nodes 4294967297 dead:%s", id);
	}
	taker_open(&x, &t, "celery", NODES);
	wait_until(&x.loop, t.seen == NODES, 6000);
	for (int i = 0; i < NODES; i++)
		broker_ack(t.broker, 1, t.tags[i]);
	taker_close(&x, &t);
	ck_assert_int_eq(number(&x, "EXISTS unacked unacked_index celery"), 0);
	tear_down(&x);
}
END_TEST

START_TEST(who_was_taken_for_dead_holds_nothing_any_more)
{
	struct fixture x;
	struct taker t;
	redisReply *nodes;

	set_up(&x);
	put(&x, "celery", "[1]");
	put(&x, "celery", "[2]");
	taker_open(&x, &t, "celery", 10);
	wait_until(&x.loop, t.seen == 2, 2000);
	nodes = ask(&x, "ZRANGE smallage.nodes 0 -1 WITHSCORES");
	ck_assert_uint_eq(nodes->elements, 2);
	tell(&x, "MULTI");
	tell(&x, "ZREM smallage.nodes %s", nodes->element[0]->str);
	tell(&x, "ZADD smallage.nodes %s dead:%s", nodes->element[1]->str, nodes->element[0]->str);
	tell(&x, "EXEC");
	ck_assert(broker_is_held(t.broker, 1, t.tags[0]));
	wait_until(&x.loop, t.seen == 4, 6000);
	ck_assert(!broker_is_held(t.broker, 1, t.tags[0]));
	ck_assert(!broker_is_held(t.broker, 1, t.tags[1]));
	ck_assert(t.redelivered[2] && t.redelivered[3]);
	/* An answer to the old delivery is not one to the new. */
	broker_ack(t.broker, 1, t.tags[0]);
	broker_ack(t.broker, 1, t.tags[2]);
	broker_ack(t.broker, 1, t.tags[3]);
	freeReplyObject(nodes);
	taker_close(&x, &t);
	ck_assert_int_eq(number(&x, "EXISTS unacked celery"), 0);
	tear_down(&x);
}
END_TEST

/* C-46 */
START_TEST(what_python_workers_left_comes_back_after_the_visibility_timeout)
{
	struct fixture x;
	struct taker t;
	double now = (double)clock_wall_us() / 1e6;

	set_up(&x);
	put_record(&x, "7f2b-old", "", "celery", "[1]", now - 10);
	put_record(&x, "7f2b-new", "", "celery", "[2]", now);
	put_record(&x, "7f2b-bound", "tasks", "key", "[3]", now - 9);
	put_record(&x, "7f2b-lost", "nothing", "key", "[4]", now - 8);
	tell(&x, "SADD _kombu.binding.tasks key\x06\x16\x06\x16other");
	tell(&x, "SADD _kombu.binding.tasks wrong\x06\x16\x06\x16wrong");
	x.options.transport_options = "{\"visibility_timeout\": 5}";
	taker_open(&x, &t, "celery other", 10);
	wait_until(&x.loop, t.seen == 2, 6000);
	ck_assert(t.redelivered[0] && t.redelivered[1]);
	for (int i = 0; i < 2; i++)
		broker_ack(t.broker, 1, t.tags[i]);
	ck_assert_int_eq(number(&x, "HEXISTS unacked 7f2b-new"), 1);
	ck_assert_int_eq(number(&x, "HEXISTS unacked 7f2b-lost"), 1);
	ck_assert_int_eq(number(&x, "EXISTS unacked_mutex wrong"), 0);
	taker_close(&x, &t);
	tear_down(&x);
}
END_TEST

static double score_of_all(struct fixture *x, bool is_lowest)
{
	redisReply *reply = ask(x, is_lowest ? "ZRANGE unacked_index 0 0 WITHSCORES"
					     : "ZRANGE unacked_index -1 -1 WITHSCORES");
	double score = reply->elements == 2 ? strtod(reply->element[1]->str, NULL) : 0;

	freeReplyObject(reply);
	return score;
}

/* C-46: Python peers with the same timeout never see an old entry */
START_TEST(what_is_held_is_entered_anew_within_a_quarter_of_the_visibility_timeout)
{
	struct fixture x;
	struct taker t;
	double first;

	set_up(&x);
	for (int i = 0; i < 1200; i++)
		put(&x, "celery", "[1]");
	x.options.transport_options = "{\"visibility_timeout\": 12}";
	taker_open(&x, &t, "celery", 0);
	wait_until(&x.loop, t.seen == 1200, 2000);
	first = score_of_all(&x, false);
	wait_until(&x.loop, score_of_all(&x, true) > first, 5500);
	ck_assert_int_eq(number(&x, "ZCARD unacked_index"), 1200);
	taker_close(&x, &t);
	ck_assert_int_eq(number(&x, "LLEN celery"), 1200);
	tear_down(&x);
}
END_TEST

START_TEST(a_server_that_lost_everything_is_consumed_from_on)
{
	struct fixture x;
	struct taker t;

	set_up(&x);
	put(&x, "celery", "[1]");
	taker_open(&x, &t, "celery", 10);
	wait_until(&x.loop, t.seen == 1, 2000);
	tell(&x, "FLUSHALL");
	tell(&x, "SCRIPT FLUSH");
	put(&x, "celery", "[2]");
	wait_until(&x.loop, t.seen == 2, 4000);
	/* There is no other copy of it. */
	ck_assert(broker_is_held(t.broker, 1, t.tags[0]));
	broker_ack(t.broker, 1, t.tags[0]);
	broker_ack(t.broker, 1, t.tags[1]);
	taker_close(&x, &t);
	ck_assert_int_eq(number(&x, "EXISTS unacked celery"), 0);
	tear_down(&x);
}
END_TEST

/* C-51 */
START_TEST(a_server_that_restarts_is_consumed_from_on)
{
	struct fixture x;
	struct taker t;

	set_up(&x);
	redis_server_stop(&x.server, SIGTERM);
	x.server.has_persistence = true;
	redis_server_start(&x.server);
	redisFree(x.client);
	x.client = redis_server_try(&x.server);
	put(&x, "celery", "[1]");
	put(&x, "celery", "[2]");
	taker_open(&x, &t, "celery", 2);
	wait_until(&x.loop, t.seen == 2, 2000);
	redis_server_stop(&x.server, SIGKILL);
	wait_until(&x.loop, !t.is_up, 2000);
	broker_ack(t.broker, 1, t.tags[0]);
	ck_assert(!broker_is_sure(t.broker));
	redis_server_start(&x.server);
	redisFree(x.client);
	x.client = redis_server_try(&x.server);
	wait_until(&x.loop, t.is_up, 5000);
	ck_assert(broker_is_sure(t.broker));
	ck_assert(broker_is_held(t.broker, 1, t.tags[1]));
	put(&x, "celery", "[3]");
	wait_until(&x.loop, t.seen == 3, 2000);
	ck_assert_str_eq(t.bodies[2], "[3]");
	broker_ack(t.broker, 1, t.tags[1]);
	broker_ack(t.broker, 1, t.tags[2]);
	taker_close(&x, &t);
	ck_assert_int_eq(number(&x, "EXISTS unacked celery"), 0);
	tear_down(&x);
}
END_TEST

/* C-51: what stands there under our name and is not known here was answered; the answer was lost */
START_TEST(answers_that_a_fail_over_lost_are_given_again)
{
	struct fixture x;
	struct taker t;
	auto_free char *field = NULL;
	redisReply *keys;

	set_up(&x);
	put(&x, "celery", "[1]");
	put(&x, "celery", "[2]");
	taker_open(&x, &t, "celery", 10);
	wait_until(&x.loop, t.seen == 2, 2000);
	keys = ask(&x, "ZRANGE unacked_index 0 0");
	field = mem_strdup(keys->element[0]->str);
	freeReplyObject(keys);
	broker_ack(t.broker, 1, t.tags[0]);
	wait_until(&x.loop, number(&x, "HLEN unacked") == 1, 1000);
	put_record(&x, field, "", "celery", "[1]", 1e9);
	tell(&x, "CLIENT KILL TYPE normal SKIPME yes");
	wait_until(&x.loop, t.ups == 2, 3000);
	wait_until(&x.loop, number(&x, "HLEN unacked") == 1, 4000);
	ck_assert_uint_eq(t.seen, 2);
	ck_assert(broker_is_held(t.broker, 1, t.tags[1]));
	taker_close(&x, &t);
	ck_assert_int_eq(number(&x, "LLEN celery"), 1);
	tear_down(&x);
}
END_TEST

START_TEST(full_memory_stops_neither_taking_nor_answering)
{
	struct fixture x;
	struct taker t;

	set_up(&x);
	for (int i = 0; i < 20; i++)
		put(&x, "celery", "[1]");
	tell(&x, "CONFIG SET maxmemory 1");
	taker_open(&x, &t, "celery", 4);
	t.acks = true;
	for (unsigned i = 0; i < t.seen; i++)
		broker_ack(t.broker, 1, t.tags[i]);
	wait_until(&x.loop, t.seen == 20, 3000);
	wait_until(&x.loop, number(&x, "HLEN unacked") == 0, 2000);
	taker_close(&x, &t);
	ck_assert_int_eq(number(&x, "ZCARD smallage.nodes"), 0);
	tear_down(&x);
}
END_TEST

/* C-47: popped, and the answer never came */
START_TEST(messages_whose_pop_was_not_answered_are_put_back)
{
	struct fixture x;
	struct redis_relay relay;
	struct taker t;

	set_up(&x);
	redis_relay_start_deaf(&relay, x.server.port, "delivery_tag");
	free(x.url);
	x.url = mem_printf("redis://127.0.0.1:%d/0", relay.port);
	x.options.url = x.url;
	for (int i = 0; i < 5; i++)
		put(&x, "celery", i % 2 ? "[1]" : "[0]");
	taker_open(&x, &t, "celery", 3);
	wait_until(&x.loop, t.ups == 2 && t.seen == 3, 4000);
	ck_assert(t.redelivered[0]);
	ck_assert_int_eq(number(&x, "HLEN unacked") + number(&x, "LLEN celery"), 5);
	t.acks = true;
	for (unsigned i = 0; i < 3; i++)
		broker_ack(t.broker, 1, t.tags[i]);
	wait_until(&x.loop, t.seen == 5, 2000);
	taker_close(&x, &t);
	ck_assert_int_eq(number(&x, "EXISTS unacked celery"), 0);
	redis_relay_stop(&relay);
	tear_down(&x);
}
END_TEST

/* Messages that are taken while old records are looked through are not taken for answered ones. */
START_TEST(a_reconnect_under_load_forgets_nothing)
{
	struct fixture x;
	struct taker t;

	set_up(&x);
	taker_open(&x, &t, "celery", 20);
	for (unsigned round = 1; round <= 200; round++) {
		for (int i = 0; i < 10; i++)
			put(&x, "celery", "[1]");
		if (round % 50 == 10)
			tell(&x, "CLIENT KILL TYPE normal SKIPME yes");
		wait_until(&x.loop, t.seen >= 10 * round, 4000);
		for (unsigned i = 10 * (round - 1); round < 199 && i < 10 * round; i++)
			broker_ack(t.broker, 1, t.tags[i]);
	}
	wait_until(&x.loop, number(&x, "HLEN unacked") == 20, 3000);
	taker_close(&x, &t);
	ck_assert_int_eq(number(&x, "LLEN celery"), 20);
	tear_down(&x);
}
END_TEST

/* A turn of the loop later, so that the next ones wait behind the prefetch count. */
static bool ack_seen(struct taker *t, unsigned *acked)
{
	for (; *acked < t->seen; ++*acked)
		broker_ack(t->broker, 1, t->tags[*acked]);
	return true;
}

/* Nor are those that were taken ahead, though nobody has seen them yet. */
START_TEST(a_reconnect_forgets_nothing_that_was_taken_ahead) /* timeout 30 */
{
	const unsigned all = 80000;
	struct fixture x;
	struct taker t;
	auto_free char *text = envelope("celery", "[1]", 0);
	unsigned acked = 0;
	int64_t until_us;

	set_up(&x);
	for (unsigned i = 0; i < all; i++)
		redisAppendCommand(x.client, "LPUSH celery %s", text);
	for (unsigned i = 0; i < all; i++) {
		redisReply *reply;

		ck_assert_int_eq(redisGetReply(x.client, (void **)&reply), REDIS_OK);
		freeReplyObject(reply);
	}
	taker_open(&x, &t, "celery", 8);
	wait_until(&x.loop, ack_seen(&t, &acked) && t.seen > 1000, 4000);
	tell(&x, "CLIENT KILL TYPE normal SKIPME yes");
	wait_until(&x.loop, ack_seen(&t, &acked) && t.ups == 2, 4000);
	until_us = clock_mono_us() + 1300000; /* what stands there is looked through with a tick */
	wait_until(&x.loop, ack_seen(&t, &acked) && (t.seen == all || clock_mono_us() > until_us),
		   4000);
	wait_until(&x.loop,
		   t.seen == all || (number(&x, "HLEN unacked") == 8 &&
				     number(&x, "LLEN celery") + t.seen == all),
		   5000);
	for (unsigned i = t.seen - 8; t.seen < all && i < t.seen; i++)
		ck_assert(broker_is_held(t.broker, 1, t.tags[i]));
	taker_close(&x, &t);
	tear_down(&x);
}
END_TEST
