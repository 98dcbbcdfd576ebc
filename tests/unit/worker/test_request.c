#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "worker/request/request.h"

static const struct sm_task plain = {.name = "t.plain"};
static const struct sm_task careful = {
	.name = "t.careful",
	.acks_late = SM_YES,
	.ignore_result = SM_YES,
	.max_retries = SM_UNLIMITED,
	.soft_time_limit_s = 5,
	.time_limit_s = 10,
};
static const struct task_entry plain_entry = {.decl = &plain};
static const struct task_entry careful_entry = {.decl = &careful};

static struct request *make(struct requests *all, const struct task_entry *task, const char *id,
			    const struct config *config)
{
	struct task_message m;

	task_message_init(&m);
	m.task = arena_strdup(&m.texts, "t.any");
	m.id = arena_strdup(&m.texts, id);
	return request_new(all, &m, task, config);
}

START_TEST(a_request_is_found_by_its_id_among_many)
{
	struct requests all;
	struct config config = {0};
	char id[32];

	requests_init(&all);
	for (int i = 0; i < 5000; i++) {
		snprintf(id, sizeof(id), "id-%d", i);
		make(&all, &plain_entry, id, &config);
	}
	struct request *r = requests_find(&all, "id-4321", 0);

	ck_assert_ptr_nonnull(r);
	ck_assert_str_eq(r->message.id, "id-4321");
	ck_assert_ptr_null(requests_find(&all, "id-4321", 1));
	ck_assert_ptr_null(requests_find(&all, "id-5000", 0));
	request_free(&all, r);
	ck_assert_ptr_null(requests_find(&all, "id-4321", 0));
	requests_clear(&all);
}
END_TEST

START_TEST(of_requests_with_one_id_the_oldest_delivery_is_found_first)
{
	struct requests all;
	struct config config = {0};
	struct request *r[4];

	requests_init(&all);
	for (unsigned i = 0; i < 4; i++) {
		r[i] = make(&all, &plain_entry, "twin", &config);
		r[i]->session = i / 2 + 1;
		make(&all, &plain_entry, "other", &config);
	}
	ck_assert_ptr_eq(requests_find(&all, "twin", 0), r[0]);
	requests_adopt(&all, r[0], 3, 7);
	ck_assert_uint_eq(r[0]->session, 3);
	ck_assert_uint_eq(r[0]->tag, 7);
	ck_assert_ptr_eq(requests_find(&all, "twin", 0), r[1]);
	request_free(&all, r[2]);
	request_free(&all, r[1]);
	ck_assert_ptr_eq(requests_find(&all, "twin", 0), r[3]);
	request_free(&all, r[3]);
	ck_assert_ptr_eq(requests_find(&all, "twin", 0), r[0]);
	request_free(&all, r[0]);
	ck_assert_ptr_null(requests_find(&all, "twin", 0));
	ck_assert_ptr_nonnull(requests_find(&all, "other", 0));
	requests_clear(&all);
}
END_TEST

/* What is answered must not take the message over that another one waits for. */
START_TEST(what_is_answered_is_not_found_when_a_twin_comes_again)
{
	struct requests all;
	struct config config = {0};
	struct request *r[5];

	requests_init(&all);
	for (unsigned i = 0; i < 5; i++)
		r[i] = make(&all, &plain_entry, "twin", &config);
	r[0]->is_settled = r[1]->is_settled = true;
	requests_give_back(&all, r[4]);
	ck_assert_ptr_eq(requests_find(&all, "twin", 0), r[2]);
	requests_give_back(&all, r[2]);
	ck_assert_ptr_eq(requests_find(&all, "twin", 0), r[3]);
	requests_give_back(&all, r[3]);
	ck_assert_ptr_null(requests_find(&all, "twin", 0));
	requests_move(&all, r[0], REQUEST_FINISHING);
	request_free(&all, r[0]);
	ck_assert_uint_eq(all.total, 0);
	requests_clear(&all); /* with r[1] */
}
END_TEST

/* Quadratic work would take minutes. */
START_TEST(very_many_messages_may_have_one_id) /* timeout 20 */
{
	enum { MANY = 100000 };
	struct requests all;
	struct config config = {0};
	struct request **r = mem_calloc(MANY, sizeof(struct request *));

	requests_init(&all);
	for (unsigned i = 0; i < MANY; i++) {
		r[i] = make(&all, &plain_entry, "one", &config);
		r[i]->session = 1;
		ck_assert_ptr_eq(requests_find(&all, "one", 0), r[0]);
	}
	for (unsigned i = 0; i < MANY; i++) { /* all are delivered again */
		ck_assert_ptr_eq(requests_find(&all, "one", 0), r[i]);
		requests_adopt(&all, r[i], 2, i);
	}
	for (unsigned i = MANY; i > MANY / 2; i--) /* freed from the newest and the oldest on */
		request_free(&all, r[i - 1]);
	for (unsigned i = 0; i < MANY / 2; i++)
		request_free(&all, r[i]);
	ck_assert_uint_eq(all.total, 0);
	requests_clear(&all);
	free(r);
}
END_TEST

