/* Taking, answering and giving back messages of a Redis broker. */
#include "tests/unit/transport/redis_broker_fixture.h"

/* C-45 */
START_TEST(messages_come_in_the_order_in_which_they_were_sent)
{
	struct fixture x;
	struct taker t;

	set_up(&x);
	for (int i = 0; i < 10; i++) {
		auto_free char *body = mem_printf("[%d]", i);

		put(&x, "celery", body);
	}
	taker_open(&x, &t, "celery", 4);
	wait_until(&x.loop, t.seen == 4, 2000);
	ck_assert_int_eq(number(&x, "HLEN unacked"), 4);
	ck_assert_int_eq(number(&x, "ZCARD unacked_index"), 4);
	for (int i = 0; i < 4; i++)
		broker_ack(t.broker, 1, t.tags[i]);
	wait_until(&x.loop, t.seen == 8, 2000);
	for (int i = 0; i < 8; i++) {
		auto_free char *body = mem_printf("[%d]", i);

		ck_assert_str_eq(t.bodies[i], body);
		ck_assert(!t.redelivered[i]);
	}
	/* What was taken ahead goes back. */
	wait_until(&x.loop, number(&x, "HLEN unacked") == 4, 1000);
	taker_close(&x, &t);
	ck_assert_int_eq(number(&x, "HLEN unacked"), 0);
	ck_assert_int_eq(number(&x, "ZCARD unacked_index"), 0);
	ck_assert_int_eq(number(&x, "ZCARD smallage.nodes"), 0);
	ck_assert_int_eq(number(&x, "LLEN celery"), 6);
	tear_down(&x);
}
END_TEST

/* C-47: what was taken and not answered is served next, in its order, marked */
START_TEST(a_stop_puts_back_what_was_not_answered)
{
	struct fixture x;
	struct taker t;

	set_up(&x);
	for (int i = 0; i < 6; i++) {
		auto_free char *body = mem_printf("[%d]", i);

		put(&x, "celery", body);
	}
	taker_open(&x, &t, "celery", 4);
	wait_until(&x.loop, t.seen == 4, 2000);
	broker_ack(t.broker, 1, t.tags[1]);
	broker_pause(t.broker);
	broker_reject(t.broker, 1, t.tags[0], true);
	broker_reject(t.broker, 1, t.tags[2], true);
	taker_close(&x, &t);
	taker_open(&x, &t, "celery", 10);
	wait_until(&x.loop, t.seen == 5, 2000);
	ck_assert_str_eq(t.bodies[3], "[4]");
	ck_assert(!t.redelivered[3]);
	for (int i = 0; i < 3; i++)
		ck_assert(t.redelivered[i]);
	taker_close(&x, &t);
	tear_down(&x);
}
END_TEST

START_TEST(a_new_message_is_taken_soon)
{
	struct fixture x;
	struct taker t;

	set_up(&x);
	taker_open(&x, &t, "celery other", 4);
	t.acks = true;
	put(&x, "other", "[1]");
	wait_until(&x.loop, t.seen == 1, 2000);
	put(&x, "celery", "[2]");
	wait_until(&x.loop, t.seen == 2, 2000);
	taker_close(&x, &t);
	ck_assert_int_eq(number(&x, "EXISTS unacked unacked_index"), 0);
	tear_down(&x);
}
END_TEST

/* C-48 */
START_TEST(priorities_are_served_from_zero_on)
{
	static const int priorities[] = {9, 5, 0, 3, 7, 1};
	static const char *const order[] = {"0", "1", "5", "3", "7", "9"};
	struct fixture x;
	struct taker t;

	set_up(&x);
	for (int i = 0; i < 6; i++) {
		auto_free char *body = mem_printf("%d", priorities[i]);
		auto_free char *text = envelope("celery", body, priorities[i]);
		int step = priorities[i] / 3 * 3;

		if (step == 0)
			tell(&x, "LPUSH celery %s", text);
		else
			tell(&x, "LPUSH celery\x06\x16%d %s", step, text);
	}
	taker_open(&x, &t, "celery", 10);
	wait_until(&x.loop, t.seen == 6, 2000);
	for (int i = 0; i < 6; i++)
		ck_assert_str_eq(t.bodies[i], order[i]);
	taker_close(&x, &t);
	/* Each is where it was. */
	ck_assert_int_eq(number(&x, "LLEN celery"), 2);
	ck_assert_int_eq(number(&x, "LLEN celery\x06\x16"
				    "9"),
			 1);
	tear_down(&x);
}
END_TEST

START_TEST(what_is_no_envelope_is_set_aside)
{
	struct fixture x;
	struct taker t;

	set_up(&x);
	put(&x, "celery", "[1]");
	tell(&x, "LPUSH celery %s", "no json");
	tell(&x, "LPUSH celery %s", "{\"half\": ");
	tell(&x, "LPUSH celery %s", "{\"body\": }");
	put(&x, "celery", "[2]");
	taker_open(&x, &t, "celery", 10);
	wait_until(&x.loop, t.seen == 2 && t.errors == 3, 2000);
	wait_until(&x.loop, number(&x, "LLEN smallage.rejected.celery") == 3, 2000);
	ck_assert_int_eq(number(&x, "HLEN unacked"), 2);
	taker_close(&x, &t);
	ck_assert_int_eq(number(&x, "HLEN unacked"), 0);
	tear_down(&x);
}
END_TEST

