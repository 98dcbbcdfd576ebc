/* What is sent without confirm, and exchanges that publications want declared. */
#include "tests/unit/transport/amqp_mail.h"

static void begin(struct fixture *f)
{
	fixture_init(f, fixture_url());
	fixture_open(f);
}

static void end(struct fixture *f, struct mails *m)
{
	fixture_close(f);
	if (m)
		mails_clear(m);
}

static uint64_t posts_dropped(struct fixture *f)
{
	struct broker_stats stats;

	broker_stats(f->broker, &stats);
	return stats.posts_dropped;
}

static void delete_exchange(struct fixture *f, const char *name)
{
	char command[512];

	snprintf(command, sizeof(command),
		 "eval 'rabbit_exchange:delete(rabbit_misc:r(<<\"/\">>, exchange, <<\"%s\">>), "
		 "false, <<\"test\">>).'",
		 name);
	fixture_ctl(f, command, NULL, 0);
}

/* A durable topic exchange as that of the events. */
static int publish_event(struct fixture *f, const char *exchange, const char *body)
{
	struct exchange_def def = {.name = exchange, .type = "topic", .is_durable = true};
	struct publication p = mail_publication(exchange, "worker.heartbeat", body);

	p.declare_exchange = &def;
	return broker_publish(f->broker, &p, fixture_published, f, NULL);
}

static void consume_events(struct fixture *f, const char *queue, const char *exchange)
{
	struct queue_def def = {
		.name = queue, .exchange = exchange, .exchange_type = "topic", .routing_key = "#"};

	f->acks_at_once = true;
	ck_assert_int_eq(broker_consume(f->broker, &def, NULL), 0);
}

START_TEST(posts_to_nobody_and_to_a_missing_exchange_touch_no_publish) /* timeout 60 */
{
	struct fixture f;
	struct mails m = {0};
	const char *q = fixture_queue("beside"), *ex = fixture_queue("beside-ex");

	if (!fixture_url())
		return;
	begin(&f);
	fixture_consume(&f, q, NULL);
	f.acks_at_once = true;
	mails_listen(&m, &f, fixture_queue("beside-box"), ex);
	fixture_start(&f);
	for (int i = 0; i < 500; i++) {
		ck_assert_int_eq(fixture_publish(&f, q, "x", 1), 0);
		mail_post(&f, "", "nobody-listens-here", "lost");
		if (i % 50 == 7)
			mail_post(&f, "no-such-exchange", "x", "lost");
		if (i % 100 == 0)
			fixture_run(&f, 20);
	}
	ck_assert(fixture_wait(&f, &f.confirmed, 500, 10000));
	ck_assert_uint_eq(f.refused, 0);
	ck_assert(fixture_wait(&f, &f.seen_count, 500, 10000));
	ck_assert(fixture_wait(&f, &f.notices, 1, 5000));
	ck_assert_ptr_nonnull(strstr(f.last_notice, "404 NOT_FOUND"));
	fixture_run(&f, 100);
	mail_post(&f, ex, "", "found");
	ck_assert(fixture_wait(&f, &m.count, 1, 5000));
	ck_assert_uint_eq(f.downs, 0);
	ck_assert_uint_eq(f.notices, 1); /* one line, however many */
	end(&f, &m);
}
END_TEST

START_TEST(an_exchange_that_nobody_may_declare_drops_only_its_own) /* timeout 60 */
{
	struct fixture f;
	struct mails m = {0};
	struct exchange_def def = {.name = "amq.not-yours", .type = "direct"};
	struct publication p = mail_publication("amq.not-yours", "x", "lost");
	const char *ex = fixture_queue("own");
	char out[4096] = "", *rest = NULL;

	if (!fixture_can_administer())
		return;
	begin(&f);
	mails_listen(&m, &f, fixture_queue("own-box"), ex);
	fixture_start(&f);
	p.declare_exchange = &def;
	broker_post(f.broker, &p);
	ck_assert_int_eq(broker_publish(f.broker, &p, fixture_published, &f, NULL), 0);
	mail_post(&f, ex, "", "one");
	ck_assert(fixture_wait(&f, &f.refused, 1, 5000));
	ck_assert_ptr_nonnull(strstr(f.last_refusal.text, "declare exchange 'amq.not-yours'"));
	ck_assert_ptr_nonnull(strstr(f.last_refusal.text, "403 ACCESS_REFUSED"));
	ck_assert(fixture_wait(&f, &m.count, 1, 5000));
	ck_assert_uint_eq(posts_dropped(&f), 1);
	broker_post(f.broker, &p); /* it is asked for again, and refused again */
	mail_post(&f, ex, "", "two");
	ck_assert(fixture_wait(&f, &m.count, 2, 5000));
	fixture_run(&f, 100);
	ck_assert_uint_eq(posts_dropped(&f), 2);
	fixture_run(&f, 500); /* but not when nobody wants it any more */
	fixture_ctl(&f, "list_connections recv_cnt", out, sizeof(out));
	for (char *at = strtok_r(out, "\n", &rest); at; at = strtok_r(NULL, "\n", &rest))
		ck_assert_int_lt(atoi(at), 300);
	end(&f, &m);
}
END_TEST

