#include "tests/unit/transport/amqp_fixture.h"

START_TEST(a_published_message_comes_back_whole)
{
	struct fixture f;
	const char *q = fixture_queue("whole");

	if (!fixture_url())
		return;
	fixture_init(&f, fixture_url());
	f.acks_at_once = true;
	fixture_open(&f);
	fixture_consume(&f, q, NULL);
	fixture_start(&f);
	json_t *headers = json_pack("{s:s, s:n, s:i, s:I, s:f, s:b, s:[i,n], s:{s:s}}", "task",
				    "a.b", "eta", "retries", 3, "big", (json_int_t)1 << 40, "f",
				    1.5, "flag", 1, "timelimit", 10, "stamps", "k", "\xc3\xa9");
	struct publication p = {
		.exchange = "",
		.routing_key = q,
		.content_type = "application/json",
		.content_encoding = "utf-8",
		.correlation_id = "id-1",
		.reply_to = "",
		.expiration = "60000",
		.priority = 5,
		.delivery_mode = 2,
		.headers = headers,
		.body = "[[], {}, null]",
		.body_len = 14,
	};
	ck_assert_int_eq(broker_publish(f.broker, &p, fixture_published, &f, NULL), 0);
	ck_assert(fixture_wait(&f, &f.seen_count, 1, 5000));
	ck_assert(fixture_wait(&f, &f.confirmed, 1, 5000));
	struct seen *s = &f.seen[0];
	ck_assert_str_eq(s->body, "[[], {}, null]");
	ck_assert(json_equal(s->headers, headers));
	ck_assert_str_eq(s->content_type, "application/json");
	ck_assert_str_eq(s->content_encoding, "utf-8");
	ck_assert_str_eq(s->correlation_id, "id-1");
	ck_assert_str_eq(s->reply_to, "");
	ck_assert_str_eq(s->expiration, "60000");
	ck_assert_str_eq(s->routing_key, q);
	ck_assert_str_eq(s->exchange, "");
	ck_assert_int_eq(s->priority, 5);
	ck_assert_int_eq(s->delivery_mode, 2);
	ck_assert(!s->is_redelivered);
	json_decref(headers);
	fixture_close(&f);
}
END_TEST

static void publish_numbers(struct fixture *f, const char *queue, unsigned count)
{
	char body[16];

	for (unsigned i = 0; i < count; i++) {
		int len = snprintf(body, sizeof(body), "%u", i);
		ck_assert_int_eq(fixture_publish(f, queue, body, (size_t)len), 0);
	}
	ck_assert(fixture_wait(f, &f->confirmed, f->confirmed + count, 10000));
}

/* What is left in the queue: consumes it with another connection for a while. */
static unsigned left_in(const char *queue, struct fixture *ret)
{
	fixture_init(ret, fixture_url());
	fixture_open(ret);
	fixture_consume(ret, queue, NULL);
	fixture_start(ret);
	fixture_run(ret, 300);
	return ret->seen_count;
}

START_TEST(acks_in_any_order_settle_just_what_was_acked)
{
	struct fixture f, g;
	const char *q = fixture_queue("order");
	static const unsigned keep[] = {3, 17, 18, 99};

	if (!fixture_url())
		return;
	fixture_init(&f, fixture_url());
	fixture_open(&f);
	fixture_consume(&f, q, NULL);
	fixture_start(&f);
	publish_numbers(&f, q, 100);
	ck_assert(fixture_wait(&f, &f.seen_count, 100, 5000));
	/* Backwards and in three turns of the loop. */
	for (unsigned i = 100; i-- > 0;) {
		bool is_kept = false;
		for (unsigned k = 0; k < 4; k++)
			is_kept = is_kept || keep[k] == i;
		if (!is_kept)
			broker_ack(f.broker, f.seen[i].session, f.seen[i].tag);
		if (i == 60 || i == 10)
			fixture_run(&f, 30);
	}
	fixture_close(&f);

	ck_assert_uint_eq(left_in(q, &g), 4);
	for (unsigned k = 0; k < 4; k++) {
		ck_assert_int_eq(atoi(g.seen[k].body), (int)keep[k]);
		ck_assert(g.seen[k].is_redelivered);
		broker_ack(g.broker, g.seen[k].session, g.seen[k].tag);
	}
	fixture_close(&g);
}
END_TEST

