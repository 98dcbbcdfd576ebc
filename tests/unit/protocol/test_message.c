#include "protocol/message.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/pyjson.h"
#include "tests/headers_json.h"

START_TEST(a_message_begins_empty_and_may_be_cleared_twice)
{
	struct message m;

	message_init(&m);
	ck_assert_uint_eq(m.header_count, 0);
	ck_assert_int_eq(message_header(&m, HEADER_TASK)->kind, VALUE_ABSENT);
	ck_assert_int_eq(m.priority, -1);
	m.body = strdup("x");
	m.content_type = "application/json";
	message_clear(&m);
	ck_assert_ptr_null(m.body);
	message_clear(&m);
}
END_TEST

static void set(struct message *m, const char *text)
{
	json_t *object = pyjson_load(text, strlen(text), NULL);

	ck_assert_ptr_nonnull(object);
	message_headers_set(m, object);
	json_decref(object);
}

static void assert_headers(const struct message *m, const char *expected)
{
	json_t *object = message_headers_json(m);
	auto_str text = STR_INIT(100000);

	pyjson_dump(&text, object);
	ck_assert_str_eq(text.data, expected);
	json_decref(object);
}

/* T-8 */
START_TEST(headers_of_every_kind_come_back_as_they_were)
{
	static const char text[] =
		"{\"\": null, \"a\": true, \"b\": false, \"c\": -5, \"d\": 1.5, \"e\": \"\", "
		"\"f\": "
		"\"x\\u0000\\ud800\", \"g\": [], \"h\": [1, null, \"y\"], \"i\": {}, \"j\": [[]], "
		"\"k\": {\"l\": [{}]}, \"m\": NaN, \"n\": [123456789012345678901], \"o\\u0000p\": "
		"1}";
	struct message m;

	message_init(&m);
	set(&m, text);
	assert_headers(&m, text);
	ck_assert_uint_eq(m.header_count, 15);
	ck_assert_int_eq(m.headers[8].value.kind, VALUE_LIST);
	ck_assert_int_eq(m.headers[9].value.kind, VALUE_EMPTY);
	ck_assert_int_eq(m.headers[13].value.kind, VALUE_JSON);
	message_reset(&m);
	assert_headers(&m, "{}");
	set(&m, text);
	set(&m, "{\"z\": [{}]}");
	assert_headers(&m, "{\"z\": [{}]}");
	message_clear(&m);
}
END_TEST

static void add(struct message *m, const char *name, int64_t number)
{
	struct value value = {.kind = VALUE_INT, .integer = number};
	size_t len = strlen(name);

	if (number < 0) {
		value.kind = VALUE_JSON;
		value.json = json_pack("[[I]]", (json_int_t)number);
	}
	message_headers_add(m, header_name_of(name, len), (struct span){name, len}, value);
}

START_TEST(the_first_of_two_headers_gives_the_place_and_the_last_the_value)
{
	struct message m;

	message_init(&m);
	message_headers_begin(&m, 12);
	add(&m, "my", 1);
	add(&m, "task", -1);
	add(&m, "", 3);
	add(&m, "x-death", -2);
	add(&m, "my", -3);
	add(&m, "task", 4);
	add(&m, "mz", 5);
	add(&m, "x-death", 6);
	add(&m, "", 7);
	add(&m, "my", 8);
	add(&m, "m", 9);
	add(&m, "my", -10);
	message_headers_end(&m);
	assert_headers(&m, "{\"my\": [[-10]], \"task\": 4, \"\": 7, \"x-death\": 6, \"mz\": 5, "
			   "\"m\": 9}");
	ck_assert(message_header(&m, HEADER_TASK)->integer == 4);
	message_clear(&m);
}
END_TEST

START_TEST(many_headers_of_one_name_cost_no_more_than_others)
{
	enum { COUNT = 100000 };
	struct message m;

	message_init(&m);
	message_headers_begin(&m, COUNT);
	for (int i = 0; i < COUNT; i++)
		add(&m, i % 2 ? "a" : "b", i);
	message_headers_end(&m);
	assert_headers(&m, "{\"b\": 99998, \"a\": 99999}");
	message_clear(&m);
}
END_TEST

/* T-7 */
START_TEST(every_name_of_celery_is_known_and_no_other)
{
	static const char *const reserved[] = {"args",
					       "as_execution_options",
					       "callbacks",
					       "called_directly",
					       "chain",
					       "children",
					       "chord",
					       "clear",
					       "correlation_id",
					       "delivery_info",
					       "errbacks",
					       "get",
					       "headers",
					       "hostname",
					       "is_eager",
					       "kwargs",
					       "logfile",
					       "loglevel",
					       "properties",
					       "reply_to",
					       "soft_time_limit",
					       "taskset",
					       "time_limit",
					       "update",
					       "utc",
					       "x-death",
					       "x-first-death-exchange",
					       "x-first-death-queue",
					       "x-first-death-reason",
					       "x-last-death-exchange",
					       "x-last-death-queue",
					       "x-last-death-reason"};
	static const char *const custom[] = {"",
					     "i",
					     "iD",
					     "my",
					     "tasks",
					     "x-death-",
					     "idx",
					     "x-first-death-exchanges",
					     "replaced_task_nestinG"};

	for (unsigned name = HEADER_RESERVED + 1; name < HEADER_NAME_COUNT; name++) {
		const char *text = header_name_text(name);

		ck_assert_int_eq(header_name_of(text, strlen(text)), name);
		ck_assert_int_eq(header_name_of(text, strlen(text) - 1), HEADER_CUSTOM);
	}
	for (size_t i = 0; i < sizeof(reserved) / sizeof(*reserved); i++)
		ck_assert_msg(header_name_of(reserved[i], strlen(reserved[i])) == HEADER_RESERVED,
			      "%s", reserved[i]);
	for (size_t i = 0; i < sizeof(custom) / sizeof(*custom); i++)
		ck_assert_msg(header_name_of(custom[i], strlen(custom[i])) == HEADER_CUSTOM, "%s",
			      custom[i]);
}
END_TEST
