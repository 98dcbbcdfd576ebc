#include "tests/unit/transport/redis_letters_fixture.h"

static void listen_to(struct side *s, const struct mailbox_def *def)
{
	struct err err = {0};

	ck_assert_msg(redis_letters_listen(&s->letters, def, on_mail, s, &err) == 0, "%s",
		      err.text);
}

static const struct mailbox_def requests = {
	.queue = "w1@vm.celery.pidbox",
	.exchange = "celery.pidbox",
	.exchange_type = "fanout",
	.ttl_s = 300,
	.expires_s = 10,
};

static const struct mailbox_def answers = {
	.queue = "oid.reply.celery.pidbox",
	.exchange = "reply.celery.pidbox",
	.exchange_type = "direct",
	.binding_key = "oid",
	.ttl_s = 300,
	.expires_s = 10,
};

static void post(struct side *s, const char *exchange, const char *type, const char *key)
{
	const struct exchange_def declare = {.name = exchange, .type = type};

	redis_post_send(&s->letters.post, &(struct publication){
						  .exchange = exchange,
						  .routing_key = key,
						  .declare_exchange = &declare,
						  .content_type = "application/json",
						  .content_encoding = "utf-8",
						  .body = "{}",
						  .body_len = 2,
					  });
}

/* C-49 C-72 */
START_TEST(a_question_to_all_is_heard_and_answered_and_nothing_is_left)
{
	struct fixture x;
	long long now_ms = clock_wall_us() / 1000;
	redisReply *score;

	fixture_open(&x, NULL);
	listen_to(&x.a, &requests);
	listen_to(&x.b, &answers);
	wait_until(&x.loop, x.a.settled == 1 && x.b.settled == 1, 3000);
	ck_assert_int_eq(
		ask(&x, "SISMEMBER _kombu.binding.celery.pidbox %s", SEP SEP "w1@vm.celery.pidbox"),
		1);
	ck_assert_int_eq(ask(&x, "EXISTS _kombu.binding_permanent.celery.pidbox"), 0);
	score = redisCommand(x.client, "ZSCORE _kombu.binding_deadlines celery.pidbox");
	ck_assert_int_ge(atoll(score->str), now_ms + 3600000);
	freeReplyObject(score);

	post(&x.b, "celery.pidbox", "fanout", "");
	wait_until(&x.loop, x.a.mails == 1, 3000);
	for (int i = 0; i < 300; i++)
		post(&x.a, "reply.celery.pidbox", "direct", "oid");
	wait_until(&x.loop, x.b.mails == 300, 3000);
	wait_until(&x.loop, x.a.letters.post.posts == 300, 3000);
	ck_assert_str_eq(x.b.last_key, "oid");

	side_leave(&x, &x.a);
	side_leave(&x, &x.b);
	ck_assert_int_eq(ask(&x, "DBSIZE"), 0);
	fixture_close(&x);
}
END_TEST

/* C-50 */
START_TEST(the_answer_nobody_reads_goes_with_its_binding)
{
	struct fixture x;

	fixture_open(&x, NULL);
	wait_until(&x.loop, x.a.settled == 1, 3000);
	x.a.letters.post.answer_ms = 6500;
	ask(&x, "SADD _kombu.binding.reply.celery.pidbox %s",
	    "dead" SEP SEP "dead.reply.celery.pidbox");
	ask(&x, "SADD _kombu.binding.reply.celery.pidbox %s",
	    "other" SEP SEP "other.reply.celery.pidbox");
	post(&x.a, "reply.celery.pidbox", "direct", "dead");
	/* No binding, no answer. */
	post(&x.a, "reply.celery.pidbox", "direct", "gone");
	wait_until(&x.loop, x.a.letters.post.posts + x.a.letters.post.dropped == 2, 3000);
	ck_assert_int_eq(ask(&x, "LLEN dead.reply.celery.pidbox"), 1);
	ck_assert_int_gt(ask(&x, "PTTL dead.reply.celery.pidbox"), 0);
	ck_assert_int_eq(ask(&x, "EXISTS gone.reply.celery.pidbox"), 0);
	wait_until(&x.loop, ask(&x, "EXISTS dead.reply.celery.pidbox") == 0, 8000);
	ck_assert_int_eq(ask(&x, "SCARD _kombu.binding.reply.celery.pidbox"), 1);

	/* Who was answered once and never asks again is gone after an hour. */
	x.a.letters.post.answer_ms = 30000;
	post(&x.a, "reply.celery.pidbox", "direct", "other");
	wait_until(&x.loop, x.a.letters.post.posts == 2, 3000);
	ask(&x, "DEL other.reply.celery.pidbox");
	ck_assert_int_eq((int)map_count(x.a.letters.post.clients), 2);
	x.a.letters.post.silence_ms = x.a.letters.post.answer_ms = 0;
	wait_until(&x.loop, map_count(x.a.letters.post.clients) == 0, 3000);
	wait_until(&x.loop, ask(&x, "EXISTS _kombu.binding.reply.celery.pidbox") == 0, 3000);
	fixture_close(&x);
}
END_TEST