START_TEST(a_second_ack_and_one_of_another_session_do_no_harm)
{
	struct fixture f, g;
	struct broker_stats stats;
	const char *q = fixture_queue("twice");

	if (!fixture_url())
		return;
	fixture_init(&f, fixture_url());
	fixture_open(&f);
	fixture_consume(&f, q, NULL);
	fixture_start(&f);
	publish_numbers(&f, q, 2);
	ck_assert(fixture_wait(&f, &f.seen_count, 2, 5000));
	broker_ack(f.broker, f.seen[0].session, f.seen[0].tag);
	broker_ack(f.broker, f.seen[0].session, f.seen[0].tag);
	broker_ack(f.broker, f.seen[0].session + 1, f.seen[1].tag);
	broker_ack(f.broker, f.seen[0].session, 4711);
	fixture_run(&f, 200);
	broker_stats(f.broker, &stats);
	ck_assert_uint_eq(stats.acked, 1);
	ck_assert_uint_eq(stats.late_acks, 3);
	ck_assert_uint_eq(f.downs, 0);
	fixture_close(&f);
	ck_assert_uint_eq(left_in(q, &g), 1);
	broker_ack(g.broker, g.seen[0].session, g.seen[0].tag);
	fixture_close(&g);
}
END_TEST

START_TEST(rejected_messages_go_or_come_back)
{
	struct fixture f;
	const char *q = fixture_queue("reject");

	if (!fixture_url())
		return;
	fixture_init(&f, fixture_url());
	fixture_open(&f);
	fixture_consume(&f, q, NULL);
	fixture_start(&f);
	publish_numbers(&f, q, 2);
	ck_assert(fixture_wait(&f, &f.seen_count, 2, 5000));
	broker_reject(f.broker, f.seen[0].session, f.seen[0].tag, false);
	broker_reject(f.broker, f.seen[1].session, f.seen[1].tag, true);
	ck_assert(fixture_wait(&f, &f.seen_count, 3, 5000));
	ck_assert_str_eq(f.seen[2].body, "1");
	ck_assert(f.seen[2].is_redelivered);
	broker_ack(f.broker, f.seen[2].session, f.seen[2].tag);
	fixture_run(&f, 200);
	ck_assert_uint_eq(f.seen_count, 3);
	fixture_close(&f);
}
END_TEST

/* T-47 T-49 C-63 */
START_TEST(the_prefetch_count_holds_and_can_be_changed_while_consuming)
{
	struct fixture f;
	const char *q = fixture_queue("qos");

	if (!fixture_url())
		return;
	fixture_init(&f, fixture_url());
	fixture_open(&f);
	fixture_consume(&f, q, NULL);
	broker_qos(f.broker, 3, 0);
	fixture_start(&f);
	publish_numbers(&f, q, 20);
	fixture_run(&f, 200);
	ck_assert_uint_eq(f.seen_count, 3);
	broker_ack(f.broker, f.seen[0].session, f.seen[0].tag);
	fixture_run(&f, 200);
	ck_assert_uint_eq(f.seen_count, 4);
	broker_qos(f.broker, 4, 0);
	broker_qos(f.broker, 5, 0);
	fixture_run(&f, 200);
	ck_assert_uint_eq(f.seen_count, 6);
	broker_qos(f.broker, 65538, 0); /* above what the wire can say: no limit */
	f.acks_at_once = true;
	ck_assert(fixture_wait(&f, &f.seen_count, 20, 3000));
	for (unsigned i = 1; i < 6; i++)
		broker_ack(f.broker, f.seen[i].session, f.seen[i].tag);
	fixture_close(&f);
}
END_TEST

START_TEST(large_and_empty_bodies_pass)
{
	struct fixture f;
	const char *q = fixture_queue("large");
	size_t size = 3000001;

	if (!fixture_url())
		return;
	fixture_init(&f, fixture_url());
	f.acks_at_once = true;
	fixture_open(&f);
	fixture_consume(&f, q, NULL);
	fixture_start(&f);
	char *body = malloc(size);
	for (size_t i = 0; i < size; i++)
		body[i] = (char)(i * 31 % 251);
	ck_assert_int_eq(fixture_publish(&f, q, body, size), 0);
	ck_assert_int_eq(fixture_publish(&f, q, "", 0), 0);
	ck_assert_int_eq(fixture_publish(&f, q, body, size - 7), 0);
	ck_assert(fixture_wait(&f, &f.seen_count, 3, 8000));
	ck_assert(fixture_wait(&f, &f.confirmed, 3, 8000));
	ck_assert_uint_eq(f.seen[0].body_len, size);
	ck_assert_int_eq(memcmp(f.seen[0].body, body, size), 0);
	ck_assert_uint_eq(f.seen[1].body_len, 0);
	ck_assert_str_eq(f.seen[1].body, "");
	ck_assert_uint_eq(f.seen[2].body_len, size - 7);
	free(body);
	fixture_close(&f);
}
END_TEST