START_TEST(a_move_changes_state_list_and_counts_together)
{
	struct requests all;
	struct config config = {0};

	requests_init(&all);
	struct request *r = make(&all, &plain_entry, "a", &config);

	r->message.eta_us = 42;
	requests_move(&all, r, REQUEST_WAITING_ETA);
	ck_assert_uint_eq(all.counts[REQUEST_RECEIVED], 0);
	ck_assert_uint_eq(all.counts[REQUEST_WAITING_ETA], 1);
	ck_assert_ptr_eq(heap_min(&all.eta), &r->due);
	requests_move(&all, r, REQUEST_READY);
	ck_assert_ptr_null(heap_min(&all.eta));
	ck_assert(all.lists[REQUEST_READY].next == &r->node);
	requests_clear(&all);
}
END_TEST

/* T-78 */
START_TEST(limits_of_the_message_go_before_those_of_the_task_and_the_worker)
{
	struct requests all;
	struct config config = {.task_time_limit = 100, .task_soft_time_limit = 50};

	requests_init(&all);
	struct request *by_worker = make(&all, &plain_entry, "w", &config);
	struct request *by_task = make(&all, &careful_entry, "t", &config);
	struct task_message m;

	task_message_init(&m);
	m.task = arena_strdup(&m.texts, "t.any");
	m.id = arena_strdup(&m.texts, "m");
	m.time_limit_s = 3;
	struct request *by_message = request_new(&all, &m, &careful_entry, &config);

	ck_assert(by_worker->policy.hard_limit_s == 100 && by_worker->policy.soft_limit_s == 50);
	ck_assert(by_task->policy.hard_limit_s == 10 && by_task->policy.soft_limit_s == 5);
	ck_assert(by_message->policy.hard_limit_s == 3 && by_message->policy.soft_limit_s == 5);
	requests_clear(&all);
}
END_TEST

/* T-104 T-175 */
START_TEST(the_message_decides_on_ignored_results_and_null_leaves_it_to_the_task)
{
	static const struct {
		enum tristate header;
		bool is_declared, expected;
	} rows[] = {
		{TRI_NULL, false, false}, {TRI_NULL, true, true},    {TRI_TRUE, false, true},
		{TRI_TRUE, true, true},	  {TRI_FALSE, false, false}, {TRI_FALSE, true, false},
	};
	struct requests all;
	struct config config = {0};

	requests_init(&all);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct task_message m;

		task_message_init(&m);
		m.task = arena_strdup(&m.texts, "t.any");
		m.id = arena_strdup(&m.texts, "x");
		m.ignore_result = rows[i].header;
		struct request *r = request_new(
			&all, &m, rows[i].is_declared ? &careful_entry : &plain_entry, &config);

		ck_assert_int_eq(r->policy.ignore_result, rows[i].expected);
	}
	requests_clear(&all);
}
END_TEST

/* C-25 */
START_TEST(new_limits_count_for_what_has_not_begun_unless_the_message_has_its_own)
{
	static const struct task_entry other_entry = {.decl = &careful, .index = 3};
	struct requests all;
	struct config config = {.task_time_limit = 99};
	struct request *r[4];

	requests_init(&all);
	r[0] = make(&all, &other_entry, "waits", &config);
	r[1] = make(&all, &other_entry, "runs", &config);
	r[1]->job.started_us = 1;
	requests_move(&all, r[1], REQUEST_RUNNING);
	r[2] = make(&all, &plain_entry, "another", &config);
	requests_limit(&all, &other_entry, 1, 2, &config);
	r[3] = make(&all, &other_entry, "comes", &config);
	ck_assert_double_eq(r[0]->job.soft_limit_s, 1);
	ck_assert_double_eq(r[0]->job.hard_limit_s, 2);
	ck_assert_double_eq(r[0]->policy.hard_limit_s, 2);
	ck_assert_double_eq(r[1]->job.hard_limit_s, 10);
	ck_assert_double_eq(r[2]->job.hard_limit_s, 99);
	ck_assert_double_eq(r[3]->job.hard_limit_s, 2);
	/* Both are cleared: the worker's own are left. */
	requests_limit(&all, &other_entry, 0, 0, &config);
	ck_assert_double_eq(r[0]->job.soft_limit_s, 0);
	ck_assert_double_eq(r[3]->job.hard_limit_s, 99);
	r[3]->message.time_limit_s = 7;
	requests_limit(&all, &other_entry, 3, 4, &config);
	ck_assert_double_eq(r[3]->job.hard_limit_s, 7);
	ck_assert_double_eq(r[3]->job.soft_limit_s, 3);
	requests_clear(&all);
}
END_TEST
