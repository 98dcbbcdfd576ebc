/* Which kind of prefetch count is in force, and what changing it does to the messages. */
#include "tests/unit/transport/amqp_fixture.h"

static void publish(struct fixture *f, const char *queue, unsigned from, unsigned to)
{
	char body[32];

	for (unsigned i = from; i < to; i++) {
		snprintf(body, sizeof(body), "%u", i);
		ck_assert_int_eq(fixture_publish(f, queue, body, strlen(body)), 0);
	}
	ck_assert(fixture_wait(f, &f->confirmed, to, 5000));
}

static void begin(struct fixture *f, const char *queue, const char *arguments, unsigned count)
{
	fixture_init(f, fixture_url());
	fixture_open(f);
	fixture_consume(f, queue, arguments);
	broker_qos(f->broker, count, 0);
}

/* The consumer's channel: "own shared". Other tests' connections are gone by now. */
static void expect_counts(struct fixture *f, const char *want)
{
	char text[4096];
	const char *line = text;

	fixture_ctl(f,
		    "list_channels --no-table-headers prefetch_count global_prefetch_count "
		    "consumer_count",
		    text, sizeof(text));
	while (line && *line) {
		unsigned own, shared, consumers;
		char got[32] = "";

		if (sscanf(line, "%u %u %u", &own, &shared, &consumers) == 3 && consumers > 0) {
			snprintf(got, sizeof(got), "%u %u", own, shared);
			ck_assert_str_eq(got, want);
			return;
		}
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	ck_abort_msg("nobody consumes: %s", text);
}

/* T-47 */
START_TEST(one_queue_is_counted_on_its_own_until_the_count_changes) /* timeout 60 */
{
	struct fixture f;

	if (!fixture_can_administer())
		return;
	begin(&f, fixture_queue("own"), NULL, 7);
	fixture_start(&f);
	expect_counts(&f, "7 0");
	broker_qos(f.broker, 8, 0);
	fixture_run(&f, 300);
	expect_counts(&f, "0 8");
	broker_qos(f.broker, 7, 0);
	fixture_run(&f, 300);
	expect_counts(&f, "0 7");
	fixture_close(&f);
}
END_TEST

/* T-47 */
START_TEST(several_queues_share_one_count) /* timeout 60 */
{
	struct fixture f;
	const char *first = fixture_queue("share-a"), *second = fixture_queue("share-b");

	if (!fixture_can_administer())
		return;
	begin(&f, first, NULL, 3);
	fixture_start(&f);
	publish(&f, first, 0, 10);
	publish(&f, second, 10, 20);
	fixture_consume(&f, second, NULL); /* while the first is consumed already */
	fixture_run(&f, 500);
	expect_counts(&f, "0 3");
	ck_assert_uint_eq(f.seen_count, 3);
	f.acks_at_once = true;
	for (unsigned i = 0; i < 3; i++)
		broker_ack(f.broker, f.seen[i].session, f.seen[i].tag);
	ck_assert(fixture_wait(&f, &f.seen_count, 20, 5000));
	fixture_close(&f);
}
END_TEST

START_TEST(a_queue_with_a_single_active_consumer_is_never_consumed_anew) /* timeout 60 */
{
	struct fixture f;

	if (!fixture_can_administer())
		return;
	begin(&f, fixture_queue("sac"), "{\"x-single-active-consumer\": true}", 3);
	fixture_start(&f);
	expect_counts(&f, "0 3");
	fixture_close(&f);
}
END_TEST

/* T-49 */
START_TEST(changing_the_count_under_load_neither_loses_nor_repeats_a_message)
{
	struct fixture f;
	const char *q = fixture_queue("load");
	unsigned acked = 0;
	bool is_seen[600] = {false};

	if (!fixture_url())
		return;
	begin(&f, q, NULL, 4);
	fixture_start(&f);
	publish(&f, q, 0, 600);
	while (acked < 600) {
		ck_assert_uint_le(f.seen_count - acked, 20);
		ck_assert(fixture_wait(&f, &f.seen_count, acked + 1, 5000));
		for (; acked < f.seen_count; acked++)
			broker_ack(f.broker, f.seen[acked].session, f.seen[acked].tag);
		/* Changes again and again, within turns of the loop and between them. */
		broker_qos(f.broker, 4 + acked % 17, 0);
	}
	fixture_run(&f, 200);
	ck_assert_uint_eq(f.seen_count, 600);
	ck_assert_uint_eq(f.downs, 0);
	for (unsigned i = 0; i < 600; i++) {
		unsigned number = (unsigned)strtoul(f.seen[i].body, NULL, 10);

		ck_assert(!f.seen[i].is_redelivered);
		ck_assert_uint_lt(number, 600);
		ck_assert(!is_seen[number]);
		is_seen[number] = true;
	}
	fixture_close(&f);
}
END_TEST

/* C-59 */
START_TEST(a_new_connection_begins_with_a_count_of_its_own) /* timeout 60 */
{
	struct fixture f;

	if (!fixture_can_administer())
		return;
	begin(&f, fixture_queue("again"), NULL, 5);
	fixture_start(&f);
	broker_qos(f.broker, 6, 0);
	fixture_run(&f, 300);
	fixture_ctl(&f, "close_all_connections test", NULL, 0);
	ck_assert(fixture_wait(&f, &f.ups, 2, 10000));
	expect_counts(&f, "6 0");
	fixture_close(&f);
}
END_TEST

static void holds(struct fixture *f, unsigned count)
{
	ck_assert(fixture_wait(f, &f->seen_count, count, 5000));
	fixture_run(f, 300);
	ck_assert_uint_eq(f->seen_count, count);
}

/* T-49 T-51 C-63 */
START_TEST(what_waits_does_not_hold_up_a_consumer_with_a_count_of_its_own)
{
	struct fixture f;
	const char *q = fixture_queue("quorum");

	if (!fixture_url())
		return;
	begin(&f, q, "{\"x-queue-type\": \"quorum\"}", 4);
	fixture_start(&f);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_int_eq(fixture_publish(&f, q, "x", 1), 0);
	holds(&f, 4);
	broker_qos(f.broker, 4, 1); /* one is not worth it */
	holds(&f, 4);
	broker_qos(f.broker, 4, 2);
	holds(&f, 8);
	broker_qos(f.broker, 4, 4); /* four others are in hand */
	holds(&f, 8);
	broker_qos(f.broker, 4, 6);
	holds(&f, 12);
	for (unsigned i = 0; i < 12; i++)
		broker_ack(f.broker, f.seen[i].session, f.seen[i].tag);
	broker_qos(f.broker, 4, 0);
	holds(&f, 16);
	ck_assert_uint_eq(f.downs, 0);
	for (unsigned i = 0; i < f.seen_count; i++)
		ck_assert(!f.seen[i].is_redelivered);
	fixture_close(&f);
}
END_TEST

/* T-55 */
START_TEST(acks_that_wait_for_more_of_them_leave_soon)
{
	struct fixture f;
	const char *q = fixture_queue("hold");

	if (!fixture_url())
		return;
	begin(&f, q, NULL, 64);
	fixture_start(&f);
	publish(&f, q, 0, 200);
	fixture_run(&f, 200);
	ck_assert_uint_eq(f.seen_count, 64);
	for (unsigned i = 0; i < 10; i++)
		broker_ack(f.broker, f.seen[i].session, f.seen[i].tag);
	ck_assert(fixture_wait(&f, &f.seen_count, 74, 1000)); /* by time */
	for (unsigned i = 20; i < 60; i++)
		broker_ack(f.broker, f.seen[i].session, f.seen[i].tag);
	ck_assert(fixture_wait(&f, &f.seen_count, 114, 1000)); /* by number */
	fixture_close(&f);
}
END_TEST
