#include "protocol/result.h"

#include "tests/unit/protocol/golden.h"

#define DONE_US INT64_C(1795235754664825)
#define TEXT(s)                                                                                    \
	{                                                                                          \
		s, sizeof(s) - 1                                                                   \
	}

/* What tests/golden/record.py gave to Celery. */
static const struct {
	const char *name;
	struct result_record record;
} rows[] = {
	{"success",
	 {.status = "SUCCESS", .result = TEXT("3"), .date_done_us = DONE_US, .task_id = "t-1"}},
	{"started",
	 {.status = "STARTED",
	  .result = TEXT("{\"pid\": 1532, \"hostname\": \"w2@h\"}"),
	  .task_id = "t-1"}},
	{"retry",
	 {.status = "RETRY",
	  .result = TEXT("{\"exc_type\": \"KeyError\", \"exc_message\": [\"again\"], "
			 "\"exc_module\": \"builtins\"}"),
	  .traceback = "Traceback (most recent call last):\n x\n",
	  .task_id = "t-1"}},
	{"failure",
	 {.status = "FAILURE",
	  .result = TEXT("{\"exc_type\": \"ValueError\", \"exc_message\": [\"caf\\u00e9\", 1, "
			 "null], \"exc_module\": \"builtins\"}"),
	  .traceback = "Tr\n",
	  .date_done_us = DONE_US,
	  .task_id = "t-1"}},
	{"revoked",
	 {.status = "REVOKED",
	  .result = TEXT("{\"exc_type\": \"TaskRevokedError\", \"exc_message\": [\"expired\"], "
			 "\"exc_module\": \"celery.exceptions\"}"),
	  .date_done_us = DONE_US,
	  .task_id = "t-1"}},
	{"ids",
	 {.status = "SUCCESS",
	  .date_done_us = DONE_US,
	  .group_id = "g-1",
	  .parent_id = "p-1",
	  .task_id = "t-1"}},
	{"extended",
	 {.status = "SUCCESS",
	  .date_done_us = DONE_US,
	  .name = "capp.add",
	  .args = TEXT("[1]"),
	  .kwargs = TEXT("{\"k\": \"v\"}"),
	  .worker = "w@h",
	  .retries = 2,
	  .queue = "celery",
	  .stamped_headers = "[\"st\"]",
	  .stamps = "{\"st\": \"abc\", \"other\": 1}",
	  .task_id = "t-1"}},
	{"extended_bare",
	 {.status = "SUCCESS",
	  .date_done_us = DONE_US,
	  .name = "capp.add",
	  .args = TEXT("[]"),
	  .kwargs = TEXT("{}"),
	  .worker = "w@h",
	  .task_id = "t-1"}},
	{"offset",
	 {.status = "FAILURE",
	  .date_done_us = DONE_US - 664825 - INT64_C(7200) * 1000000,
	  .date_offset_s = 7200,
	  .task_id = "t-1"}},
};

/* T-97 T-107 T-108 T-110 */
START_TEST(records_are_the_bytes_that_celery_stores)
{
	struct golden g;
	size_t i = 0;

	golden_open(&g, "tests/golden/result/record.tsv");
	for (; golden_next(&g); i++) {
		auto_str out = {.max = 10000};

		ck_assert_uint_lt(i, sizeof(rows) / sizeof(*rows));
		ck_assert_str_eq(rows[i].name, g.field[0]);
		ck_assert_int_eq(result_encode(&out, &rows[i].record), 0);
		ck_assert_str_eq(out.data, g.field[1]);
	}
	ck_assert_uint_eq(i, sizeof(rows) / sizeof(*rows));
}
END_TEST

/* T-111 T-112 T-113 */
START_TEST(an_exception_keeps_type_arguments_and_module)
{
	struct span args = TEXT("[\"TypeError('x')\", 1]");
	auto_str out = {.max = 1000};

	ck_assert_int_eq(result_exception(&out, "kombu.exceptions", "EncodeError", args), 0);
	ck_assert_str_eq(out.data,
			 "{\"exc_type\": \"EncodeError\", \"exc_message\": "
			 "[\"TypeError('x')\", 1], \"exc_module\": \"kombu.exceptions\"}");
	str_reset(&out);
	ck_assert_int_eq(result_exception(&out, "builtins", "KeyError", (struct span){0}), 0);
	ck_assert_str_eq(out.data, "{\"exc_type\": \"KeyError\", \"exc_message\": [], "
				   "\"exc_module\": \"builtins\"}");
}
END_TEST

START_TEST(a_record_over_the_maximum_fails)
{
	auto_str out = {.max = 20};

	ck_assert_int_eq(result_encode(&out, &rows[0].record), -1);
}
END_TEST

static enum task_state state_of(const char *record)
{
	return result_state_of(record, strlen(record));
}

START_TEST(the_state_of_a_stored_record_is_read)
{
	ck_assert_int_eq(state_of("{\"status\": \"SUCCESS\", \"result\": 3}"), TASK_SUCCESS);
	ck_assert_int_eq(state_of("{\"result\": {\"status\": \"FAILURE\"}, \"status\":\"RETRY\"}"),
			 TASK_RETRY);
	ck_assert_int_eq(state_of("{\"status\": \"PROGRESS\"}"), TASK_CUSTOM);
	ck_assert_int_eq(state_of("{\"status\": 1}"), TASK_PENDING);
	ck_assert_int_eq(state_of("{\"result\": 1}"), TASK_PENDING);
	ck_assert_int_eq(state_of("{\"status\": \"SUCCESS\""), TASK_PENDING);
	ck_assert_int_eq(state_of("[\"status\"]"), TASK_PENDING);
	ck_assert_int_eq(state_of(""), TASK_PENDING);
}
END_TEST

/* T-72 */
START_TEST(the_parts_of_a_stored_success_are_read)
{
	static const struct {
		const char *record, *result, *children; /* result NULL: no success */
	} cases[] = {
		{"{\"status\": \"SUCCESS\", \"result\": [1, {}], \"children\": []}", "[1, {}]", ""},
		{"{\"children\": null, \"result\": null, \"status\": \"SUCCESS\"}", "null", ""},
		{"{\"status\":\"SUCCESS\",\"result\":3,\"children\":[[[\"a\",null],null]]}", "3",
		 "[[[\"a\",null],null]]"},
		{"{\"status\": \"FAILURE\", \"result\": 3}", NULL, ""},
		{"{\"status\": \"SUCCESSES\", \"result\": 3}", NULL, ""},
		{"{\"status\": \"SUCCESS\"}", NULL, ""},
		{"[\"status\"]", NULL, ""},
		{"{", NULL, ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct span record = {cases[i].record, strlen(cases[i].record)};
		struct span result, children;

		ck_assert_int_eq(result_read_success(record, &result, &children),
				 cases[i].result != NULL);
		if (!cases[i].result)
			continue;
		ck_assert_uint_eq(result.len, strlen(cases[i].result));
		ck_assert_mem_eq(result.data, cases[i].result, result.len);
		ck_assert_uint_eq(children.len, strlen(cases[i].children));
		if (children.len > 0)
			ck_assert_mem_eq(children.data, cases[i].children, children.len);
	}
}
END_TEST
