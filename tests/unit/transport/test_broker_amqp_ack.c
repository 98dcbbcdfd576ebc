#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/broker_amqp_ack.h"

struct sent {
	char text[4096];
	unsigned count;
};

static void note(void *ctx, uint64_t tag, enum amqp_settle how, bool multiple)
{
	static const char names[] = {'a', 'r', 'q'};
	struct sent *s = ctx;
	size_t len = strlen(s->text);

	s->count++;
	snprintf(s->text + len, sizeof(s->text) - len, "%c%llu%s ", names[how],
		 (unsigned long long)tag, multiple ? "*" : "");
}

static const char *flush(struct amqp_ack_window *w, struct sent *s)
{
	memset(s, 0, sizeof(*s));
	ack_window_flush(w, 0, note, s);
	return s->text;
}

static void add(struct amqp_ack_window *w, uint64_t first, uint64_t last)
{
	for (uint64_t tag = first; tag <= last; tag++)
		ack_window_add(w, tag);
}

START_TEST(a_run_from_the_front_is_one_multiple_ack)
{
	struct amqp_ack_window w;
	struct sent s;

	ack_window_init(&w);
	add(&w, 1, 10);
	for (uint64_t tag = 5; tag >= 1; tag--)
		ck_assert(ack_window_settle(&w, tag, SETTLE_ACK));
	ck_assert_str_eq(flush(&w, &s), "a5* ");
	ck_assert_str_eq(flush(&w, &s), "");
	ck_assert(ack_window_settle(&w, 6, SETTLE_ACK));
	ck_assert_str_eq(flush(&w, &s), "a6 ");
	ack_window_clear(&w);
}
END_TEST

START_TEST(acks_beyond_an_open_tag_go_alone_and_are_passed_over_later)
{
	struct amqp_ack_window w;
	struct sent s;

	ack_window_init(&w);
	add(&w, 1, 6);
	ack_window_settle(&w, 1, SETTLE_ACK);
	ack_window_settle(&w, 3, SETTLE_ACK);
	ack_window_settle(&w, 4, SETTLE_ACK);
	ck_assert_str_eq(flush(&w, &s), "a1 a3 a4 ");
	ack_window_settle(&w, 2, SETTLE_ACK);
	ack_window_settle(&w, 5, SETTLE_ACK);
	ck_assert_str_eq(flush(&w, &s), "a5* ");
	ack_window_clear(&w);
}
END_TEST

START_TEST(refusals_are_sent_before_an_ack_passes_over_them)
{
	struct amqp_ack_window w;
	struct sent s;

	ack_window_init(&w);
	add(&w, 1, 5);
	ack_window_settle(&w, 3, SETTLE_ACK);
	ack_window_settle(&w, 1, SETTLE_ACK);
	ack_window_settle(&w, 2, SETTLE_REQUEUE);
	ack_window_settle(&w, 4, SETTLE_REJECT);
	ck_assert_str_eq(flush(&w, &s), "q2 r4 a3* ");
	ack_window_settle(&w, 5, SETTLE_REJECT);
	ck_assert_str_eq(flush(&w, &s), "r5 ");
	ck_assert_uint_eq(w.count, 0);
	ack_window_clear(&w);
}
END_TEST

START_TEST(unknown_and_settled_tags_are_refused)
{
	struct amqp_ack_window w;

	ack_window_init(&w);
	ck_assert(!ack_window_settle(&w, 1, SETTLE_ACK));
	add(&w, 1, 3);
	ck_assert(ack_window_settle(&w, 2, SETTLE_ACK));
	ck_assert(!ack_window_settle(&w, 2, SETTLE_REJECT));
	ck_assert(!ack_window_settle(&w, 4, SETTLE_ACK));
	ck_assert(!ack_window_settle(&w, 0, SETTLE_ACK));
	ack_window_clear(&w);
}
END_TEST

START_TEST(one_long_task_does_not_make_the_window_grow)
{
	struct amqp_ack_window w;
	struct sent s;

	ack_window_init(&w);
	add(&w, 1, 1);
	for (uint64_t tag = 2; tag < 100000; tag++) {
		add(&w, tag, tag);
		ck_assert(ack_window_settle(&w, tag, SETTLE_ACK));
		flush(&w, &s);
		ck_assert_uint_eq(s.count, 1);
	}
	ck_assert_uint_le(w.cap, 128);
	ack_window_clear(&w);
}
END_TEST

enum { TAGS = 3000 };

/* What a broker would know of each tag. */
static void settle_told(void *ctx, uint64_t tag, enum amqp_settle how, bool multiple)
{
	char *told = ctx;

	for (uint64_t t = multiple ? 1 : tag; t <= tag; t++) {
		if (multiple && told[t])
			continue;
		ck_assert_int_eq(told[t], 0);
		told[t] = how == SETTLE_ACK ? 'a' : 'q';
	}
}