/* Reading them for each answer would be the end of the connection. */
START_TEST(a_table_full_of_dead_clients_is_not_read)
{
	static const char fill[] =
		"for i = 1, 70000 do redis.call('SADD', KEYS[1], i) end return 1";
	struct fixture x;

	fixture_open(&x, NULL);
	wait_until(&x.loop, x.a.settled == 1, 3000);
	ask(&x, "EVAL %s 1 _kombu.binding.reply.celery.pidbox", fill);
	ask(&x, "SADD _kombu.binding.reply.celery.pidbox %s",
	    "oid" SEP SEP "oid.reply.celery.pidbox");
	post(&x.a, "reply.celery.pidbox", "direct", "gone");
	post(&x.a, "reply.celery.pidbox", "direct", "oid");
	wait_until(&x.loop, x.a.letters.post.posts == 1 && x.a.letters.post.dropped == 1, 3000);
	ck_assert_int_eq(ask(&x, "LLEN oid.reply.celery.pidbox"), 1);
	ck_assert_uint_eq(x.a.settled, 1);
	fixture_close(&x);
}
END_TEST

START_TEST(an_answer_to_a_list_that_lasts_does_not_shorten_its_life)
{
	struct fixture x;

	fixture_open(&x, NULL);
	wait_until(&x.loop, x.a.settled == 1, 3000);
	ask(&x, "LPUSH celery {}");
	post(&x.a, "", "direct", "celery");
	post(&x.a, "", "direct", "fresh");
	wait_until(&x.loop, ask(&x, "EXISTS fresh") == 1, 3000);
	ck_assert_int_eq(ask(&x, "LLEN celery"), 2);
	ck_assert_int_eq(ask(&x, "PTTL celery"), -1);
	ck_assert_int_gt(ask(&x, "PTTL fresh"), 0);
	fixture_close(&x);
}
END_TEST

/* C-72 C-73 */
START_TEST(what_lasts_is_bound_for_good)
{
	static const struct queue_def queue = {.name = "q",
					       .exchange = "shared",
					       .exchange_type = "topic",
					       .routing_key = "a.*",
					       .is_auto_delete = true};
	struct fixture x;
	struct err err = {0};
	bool has_list;

	fixture_open(&x, "{\"global_keyprefix\": \"app:\"}");
	ck_assert_int_eq(
		redis_letters_consume(&x.a.letters, &queue, on_mail, &x.a, &has_list, &err), 0);
	ck_assert(has_list);
	wait_until(&x.loop, x.a.settled == 1, 3000);
	ck_assert_int_eq(ask(&x, "SISMEMBER app:_kombu.binding.shared %s",
			     "a.*" SEP "^a\\.[^\\.]+$" SEP "q"),
			 1);
	ck_assert_int_eq(ask(&x, "SISMEMBER app:_kombu.binding_permanent.shared %s",
			     "a.*" SEP "^a\\.[^\\.]+$" SEP "q"),
			 1);
	ck_assert_int_eq(ask(&x, "EXISTS app:_kombu.binding_deadlines"), 0);

	/* Somebody empties the database: the next connection has it again. */
	ask(&x, "FLUSHALL");
	ask(&x, "CLIENT KILL TYPE normal SKIPME yes");
	wait_until(&x.loop, x.a.settled == 2, 3000);
	ck_assert_int_eq(ask(&x, "SCARD app:_kombu.binding_permanent.shared"), 1);

	redis_letters_cancel(&x.a.letters, "q");
	ck_assert_int_eq(ask(&x, "SCARD app:_kombu.binding.shared"), 1); /* others may have it */
	fixture_close(&x);
}
END_TEST