/* C-51 */
START_TEST(deliveries_outlive_their_connection)
{
	struct fixture x;
	struct taker t;

	set_up(&x);
	put(&x, "celery", "[1]");
	put(&x, "celery", "[2]");
	taker_open(&x, &t, "celery", 10);
	wait_until(&x.loop, t.seen == 2, 2000);
	tell(&x, "CLIENT KILL TYPE normal SKIPME yes");
	broker_ack(t.broker, 1, t.tags[0]);
	wait_until(&x.loop, t.downs == 1 && t.is_up, 3000);
	broker_ack(t.broker, 1, t.tags[1]);
	wait_until(&x.loop, number(&x, "HLEN unacked") == 0, 2000);
	ck_assert_uint_eq(t.seen, 2);
	put(&x, "celery", "[3]");
	wait_until(&x.loop, t.seen == 3, 2000);
	taker_close(&x, &t);
	tear_down(&x);
}
END_TEST

/* Quick tasks: more is taken than the prefetch count says; when they slow down it goes back. */
START_TEST(what_was_taken_ahead_goes_back_when_nothing_moves)
{
	struct fixture x;
	struct taker t;
	unsigned seen;

	set_up(&x);
	for (int i = 0; i < 3000; i++) {
		auto_free char *body = mem_printf("[%d]", i);

		put(&x, "celery", body);
	}
	taker_open(&x, &t, "celery", 8);
	t.acks = true;
	for (unsigned i = 0; i < t.seen; i++)
		broker_ack(t.broker, 1, t.tags[i]);
	wait_until(&x.loop, t.seen > 1000, 4000);
	t.acks = false;
	seen = t.seen;
	wait_until(&x.loop,
		   number(&x, "HLEN unacked") == 8 && number(&x, "LLEN celery") + t.seen == 3000,
		   3000);
	ck_assert_uint_ge(t.seen, seen);
	ck_assert_uint_le(t.seen, seen + 8);
	seen = t.seen;
	t.acks = true;
	for (unsigned i = seen - 8; i < seen; i++)
		broker_ack(t.broker, 1, t.tags[i]);
	wait_until(&x.loop, t.seen == 3000, 4000);
	for (int i = 0; i < 3000; i++) {
		auto_free char *body = mem_printf("[%d]", i);

		ck_assert_str_eq(t.bodies[i], body);
	}
	taker_close(&x, &t);
	ck_assert_int_eq(number(&x, "EXISTS unacked celery"), 0);
	tear_down(&x);
}
END_TEST

static char *first_body(struct fixture *x, const char *queue, int at)
{
	redisReply *reply = ask(x, "LINDEX %s %d", queue, -1 - at);
	struct message m;
	struct err err = {0};
	char *body;

	ck_assert_int_eq(reply->type, REDIS_REPLY_STRING);
	message_init(&m);
	ck_assert_int_eq(envelope_decode(&m, reply->str, reply->len, 1 << 20, &err), 0);
	ck_assert(m.is_redelivered);
	body = mem_dup(m.body, m.body_len);
	message_clear(&m);
	freeReplyObject(reply);
	return body;
}

/* C-47 C-51: with scripts that the server has forgotten, and a list that cannot be pushed to */
START_TEST(thousands_are_put_back_in_their_order_whatever_fails_between)
{
	const int all = 5000;
	struct fixture x;
	struct taker t;

	set_up(&x);
	for (int i = 0; i < all; i++) {
		auto_free char *body = mem_printf("[%d]", i);

		put(&x, i % 1000 == 500 ? "bad" : "celery", body);
	}
	taker_open(&x, &t, "celery bad", 0);
	wait_until(&x.loop, t.seen == (unsigned)all, 5000);
	tell(&x, "SET bad string");
	/* These go alone, so that the script is known. */
	broker_reject(t.broker, 1, t.tags[0], true);
	wait_until(&x.loop, t.seen == (unsigned)all + 1, 3000);
	tell(&x, "SCRIPT FLUSH");
	taker_close(&x, &t);
	ck_assert_int_eq(number(&x, "LLEN celery"), all - 5);
	ck_assert_int_eq(number(&x, "HLEN unacked"), 5);
	/* The first one was given back to be served last, and taken last. */
	for (int i = 1, at = 0; i < all; i++) {
		if (i % 1000 == 500)
			continue;
		auto_free char *body = first_body(&x, "celery", at++);
		auto_free char *expected = mem_printf("[%d]", i);

		ck_assert_str_eq(body, expected);
	}
	tear_down(&x);
}
END_TEST
