#include <check.h>
#include <string.h>

#include "base/text.h"
#include "worker/request/limiter.h"

static json_t *run(struct sm_job *job)
{
	(void)job;
	return NULL;
}

static const struct sm_task paced = {.name = "t.paced", .run = run, .rate_limit = "2/s"};
static const struct sm_task free_task = {.name = "t.free", .run = run};
static const struct sm_task *const tasks[] = {&paced, &free_task, NULL};
static const struct sm_plugin plugin = {.name = "t", .tasks = tasks};

static struct registry *make(struct limiter *l)
{
	struct registry *r = registry_new();

	ck_assert_int_eq(registry_add_plugin(r, &plugin, NULL, NULL), 0);
	limiter_init(l, r);
	return r;
}

/* T-94 */
START_TEST(reservations_are_one_interval_apart_and_one_is_free_after_idling)
{
	struct limiter l;
	struct registry *r = make(&l);
	const struct task_entry *task = registry_find(r, "t.paced");

	ck_assert_int_eq(limiter_reserve(&l, task, 1000000), 1000000);
	ck_assert_int_eq(limiter_reserve(&l, task, 1000000), 1500000);
	ck_assert_int_eq(limiter_reserve(&l, task, 1600000), 2000000);
	ck_assert_int_eq(limiter_reserve(&l, task, 9000000), 9000000);
	ck_assert_int_eq(limiter_reserve(&l, task, 9000000), 9500000);
	limiter_clear(&l);
	registry_free(r);
}
END_TEST

START_TEST(a_task_without_a_limit_never_waits)
{
	struct limiter l;
	struct registry *r = make(&l);
	const struct task_entry *task = registry_find(r, "t.free");

	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(limiter_reserve(&l, task, 77), 77);
	limiter_clear(&l);
	registry_free(r);
}
END_TEST

START_TEST(reservations_of_what_is_gone_are_free_again)
{
	struct limiter l;
	struct registry *r = make(&l);
	const struct task_entry *task = registry_find(r, "t.paced");

	limiter_start(&l, task, limiter_reserve(&l, task, 1000000));
	for (int i = 0; i < 100; i++)
		limiter_reserve(&l, task, 1000000);
	limiter_forget_waiting(&l);
	ck_assert_int_eq(limiter_reserve(&l, task, 1200000), 1500000);
	limiter_clear(&l);
	registry_free(r);
}
END_TEST

/* T-94 */
START_TEST(rates_are_read_as_celery_reads_them)
{
	static const struct {
		const char *text;
		double per_second;
	} rows[] = {{"10", 10},		 {"10/s", 10},	 {"30/m", 0.5},
		    {"1/h", 1 / 3600.0}, {"0.5/s", 0.5}, {"0", 0}};
	static const char *const wrong[] = {"", "x", "10/d", "10/", "-1/s", "10 per hour", "nan"};
	double rate;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_int_eq(rate_parse(rows[i].text, &rate, NULL), 0);
		ck_assert_double_eq_tol(rate, rows[i].per_second, 1e-9);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_int_eq(rate_parse(wrong[i], &rate, NULL), -1);
}
END_TEST

START_TEST(a_plug_in_with_a_wrong_rate_is_refused)
{
	static const struct sm_task bad = {.name = "t.bad", .run = run, .rate_limit = "often"};
	static const struct sm_task *const bad_tasks[] = {&bad, NULL};
	static const struct sm_plugin bad_plugin = {.name = "t", .tasks = bad_tasks};
	struct registry *r = registry_new();
	struct err err = {0};

	ck_assert_int_eq(registry_add_plugin(r, &bad_plugin, NULL, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "'often' is no rate limit"));
	registry_free(r);
}
END_TEST

/* T-94 */
START_TEST(another_rate_counts_from_the_last_start)
{
	struct limiter l;
	struct registry *r = make(&l);
	const struct task_entry *task = registry_find(r, "t.paced");
	const struct task_entry *other = registry_find(r, "t.free");

	ck_assert_str_eq(limiter_rate(&l, task), "2/s");
	ck_assert_ptr_null(limiter_rate(&l, other));
	limiter_start(&l, task, limiter_reserve(&l, task, 1000000));
	for (int i = 0; i < 100; i++)
		limiter_reserve(&l, task, 1000000);
	limiter_set(&l, task, 0.2, "12/m");
	ck_assert_str_eq(limiter_rate(&l, task), "12/m");
	ck_assert_int_eq(limiter_reserve(&l, task, 1100000), 6000000);
	ck_assert_int_eq(limiter_reserve(&l, task, 1100000), 11000000);
	limiter_set(&l, task, 0, NULL);
	ck_assert_ptr_null(limiter_rate(&l, task));
	ck_assert_int_eq(limiter_reserve(&l, task, 1100000), 1100000);
	ck_assert_int_eq(limiter_reserve(&l, task, 1100000), 1100000);
	limiter_set(&l, other, 1, "1");
	ck_assert_int_eq(limiter_reserve(&l, other, 5), 5);
	ck_assert_int_eq(limiter_reserve(&l, other, 5), 1000005);
	limiter_clear(&l);
	registry_free(r);
}
END_TEST