START_TEST(random_orders_settle_each_tag_once_and_as_asked)
{
	static char asked[TAGS + 1], told[TAGS + 1];
	struct amqp_ack_window w;
	uint64_t next = 1;

	srand(7);
	ack_window_init(&w);
	while (next <= TAGS || w.count > 0) {
		for (int i = rand() % 20; i > 0 && next <= TAGS; i--)
			ack_window_add(&w, next++);
		for (int i = rand() % 40; i > 0 && w.count > w.head; i--) {
			size_t at = w.head + (size_t)rand() % (w.count - w.head);
			uint64_t tag = w.entries[at].tag;
			enum amqp_settle how = rand() % 5 ? SETTLE_ACK : SETTLE_REQUEUE;
			if (ack_window_settle(&w, tag, how))
				asked[tag] = how == SETTLE_ACK ? 'a' : 'q';
		}
		ack_window_flush(&w, 0, settle_told, told);
	}
	ck_assert_int_eq(memcmp(asked, told, sizeof(asked)), 0);
	ack_window_clear(&w);
}
END_TEST

START_TEST(acks_beyond_an_open_tag_may_wait_for_it)
{
	struct amqp_ack_window w;
	struct sent s = {0};

	ack_window_init(&w);
	add(&w, 1, 8);
	for (uint64_t tag = 3; tag <= 6; tag++)
		ck_assert(ack_window_settle(&w, tag, SETTLE_ACK));
	ck_assert_uint_eq(ack_window_flush(&w, 4, note, &s), 4);
	ck_assert_str_eq(s.text, "");
	ck_assert(ack_window_settle(&w, 1, SETTLE_ACK));
	ck_assert_uint_eq(ack_window_flush(&w, 4, note, &s), 4);
	ck_assert_str_eq(s.text, "a1 ");
	ck_assert(ack_window_settle(&w, 2, SETTLE_ACK));
	ck_assert_uint_eq(ack_window_flush(&w, 4, note, &s), 0);
	ck_assert_str_eq(s.text, "a1 a6* ");
	ck_assert(ack_window_settle(&w, 8, SETTLE_ACK));
	ck_assert_str_eq(flush(&w, &s), "a8 ");
	ck_assert(ack_window_settle(&w, 7, SETTLE_ACK));
	ck_assert_str_eq(flush(&w, &s), "a7 ");
	ack_window_clear(&w);
}
END_TEST

START_TEST(more_held_acks_than_allowed_go_out_alone)
{
	struct amqp_ack_window w;
	struct sent s = {0};

	ack_window_init(&w);
	add(&w, 1, 5);
	for (uint64_t tag = 2; tag <= 4; tag++)
		ck_assert(ack_window_settle(&w, tag, SETTLE_ACK));
	ck_assert_uint_eq(ack_window_flush(&w, 2, note, &s), 0);
	ck_assert_str_eq(s.text, "a2 a3 a4 ");
	ack_window_clear(&w);
}
END_TEST

START_TEST(open_tags_are_counted)
{
	struct amqp_ack_window w;
	struct sent s;

	ack_window_init(&w);
	add(&w, 1, 10);
	ck_assert_uint_eq(w.open, 10);
	ack_window_settle(&w, 4, SETTLE_ACK);
	ack_window_settle(&w, 4, SETTLE_ACK);
	ack_window_settle(&w, 1, SETTLE_REJECT);
	ck_assert_uint_eq(w.open, 8);
	flush(&w, &s);
	ck_assert_uint_eq(w.open, 8);
	ack_window_clear(&w);
	ck_assert_uint_eq(w.open, 0);
}
END_TEST

static void count_only(void *ctx, uint64_t tag, enum amqp_settle how, bool multiple)
{
	unsigned *counts = ctx;

	(void)tag;
	counts[how] += 1;
	counts[3] += multiple;
}

START_TEST(a_flush_is_bounded_and_no_ack_passes_over_a_refusal_that_waits)
{
	struct amqp_ack_window w;
	unsigned counts[4] = {0};

	ack_window_init(&w);
	add(&w, 1, 2 * ACK_FLUSH_MOST);
	for (uint64_t tag = 1; tag <= ACK_FLUSH_MOST + 10; tag++)
		ack_window_settle(&w, tag, SETTLE_REQUEUE);
	ack_window_settle(&w, ACK_FLUSH_MOST + 11, SETTLE_ACK);
	ck_assert_uint_eq(ack_window_flush(&w, 0, count_only, counts), 11);
	ck_assert_uint_eq(counts[SETTLE_REQUEUE], ACK_FLUSH_MOST);
	ck_assert_uint_eq(counts[SETTLE_ACK], 0);
	ck_assert_uint_eq(ack_window_flush(&w, 0, count_only, counts), 0);
	ck_assert_uint_eq(counts[SETTLE_REQUEUE], ACK_FLUSH_MOST + 10);
	ck_assert_uint_eq(counts[SETTLE_ACK], 1);
	ack_window_clear(&w);

	memset(counts, 0, sizeof(counts));
	add(&w, 1, ACK_FLUSH_MOST + 10);
	for (uint64_t tag = 2; tag <= ACK_FLUSH_MOST + 10; tag++)
		ack_window_settle(&w, tag, SETTLE_ACK);
	ck_assert_uint_eq(ack_window_flush(&w, 0, count_only, counts), 9);
	ck_assert_uint_eq(counts[SETTLE_ACK], ACK_FLUSH_MOST);
	ack_window_settle(&w, 1, SETTLE_ACK);
	ck_assert_uint_eq(ack_window_flush(&w, 0, count_only, counts), 0);
	ck_assert_uint_eq(counts[SETTLE_ACK], ACK_FLUSH_MOST + 1);
	ck_assert_uint_eq(counts[3], 1);
	ack_window_clear(&w);
}
END_TEST