START_TEST(posts_are_dropped_and_counted_above_the_bound_and_without_connection) /* timeout 60 */
{
	struct fixture f;
	struct mails m = {0};
	const char *ex = fixture_queue("bound");
	static char large[1 << 20];

	if (!fixture_can_administer())
		return;
	begin(&f);
	mails_listen(&m, &f, fixture_queue("bound-box"), ex);
	fixture_start(&f);
	memset(large, 'x', sizeof(large) - 1);
	for (int i = 0; i < 12; i++)
		mail_post(&f, ex, "", large);
	ck_assert_uint_ge(posts_dropped(&f), 4);
	unsigned kept = 12 - (unsigned)posts_dropped(&f);
	ck_assert_uint_ge(kept, 7);
	ck_assert(fixture_wait(&f, &m.count, kept, 10000));
	ck_assert_uint_eq(strlen(m.bodies[0]), sizeof(large) - 1);

	uint64_t dropped = posts_dropped(&f);
	fixture_ctl(&f, "stop_app", NULL, 0);
	ck_assert(fixture_wait(&f, &f.downs, 2, 15000));
	fixture_run(&f, 200);
	mail_post(&f, ex, "", "nowhere to go");
	ck_assert_uint_eq(posts_dropped(&f), dropped + 1);
	fixture_ctl(&f, "start_app", NULL, 0);
	ck_assert(fixture_wait(&f, &f.ups, 2, 40000));
	for (int i = 0; i < 100 && m.count == kept; i++) {
		mail_post(&f, ex, "", "back");
		fixture_run(&f, 200);
	}
	ck_assert_uint_gt(m.count, kept);
	end(&f, &m);
}
END_TEST

START_TEST(events_are_in_order_and_complete_over_a_killed_connection) /* timeout 90 */
{
	struct fixture f;
	const char *q = fixture_queue("events-q"), *ex = fixture_queue("events-ex");
	char body[16];
	long want = 0;

	if (!fixture_can_administer())
		return;
	begin(&f);
	consume_events(&f, q, ex);
	fixture_start(&f);
	for (int i = 0; i < 600; i++) {
		snprintf(body, sizeof(body), "%d", i);
		ck_assert_int_eq(publish_event(&f, ex, body), 0);
		if (i == 200)
			fixture_run(&f, 50);
		if (i == 400)
			fixture_ctl(&f, "close_all_connections test", NULL, 0);
	}
	ck_assert(fixture_wait(&f, &f.confirmed, 600, 30000));
	ck_assert(fixture_wait(&f, &f.ups, 2, 30000));
	fixture_run(&f, 500);
	/* At least once: what was sent before may come again, but nothing is passed over. */
	for (unsigned i = 0; i < f.seen_count; i++) {
		char *text = strndup(f.seen[i].body, f.seen[i].body_len);
		long number = strtol(text, NULL, 10);
		free(text);
		ck_assert_int_le(number, want);
		want = number == want ? want + 1 : want;
	}
	ck_assert_int_eq(want, 600);
	ck_assert_uint_eq(f.refused, 0);
	end(&f, NULL);
}
END_TEST

START_TEST(a_deleted_exchange_is_declared_again_for_what_needs_it) /* timeout 60 */
{
	struct fixture f;
	struct mails m = {0};
	char command[256], out[4096] = "";
	const char *ex = fixture_queue("deleted-ex"), *replies = fixture_queue("deleted-replies");
	struct exchange_def def = {.name = replies, .type = "fanout"};
	struct publication p = mail_publication(replies, "", "reply");

	if (!fixture_can_administer())
		return;
	begin(&f);
	p.declare_exchange = &def;
	fixture_start(&f);
	ck_assert_int_eq(publish_event(&f, ex, "1"), 0);
	broker_post(f.broker, &p);
	ck_assert(fixture_wait(&f, &f.confirmed, 1, 5000));
	delete_exchange(&f, ex);
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(publish_event(&f, ex, "2"), 0);
	ck_assert(fixture_wait(&f, &f.confirmed, 21, 10000));
	ck_assert_uint_eq(f.refused, 0);
	broker_post(f.broker, &p);
	fixture_run(&f, 200);
	delete_exchange(&f, replies);
	broker_post(f.broker, &p); /* lost, but the next one declares it again */
	ck_assert(fixture_wait(&f, &f.notices, 1, 5000));
	broker_post(f.broker, &p);
	fixture_run(&f, 200);
	snprintf(command, sizeof(command), "list_exchanges name | grep %s", replies);
	fixture_ctl(&f, command, out, sizeof(out));
	ck_assert_ptr_nonnull(strstr(out, replies));
	mails_listen(&m, &f, fixture_queue("deleted-box"), replies);
	fixture_run(&f, 300);
	broker_post(f.broker, &p);
	ck_assert(fixture_wait(&f, &m.count, 1, 5000));
	end(&f, &m);
}
END_TEST