START_TEST(a_message_above_the_limit_is_rejected_with_a_notice)
{
	struct fixture f, g;
	const char *q = fixture_queue("limit");
	char *body = calloc(1, 300001);

	if (!fixture_url())
		return;
	fixture_init(&f, fixture_url());
	f.options.max_message_bytes = 300000;
	f.acks_at_once = true;
	fixture_open(&f);
	fixture_consume(&f, q, NULL);
	fixture_start(&f);
	ck_assert_int_eq(fixture_publish(&f, q, body, 300001), 0);
	ck_assert_int_eq(fixture_publish(&f, q, body, 300000), 0);
	ck_assert(fixture_wait(&f, &f.seen_count, 1, 5000));
	ck_assert_uint_eq(f.seen[0].body_len, 300000);
	ck_assert_uint_eq(f.errors, 1);
	ck_assert_ptr_nonnull(strstr(f.last_notice, "300001"));
	free(body);
	fixture_close(&f);
	ck_assert_uint_eq(left_in(q, &g), 0);
	fixture_close(&g);
}
END_TEST

START_TEST(publishes_are_bounded_in_bytes)
{
	struct fixture f;
	struct err err = {0};
	char body[1000] = "";
	struct publication p = {
		.exchange = "",
		.routing_key = "x",
		.priority = -1,
		.body = body,
		.body_len = sizeof(body),
	};
	unsigned taken = 0;

	fixture_init(&f, "amqp://127.0.0.1:1//"); /* nobody is there */
	f.options.max_publish_bytes = 10000;
	fixture_open(&f);
	while (taken < 100 && broker_publish(f.broker, &p, fixture_published, &f, &err) == 0)
		taken++;
	ck_assert_uint_ge(taken, 7);
	ck_assert_uint_lt(taken, 10);
	ck_assert_int_eq(err.code, ERR_LIMIT);
	broker_close(f.broker, 0.2);
	ck_assert(fixture_wait(&f, &f.closed, 1, 2000));
	ck_assert_uint_eq(f.refused, taken); /* every publish gets its answer */
	fixture_close(&f);
}
END_TEST

/* C-61 */
START_TEST(a_publish_to_a_missing_exchange_fails_alone)
{
	struct fixture f;
	const char *q = fixture_queue("missing");
	struct publication p = {
		.exchange = "no-such-exchange",
		.routing_key = "x",
		.priority = -1,
		.body = "",
	};

	if (!fixture_url())
		return;
	fixture_init(&f, fixture_url());
	f.acks_at_once = true;
	fixture_open(&f);
	fixture_consume(&f, q, NULL);
	fixture_start(&f);
	publish_numbers(&f, q, 1); /* declares the queue, so that the next ones go together */
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(fixture_publish(&f, q, "good", 4), 0);
	ck_assert_int_eq(broker_publish(f.broker, &p, fixture_published, &f, NULL), 0);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(fixture_publish(&f, q, "good", 4), 0);
	ck_assert(fixture_wait(&f, &f.confirmed, 11, 5000));
	ck_assert(fixture_wait(&f, &f.refused, 1, 5000));
	ck_assert_ptr_nonnull(strstr(f.last_refusal.text, "404 NOT_FOUND"));
	ck_assert(fixture_wait(&f, &f.seen_count, 11, 5000));
	ck_assert_uint_eq(f.downs, 0);
	fixture_close(&f);
}
END_TEST

