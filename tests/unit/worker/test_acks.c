#include <check.h>
#include <stdio.h>

#include "worker/finish/acks.h"

static const struct sm_task task = {.name = "t"};
static const struct task_entry entry = {.decl = &task};

/* A request whose delivery came by a connection that is gone, so no broker is asked. */
static struct request *make(struct requests *all, const char *id, int64_t retries)
{
	static const struct config config = {0};
	struct task_message m;

	task_message_init(&m);
	m.task = arena_strdup(&m.texts, "t.any");
	m.id = arena_strdup(&m.texts, id);
	m.retries = retries;
	struct request *r = request_new(all, &m, &entry, &config);

	r->session = 1;
	return r;
}

START_TEST(what_ended_without_a_connection_is_known_once_when_it_comes_again)
{
	struct acks acks;
	struct requests all;

	acks_init(&acks);
	requests_init(&all);
	acks_answer(&acks, make(&all, "a", 0), ANSWER_ACK);
	ck_assert(!acks_has_ended(&acks, "a", 1, NULL));
	ck_assert(!acks_has_ended(&acks, "b", 0, NULL));
	ck_assert(acks_has_ended(&acks, "a", 0, NULL));
	ck_assert(!acks_has_ended(&acks, "a", 0, NULL));
	ck_assert_uint_eq(acks.skipped, 1);
	requests_clear(&all);
	acks_clear(&acks);
}
END_TEST

START_TEST(what_ended_is_forgotten_for_one_of_its_id_that_has_not_begun)
{
	struct acks acks;
	struct requests all;

	acks_init(&acks);
	requests_init(&all);
	acks_answer(&acks, make(&all, "a", 0), ANSWER_ACK);
	acks_answer(&acks, make(&all, "b", 0), ANSWER_ACK);
	acks_expect(&acks, make(&all, "a", 0));
	acks_expect(&acks, make(&all, "c", 0));
	ck_assert(!acks_has_ended(&acks, "a", 0, NULL));
	ck_assert(acks_has_ended(&acks, "b", 0, NULL));
	requests_clear(&all);
	acks_clear(&acks);
}
END_TEST

START_TEST(what_ended_is_known_again_when_the_second_connection_breaks_too)
{
	struct acks acks;
	struct requests all;

	acks_init(&acks);
	requests_init(&all);
	acks_answer(&acks, make(&all, "a", 0), ANSWER_ACK);
	for (unsigned session = 2; session < 5; session++) {
		acks_session_up(&acks, session);
		ck_assert(acks_has_ended(&acks, "a", 0, NULL));
		ck_assert(!acks_has_ended(&acks, "a", 0, NULL));
		acks_session_down(&acks);
	}
	requests_clear(&all);
	acks_clear(&acks);
}
END_TEST

/* With Celery's heartbeat of 120 s a dead network is noticed after minutes. */
START_TEST(an_answer_may_be_on_its_way_for_minutes)
{
	struct acks acks;
	struct requests all;

	acks_init(&acks);
	requests_init(&all);
	acks_answer(&acks, make(&all, "a", 0), ANSWER_ACK);
	acks_session_up(&acks, 2);
	ck_assert(acks_has_ended(&acks, "a", 0, NULL));
	acks.recent[0].at_us -= 240 * 1000000LL;
	acks_session_down(&acks);
	ck_assert(acks_has_ended(&acks, "a", 0, NULL));
	requests_clear(&all);
	acks_clear(&acks);
}
END_TEST

START_TEST(what_was_rejected_is_rejected_again)
{
	struct acks acks;
	struct requests all;
	enum answer answer = ANSWER_ACK;

	acks_init(&acks);
	requests_init(&all);
	acks_answer(&acks, make(&all, "a", 0), ANSWER_REJECT);
	for (unsigned session = 2; session < 4; session++) {
		acks_session_up(&acks, session);
		answer = ANSWER_ACK;
		ck_assert(acks_has_ended(&acks, "a", 0, &answer));
		ck_assert_int_eq(answer, ANSWER_REJECT);
		acks_session_down(&acks);
	}
	requests_clear(&all);
	acks_clear(&acks);
}
END_TEST