START_TEST(a_private_queue_is_heard_and_popped_and_leaves_nothing)
{
	const struct queue_def queue = {.name = "bcast.1",
					.exchange = "news",
					.exchange_type = "fanout",
					.routing_key = "celery",
					.is_auto_delete = true,
					.is_private = true};
	struct fixture x;
	struct err err = {0};
	bool has_list = false;

	fixture_open(&x, NULL);
	ck_assert_int_eq(
		redis_letters_consume(&x.a.letters, &queue, on_mail, &x.a, &has_list, &err), 0);
	ck_assert(has_list); /* a Python producer that only sends pushes there */
	wait_until(&x.loop, x.a.settled == 1, 3000);
	ck_assert_int_eq(ask(&x, "SCARD _kombu.binding.news"), 1);
	/* Of a killed worker it would stay for ever without. */
	ck_assert_int_eq(ask(&x, "EXISTS _kombu.binding_deadlines"), 1);
	ask(&x, "LPUSH bcast.1 x");
	redis_letters_cancel(&x.a.letters, "bcast.1");
	wait_until(&x.loop, ask(&x, "DBSIZE") == 0, 3000);
	fixture_close(&x);
}
END_TEST

START_TEST(subscriptions_come_back_and_a_tracker_with_them)
{
	struct fixture x;

	fixture_open(&x, NULL);
	listen_to(&x.a, &requests);
	redis_letters_start(&x.a.letters, true);
	wait_until(&x.loop, x.a.settled == 1, 3000);
	ck_assert_int_gt(x.a.tracker, 0);
	ask(&x, "CLIENT KILL TYPE pubsub");
	wait_until(&x.loop, x.a.tracker == 0, 3000);
	wait_until(&x.loop, x.a.tracker > 0, 3000);
	post(&x.b, "celery.pidbox", "fanout", "");
	wait_until(&x.loop, x.a.mails == 1, 3000);
	ck_assert_uint_eq(x.a.settled, 1);
	redis_letters_unlisten(&x.a.letters, requests.queue);
	post(&x.b, "celery.pidbox", "fanout", "");
	ask(&x, "PUBLISH __redis__:invalidate x");
	wait_until(&x.loop, x.a.invalidations == 1 && x.b.letters.post.posts == 2, 3000);
	ck_assert_uint_eq(x.a.mails, 1);
	fixture_close(&x);
}
END_TEST

START_TEST(rubbish_in_a_mailbox_is_told_once)
{
	struct fixture x;

	fixture_open(&x, NULL);
	listen_to(&x.a, &requests);
	wait_until(&x.loop, x.a.settled == 1, 3000);
	uv_sleep(1);
	ask(&x, "PUBLISH /0.celery.pidbox rubbish");
	ask(&x, "PUBLISH /0.celery.pidbox {}");
	post(&x.b, "celery.pidbox", "fanout", "");
	wait_until(&x.loop, x.a.mails == 1, 3000);
	ck_assert_uint_le(x.a.notices, 1);
	fixture_close(&x);
}
END_TEST

/* C-50 */
START_TEST(a_server_that_forgets_its_scripts_costs_no_answer)
{
	struct fixture x;

	fixture_open(&x, NULL);
	wait_until(&x.loop, x.a.settled == 1, 3000);
	for (int i = 1; i <= 3; i++) {
		post(&x.a, "", "direct", "fresh");
		wait_until(&x.loop, ask(&x, "LLEN fresh") == i, 3000);
		ask(&x, "SCRIPT FLUSH");
	}
	ck_assert_uint_eq(x.a.letters.post.dropped, 0);
	fixture_close(&x);
}
END_TEST