/* T-45 C-61 */
START_TEST(a_queue_declared_differently_is_reported_while_others_go_on)
{
	struct fixture f, g;
	const char *q = fixture_queue("args");
	const char *other = fixture_queue("args-other");

	if (!fixture_url())
		return;
	fixture_init(&g, fixture_url());
	fixture_open(&g);
	fixture_consume(&g, q, "{\"x-max-priority\": 10}");
	fixture_start(&g);
	fixture_close(&g);

	fixture_init(&f, fixture_url());
	fixture_open(&f);
	fixture_consume(&f, q, NULL);
	fixture_consume(&f, other, NULL);
	fixture_start(&f);
	ck_assert_uint_eq(f.errors, 1);
	ck_assert_ptr_nonnull(strstr(f.last_notice, q));
	ck_assert_ptr_nonnull(strstr(f.last_notice, "406 PRECONDITION_FAILED"));
	ck_assert_ptr_nonnull(strstr(f.last_notice, "2 seconds"));
	publish_numbers(&f, other, 3);
	ck_assert(fixture_wait(&f, &f.seen_count, 3, 3000));
	ck_assert(fixture_wait(&f, &f.errors, 2, 3000)); /* tried again after 2 s, not before */
	ck_assert_uint_eq(f.errors, 2);
	ck_assert_uint_eq(f.downs, 0);
	fixture_close(&f);
}
END_TEST

START_TEST(purging_happens_once_before_the_first_consume)
{
	struct fixture f, g;
	const char *q = fixture_queue("purged");

	if (!fixture_url())
		return;
	fixture_init(&g, fixture_url());
	fixture_open(&g);
	fixture_consume(&g, q, NULL);
	fixture_start(&g);
	publish_numbers(&g, q, 7);
	fixture_close(&g);

	fixture_init(&f, fixture_url());
	f.options.purges = true;
	f.acks_at_once = true;
	fixture_open(&f);
	fixture_consume(&f, q, NULL);
	fixture_start(&f);
	ck_assert_uint_eq(f.notices, 1);
	ck_assert_ptr_nonnull(strstr(f.last_notice, "purged: 7 messages of queue"));
	publish_numbers(&f, q, 2);
	ck_assert(fixture_wait(&f, &f.seen_count, 2, 3000));
	ck_assert_uint_eq(f.seen_count, 2);
	/* A queue that is asked for later keeps what is in it. */
	broker_cancel(f.broker, q);
	fixture_run(&f, 100);
	publish_numbers(&f, q, 2);
	fixture_consume(&f, q, NULL);
	ck_assert(fixture_wait(&f, &f.seen_count, 4, 3000));
	ck_assert_uint_eq(f.notices, 1);
	fixture_close(&f);
}
END_TEST

START_TEST(queues_can_be_added_and_cancelled_while_running)
{
	struct fixture f;
	const char *a = fixture_queue("dyn-a"), *b = fixture_queue("dyn-b");

	if (!fixture_url())
		return;
	fixture_init(&f, fixture_url());
	f.acks_at_once = true;
	fixture_open(&f);
	fixture_consume(&f, a, NULL);
	fixture_start(&f);
	fixture_consume(&f, b, NULL);
	fixture_run(&f, 200);
	publish_numbers(&f, b, 2);
	ck_assert(fixture_wait(&f, &f.seen_count, 2, 3000));
	broker_cancel(f.broker, b);
	fixture_run(&f, 100);
	publish_numbers(&f, b, 2);
	publish_numbers(&f, a, 1);
	fixture_run(&f, 200);
	ck_assert_uint_eq(f.seen_count, 3);
	fixture_consume(&f, b, NULL);
	ck_assert(fixture_wait(&f, &f.seen_count, 5, 3000));
	broker_pause(f.broker);
	publish_numbers(&f, a, 2);
	fixture_run(&f, 200);
	ck_assert_uint_eq(f.seen_count, 5);
	fixture_close(&f);
}
END_TEST

START_TEST(closing_confirms_what_was_published_and_sends_the_acks)
{
	struct fixture f, g;
	const char *q = fixture_queue("closing");

	if (!fixture_url())
		return;
	fixture_init(&f, fixture_url());
	fixture_open(&f);
	fixture_consume(&f, q, NULL);
	fixture_start(&f);
	publish_numbers(&f, q, 50);
	ck_assert(fixture_wait(&f, &f.seen_count, 50, 3000));
	for (unsigned i = 0; i < 50; i++)
		broker_ack(f.broker, f.seen[i].session, f.seen[i].tag);
	for (unsigned i = 0; i < 500; i++)
		ck_assert_int_eq(fixture_publish(&f, q, "later", 5), 0);
	fixture_close(&f);
	ck_assert_uint_eq(f.confirmed, 550);
	ck_assert_uint_eq(left_in(q, &g), 500);
	for (unsigned i = 0; i < g.seen_count; i++)
		broker_ack(g.broker, g.seen[i].session, g.seen[i].tag);
	fixture_close(&g);
}
END_TEST