START_TEST(what_is_to_run_again_is_not_remembered)
{
	struct acks acks;
	struct requests all;

	acks_init(&acks);
	requests_init(&all);
	acks_answer(&acks, make(&all, "a", 0), ANSWER_REQUEUE);
	ck_assert(!acks_has_ended(&acks, "a", 0, NULL));
	requests_clear(&all);
	acks_clear(&acks);
}
END_TEST

START_TEST(memory_of_what_ended_is_bounded)
{
	struct acks acks;
	struct requests all;
	char id[32];

	acks_init(&acks);
	requests_init(&all);
	for (int i = 0; i < 100010; i++) {
		snprintf(id, sizeof(id), "%d", i);
		struct request *r = make(&all, id, 0);

		acks_answer(&acks, r, ANSWER_ACK);
		request_free(&all, r);
	}
	ck_assert(!acks_has_ended(&acks, "9", 0, NULL));
	ck_assert(acks_has_ended(&acks, "10", 0, NULL));
	ck_assert(acks_has_ended(&acks, "100009", 0, NULL));
	requests_clear(&all);
	acks_clear(&acks);
}
END_TEST

START_TEST(a_retried_task_is_known_when_a_copy_of_its_message_comes)
{
	struct acks acks;
	struct requests all;
	enum answer answer = ANSWER_REQUEUE;

	acks_init(&acks);
	requests_init(&all);
	acks_answer(&acks, make(&all, "again", 2), ANSWER_ACK);
	ck_assert(!acks_has_ended(&acks, "again", 3, NULL));
	ck_assert(acks_has_ended(&acks, "again", 2, &answer));
	ck_assert_int_eq(answer, ANSWER_ACK);
	requests_clear(&all);
	acks_clear(&acks);
}
END_TEST

/* Answers `count` tasks on a connection that breaks then; how many of them are still known. */
static unsigned known_after_a_break(struct acks *acks, unsigned from, unsigned count)
{
	struct requests all;
	unsigned known = 0;
	char id[32];

	requests_init(&all);
	acks_session_down(acks);
	for (unsigned i = from; i < from + count; i++) {
		snprintf(id, sizeof(id), "%u", i);
		acks_answer(acks, make(&all, id, 0), ANSWER_ACK);
	}
	requests_clear(&all);
	acks_session_up(acks, 2);
	for (unsigned i = from; i < from + count; i++) {
		snprintf(id, sizeof(id), "%u", i);
		ck_assert(acks_has_ended(acks, id, 0, NULL)); /* and is answered again */
	}
	acks_session_down(acks);
	for (unsigned i = from; i < from + count; i++) {
		snprintf(id, sizeof(id), "%u", i);
		known += acks_has_ended(acks, id, 0, NULL);
	}
	return known;
}

START_TEST(as_many_answers_are_known_after_a_break_as_were_taken_ahead)
{
	struct acks acks;

	acks_init(&acks);
	acks_prefetch(&acks, 8);
	ck_assert_uint_eq(known_after_a_break(&acks, 0, 10000), ACKS_RECENT_LEAST);
	acks_prefetch(&acks, 20000);
	ck_assert_uint_eq(known_after_a_break(&acks, 100000, 20000), 20000);
	ck_assert_uint_eq(known_after_a_break(&acks, 200000, 20001), 20000);
	acks_prefetch(&acks, 10);
	ck_assert_uint_eq(known_after_a_break(&acks, 300000, 20000), 20000);
	acks_prefetch(&acks, 0);
	ck_assert_uint_eq(known_after_a_break(&acks, 400000, 100000), 100000);
	acks_clear(&acks);
}
END_TEST
