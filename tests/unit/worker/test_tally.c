#include "worker/request/tally.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static json_t *run(struct sm_job *job)
{
	(void)job;
	return json_null();
}

static const struct sm_task first = {.name = "a.one", .run = run};
static const struct sm_task second = {.name = "a.two", .run = run};
static const struct sm_plugin plugin = {.name = "p", .tasks = SM_TASKS(&first, &second)};

static struct registry *make_registry(void)
{
	struct registry *r = registry_new();

	ck_assert_int_eq(registry_add_plugin(r, &plugin, NULL, NULL), 0);
	return r;
}

START_TEST(every_name_has_numbers_of_its_own_from_its_first_task_on)
{
	struct registry *r = make_registry();
	struct tallies all;

	tallies_init(&all, r);
	ck_assert_ptr_null(tally_at(&all, 0));
	ck_assert_ptr_null(tally_at(&all, 1));
	tally_of(&all, registry_at(r, 1))->received++;
	tally_of(&all, registry_at(r, 1))->ends[TALLY_LOST]++;
	ck_assert_ptr_null(tally_at(&all, 0));
	ck_assert_uint_eq(tally_at(&all, 1)->received, 1);
	ck_assert_uint_eq(tally_at(&all, 1)->ends[TALLY_LOST], 1);
	ck_assert_uint_eq(tally_at(&all, 1)->ends[TALLY_FAILED], 0);
	tallies_clear(&all);
	registry_free(r);
}
END_TEST

START_TEST(every_end_has_a_name)
{
	for (int i = 0; i < TALLY_END_COUNT; i++)
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(tally_end_name((enum tally_end)i),
					 tally_end_name((enum tally_end)j));
	ck_assert_str_ne(tally_since_name(TALLY_SENT), tally_since_name(TALLY_RECEIVED));
}
END_TEST

static uint64_t answers(struct tallies *all, const char *provider, const char *answer)
{
	return *metric_set_at(all->answers, (const char *[]){"mail", provider, answer});
}

START_TEST(answers_are_counted_line_by_line)
{
	struct registry *r = make_registry();
	struct tallies all;

	tallies_init(&all, r);
	tally_answers(&all, "mail\tsmtp\taccepted\nmail\tsmtp\tdeferred\nmail\tsmtp\taccepted\n");
	ck_assert_uint_eq(answers(&all, "smtp", "accepted"), 2);
	ck_assert_uint_eq(answers(&all, "smtp", "deferred"), 1);
	tallies_clear(&all);
	registry_free(r);
}
END_TEST

START_TEST(lines_of_another_form_do_not_count)
{
	static const char *const bad[] = {"",
					  "\n",
					  "\t\t\n",
					  "mail\tsmtp\n",
					  "mail\tsmtp\tx\ty\n",
					  "mail\tsmtp\t\n",
					  "mail\tSMTP\tx\n",
					  "mail\tsm\"tp\tx\n",
					  "mail\tsmtp\tx",
					  "ma\xffil\tsmtp\tx\n",
					  "mail\tsmtp\tthirty-three-characters-are-too-l\n"};
	struct registry *r = make_registry();
	struct tallies all;

	tallies_init(&all, r);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		tally_answers(&all, bad[i]);
		ck_assert_msg(all.answers == NULL, "%s", bad[i]);
	}
	tally_answers(&all, "??\nmail\tsmtp\tx\n");
	ck_assert_uint_eq(answers(&all, "smtp", "x"), 1);
	tallies_clear(&all);
	registry_free(r);
}
END_TEST

static void count_sets(void *ctx, const char *const *values, uint64_t count)
{
	size_t *sets = ctx;

	(void)values, (void)count;
	++*sets;
}

START_TEST(a_task_that_invents_names_fills_no_memory)
{
	struct registry *r = make_registry();
	struct tallies all;
	size_t sets = 0;
	char line[64];

	tallies_init(&all, r);
	for (int i = 0; i < 10000; i++) {
		snprintf(line, sizeof(line), "mail\tp%d\taccepted\n", i);
		tally_answers(&all, line);
	}
	metric_set_each(all.answers, count_sets, &sets);
	ck_assert_uint_eq(sets, 201);
	tallies_clear(&all);
	registry_free(r);
}
END_TEST
END_TEST
