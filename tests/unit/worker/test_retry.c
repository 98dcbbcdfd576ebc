#include <check.h>
#include <stdlib.h>

#include "base/mem.h"
#include "worker/request/next_try.h"
#include "worker/request/retry.h"

static struct request *make(struct requests *all, const struct task_entry *task, int64_t retries)
{
	static const struct config config = {0};
	struct task_message m;

	task_message_init(&m);
	m.task = arena_strdup(&m.texts, "t.any");
	m.id = arena_strdup(&m.texts, "abc");
	m.retries = retries;
	m.args = (struct span){"[5, false]", 10};
	m.kwargs = (struct span){"{}", 2};
	return request_new(all, &m, task, &config);
}

/* T-85 */
START_TEST(backoff_without_jitter_doubles_up_to_its_maximum)
{
	struct sm_autoretry policy = {.backoff = 1, .backoff_max_s = 20, .jitter = SM_NO};
	static const double expected[] = {1, 2, 4, 8, 16, 20, 20};

	for (int i = 0; i < 7; i++)
		ck_assert(retry_backoff_s(&policy, i, 0.5) == expected[i]);
	ck_assert(retry_backoff_s(&policy, 1000000, 0.5) == 20);
}
END_TEST

/* T-85 */
START_TEST(backoff_with_jitter_is_a_whole_number_from_zero_to_the_cap)
{
	struct sm_autoretry policy = {.backoff = 3};

	ck_assert(retry_backoff_s(&policy, 0, 0.0) == 0);
	ck_assert(retry_backoff_s(&policy, 0, 0.9999999) == 3);
	ck_assert(retry_backoff_s(&policy, 20, 0.9999999) == 600);
	for (int i = 0; i < 100; i++) {
		double delay = retry_backoff_s(&policy, 3, i / 100.0);

		ck_assert(delay >= 0 && delay <= 24 && delay == (double)(int)delay);
	}
}
END_TEST

START_TEST(exceptions_are_caught_by_their_base_classes_as_in_python)
{
	ck_assert(exception_is_a("builtins", "ConnectionRefusedError", "ConnectionError"));
	ck_assert(exception_is_a("builtins", "ConnectionRefusedError", "OSError"));
	ck_assert(exception_is_a("builtins", "ValueError", "Exception"));
	ck_assert(!exception_is_a("builtins", "ValueError", "OSError"));
	ck_assert(exception_is_a("smtplib", "SMTPDataError", "smtplib:SMTPDataError"));
	ck_assert(!exception_is_a("smtplib", "SMTPDataError", "smtplib:SMTPHeloError"));
	ck_assert(!exception_is_a("smtp", "SMTPDataError", "smtplib:SMTPDataError"));
}
END_TEST

/* T-84 */
START_TEST(three_retries_make_four_executions)
{
	static const struct sm_task task = {.name = "t"};
	static const struct task_entry entry = {.decl = &task};
	struct requests all;

	requests_init(&all);
	for (int64_t retries = 0; retries < 4; retries++) {
		struct request *r = make(&all, &entry, retries);

		r->outcome.kind = OUTCOME_RETRY;
		r->outcome.countdown_s = -1;
		retry_decide(r);
		ck_assert_int_eq(r->outcome.kind, retries < 3 ? OUTCOME_RETRY : OUTCOME_FAILURE);
		if (retries < 3)
			ck_assert(r->outcome.countdown_s == 180);
	}
	requests_clear(&all);
}
END_TEST

/* T-83 */
START_TEST(a_retry_beyond_the_limit_without_an_exception_says_so_as_celery_does)
{
	static const struct sm_task task = {.name = "t", .max_retries = SM_NO_RETRY};
	static const struct task_entry entry = {.decl = &task};
	struct requests all;

	requests_init(&all);
	struct request *r = make(&all, &entry, 0);

	r->outcome.kind = OUTCOME_RETRY;
	retry_decide(r);
	ck_assert_str_eq(r->outcome.exc_module, "celery.exceptions");
	ck_assert_str_eq(r->outcome.exc_type, "MaxRetriesExceededError");
	ck_assert_str_eq(r->outcome.exc_text, "Can't retry t.any[abc] args:(5, False) kwargs:{}");
	requests_clear(&all);
}
END_TEST

static const struct sm_task secretive = {
	.name = "t", .max_retries = SM_NO_RETRY, .secrets = SM_NAMES("token")};

START_TEST(secret_arguments_do_not_show_when_no_retry_is_left)
{
	static const struct task_entry entry = {.decl = &secretive};
	struct requests all;

	requests_init(&all);
	struct request *r = make(&all, &entry, 0);

	r->outcome.kind = OUTCOME_RETRY;
	retry_decide(r);
	ck_assert_str_eq(r->outcome.exc_text, "Can't retry t.any[abc] args:*** kwargs:***");
	requests_clear(&all);
}
END_TEST

static const struct sm_task picky = {
	.name = "t",
	.autoretry = {.on = SM_NAMES("OSError"),
		      .except = SM_NAMES("FileNotFoundError"),
		      .backoff = 2,
		      .jitter = SM_NO},
};