START_TEST(an_exchange_declared_otherwise_is_used_as_it_is) /* timeout 60 */
{
	struct fixture f;
	struct mails m = {0};
	const char *ex = fixture_queue("other-ex");
	struct exchange_def def = {.name = ex, .type = "direct", .is_durable = true};
	struct publication p = mail_publication(ex, "", "reply");

	if (!fixture_url())
		return;
	begin(&f);
	mails_listen(&m, &f, fixture_queue("other-box"), ex);
	fixture_start(&f);
	p.declare_exchange = &def;
	broker_post(f.broker, &p);
	ck_assert_int_eq(broker_publish(f.broker, &p, fixture_published, &f, NULL), 0);
	ck_assert(fixture_wait(&f, &m.count, 2, 5000));
	ck_assert(fixture_wait(&f, &f.confirmed, 1, 5000));
	ck_assert_uint_eq(f.notices, 1);
	ck_assert_ptr_nonnull(strstr(f.last_notice, "was declared differently: 406"));
	end(&f, &m);
}
END_TEST

/* Reply exchanges come with the requests, so a client may name any number of them. */
START_TEST(any_number_of_reply_exchanges_is_bounded) /* timeout 60 */
{
	struct fixture f;
	struct mails m = {0};
	const char *ex = fixture_queue("many");
	char name[64];

	if (!fixture_url())
		return;
	begin(&f);
	mails_listen(&m, &f, fixture_queue("many-box"), ex);
	fixture_start(&f);
	for (int i = 0; i < 600; i++) {
		struct exchange_def def = {.name = name, .type = "direct"};
		snprintf(name, sizeof(name), "%s-%d", ex, i % 300);
		struct publication p = mail_publication(name, "x", "y");
		p.declare_exchange = &def;
		broker_post(f.broker, &p);
		if (i % 100 == 99)
			fixture_run(&f, 300);
	}
	mail_post(&f, ex, "", "last");
	ck_assert(fixture_wait(&f, &m.count, 1, 10000));
	ck_assert_uint_eq(posts_dropped(&f), 0);
	ck_assert_uint_eq(f.notices, 0);
	end(&f, &m);
}
END_TEST

/* Declared, published and gone at once: what was posted leaves before the goodbye. */
START_TEST(what_was_posted_is_sent_before_the_end) /* timeout 60 */
{
	struct fixture f, g;
	struct mails m = {0};
	const char *ex = fixture_queue("farewell");

	if (!fixture_url())
		return;
	begin(&f);
	mails_listen(&m, &f, fixture_queue("farewell-box"), ex);
	fixture_start(&f);
	begin(&g);
	fixture_start(&g);
	mail_post(&g, ex, "", "good"); /* its connection is not even open */
	mail_post(&g, ex, "", "bye");
	end(&g, NULL);
	ck_assert(fixture_wait(&f, &m.count, 2, 5000));
	ck_assert_str_eq(m.bodies[1], "bye");
	end(&f, &m);
}
END_TEST

/* C-62 */
START_TEST(under_a_memory_alarm_posts_wait_but_nobody_waits_for_them_at_the_end) /* timeout 60 */
{
	struct fixture f, g;
	struct mails m = {0};
	const char *ex = fixture_queue("alarm");

	if (!fixture_can_administer())
		return;
	begin(&f);
	mails_listen(&m, &f, fixture_queue("alarm-box"), ex);
	fixture_start(&f);
	begin(&g);
	fixture_start(&g);
	mail_post(&f, ex, "", "before");
	mail_post(&g, ex, "", "before");
	ck_assert(fixture_wait(&f, &m.count, 1, 5000));
	fixture_ctl(&f, "set_vm_memory_high_watermark 0.00001", NULL, 0);
	fixture_run(&f, 300);
	fixture_run(&g, 300);
	for (int i = 0; i < 3; i++) { /* the first is what brings connection.blocked */
		mail_post(&f, ex, "", "during");
		mail_post(&g, ex, "", "during");
		fixture_wait(&f, &f.errors, 1, 3000);
		fixture_wait(&g, &g.errors, 1, 3000);
	}
	ck_assert_uint_eq(f.errors, 1);
	ck_assert_uint_eq(g.errors, 1);
	ck_assert_uint_eq(posts_dropped(&f), 0);
	uint64_t began = uv_hrtime();
	end(&g, NULL);
	ck_assert_uint_lt((uv_hrtime() - began) / 1000000, 4000);
	fixture_ctl(&f, "set_vm_memory_high_watermark 0.8", NULL, 0);
	ck_assert(fixture_wait(&f, &m.count, 5, 10000));
	ck_assert_uint_eq(posts_dropped(&f), 0);
	end(&f, &m);
}
END_TEST