START_TEST(autoretry_takes_the_listed_failures_and_leaves_the_excepted_ones)
{
	static const struct task_entry entry = {.decl = &picky};
	static const struct {
		const char *type;
		enum outcome_kind expected;
	} rows[] = {{"ConnectionResetError", OUTCOME_RETRY},
		    {"FileNotFoundError", OUTCOME_FAILURE},
		    {"ValueError", OUTCOME_FAILURE}};
	struct requests all;

	requests_init(&all);
	for (size_t i = 0; i < 3; i++) {
		struct request *r = make(&all, &entry, 2);

		r->outcome.kind = OUTCOME_FAILURE;
		outcome_set_exception(&r->outcome, "builtins", rows[i].type, "x");
		retry_decide(r);
		ck_assert_int_eq(r->outcome.kind, rows[i].expected);
		if (rows[i].expected == OUTCOME_RETRY)
			ck_assert(r->outcome.countdown_s == 8);
	}
	requests_clear(&all);
}
END_TEST

/* T-170 */
START_TEST(a_lost_process_is_retried_only_where_the_task_asks_for_it)
{
	static const struct sm_task plain = {.name = "t"};
	static const struct sm_task asking = {
		.name = "t", .retry_on_worker_lost = SM_YES, .retry_delay_s = 7, .max_retries = 1};
	static const struct task_entry entries[] = {{.decl = &plain}, {.decl = &asking}};
	struct requests all;

	requests_init(&all);
	for (int i = 0; i < 2; i++) {
		struct request *r = make(&all, &entries[i], 0);

		r->outcome.kind = OUTCOME_LOST;
		retry_decide(r);
		ck_assert_int_eq(r->outcome.kind, i == 0 ? OUTCOME_LOST : OUTCOME_RETRY);
	}
	struct request *r = make(&all, &entries[1], 1);

	r->outcome.kind = OUTCOME_LOST;
	retry_decide(r);
	ck_assert_int_eq(r->outcome.kind, OUTCOME_LOST);
	requests_clear(&all);
}
END_TEST

/* T-83 */
START_TEST(a_retry_may_bring_its_own_limit)
{
	static const struct sm_task task = {.name = "t", .max_retries = 1};
	static const struct task_entry entry = {.decl = &task};
	struct requests all;

	requests_init(&all);
	struct request *r = make(&all, &entry, 1);

	r->outcome.kind = OUTCOME_RETRY;
	r->outcome.max_retries = 2;
	retry_decide(r);
	ck_assert_int_eq(r->outcome.kind, OUTCOME_RETRY);
	r->outcome.max_retries = 0;
	r->outcome.changes = mem_strdup("{\"task\": \"t\", \"args\": [7], \"options\": {}}");
	retry_decide(r);
	ck_assert_str_eq(r->outcome.exc_text, "Can't retry t.any[abc] args:(7,) kwargs:{}");
	requests_clear(&all);
}
END_TEST

START_TEST(the_next_try_has_what_was_changed_and_the_rest_as_it_was)
{
	static const struct sm_task task = {.name = "t"};
	static const struct task_entry entry = {.decl = &task};
	struct requests all;
	struct next_try next;

	requests_init(&all);
	struct request *r = make(&all, &entry, 1);

	r->message.root_id = "root";
	r->message.argsrepr = "as sent";
	r->message.priority = 2;
	r->outcome.countdown_s = 3;
	next_try_make(&next, r, 1000000);
	ck_assert(next.message.retries == 2 && next.message.eta_us == 4000000 && !next.has_route);
	ck_assert_str_eq(next.message.argsrepr, "as sent");
	ck_assert_str_eq(next.message.kwargsrepr, "{}");
	ck_assert_str_eq(next.message.parent_id, "abc");
	next_try_clear(&next);
	r->outcome.eta_us = 9;
	r->outcome.changes = mem_strdup(
		"{\"task\": \"t\", \"kwargs\": {\"k\": 1}, \"args\": [true], \"options\": {"
		"\"expires\": 2, \"time_limit\": 5, \"shadow\": \"s\", \"priority\": 7, "
		"\"headers\": {\"h\": 1}, \"link\": {\"task\": \"x\"}, \"queue\": \"q\"}}");
	next_try_make(&next, r, 1000000);
	ck_assert(next.message.eta_us == 9 && next.message.expires_us == 3000000);
	ck_assert(next.message.time_limit_s == 5 && next.message.priority == 7);
	ck_assert_str_eq(next.message.argsrepr, "(True,)");
	ck_assert_str_eq(next.message.kwargsrepr, "{'k': 1}");
	ck_assert_str_eq(next.message.root_id, "root");
	ck_assert_str_eq(next.message.shadow, "s");
	ck_assert_str_eq(next.message.custom_headers, "{\"h\": 1}");
	ck_assert_str_eq(next.message.callbacks.data, "[{\"task\": \"x\"}]");
	ck_assert_str_eq(next.how.queue, "q");
	ck_assert(next.has_route);
	next_try_clear(&next);
	requests_clear(&all);
}
END_TEST
