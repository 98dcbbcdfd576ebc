#include "protocol/task_message.h"

#include "protocol/pyjson.h"
#include "tests/unit/protocol/golden.h"

static void decode(struct task_message *t, const char *headers, const char *body)
{
	struct message m;
	struct err err = {0};

	json_t *object = pyjson_load(headers, strlen(headers), NULL);

	message_init(&m);
	message_headers_set(&m, object);
	json_decref(object);
	m.content_type = "application/json";
	m.body = strdup(body);
	m.body_len = strlen(body);
	task_message_init(t);
	ck_assert_int_eq(task_message_head(t, &m, NULL, &err), INTAKE_OK);
	ck_assert_int_eq(task_message_decode(t, &m, NULL, &err), INTAKE_OK);
	ck_assert_str_eq(err.text, "");
	message_clear(&m);
}

static void assert_headers(const struct task_message *t, const char *expected)
{
	json_t *headers = task_message_headers(t);
	auto_str out = {.max = 100000};

	ck_assert_int_eq(pyjson_dump(&out, headers), 0);
	ck_assert_str_eq(out.data, expected);
	json_decref(headers);
}

static void assert_body(const struct task_message *t, const char *expected)
{
	auto_str out = {.max = 100000};

	ck_assert_int_eq(task_message_write_body(&out, t), 0);
	ck_assert_str_eq(out.data, expected);
}

/* T-1 T-7 T-33 T-79 */
START_TEST(a_message_of_celery_is_written_again_byte_for_byte)
{
	struct golden g;

	golden_open(&g, "tests/golden/task_message/v2.tsv");
	while (golden_next(&g)) {
		struct task_message t;

		decode(&t, g.field[0], g.field[1]);
		assert_headers(&t, g.field[0]);
		assert_body(&t, g.field[1]);
		task_message_clear(&t);
	}
}
END_TEST

/* T-2 */
START_TEST(what_was_not_set_is_null)
{
	struct task_message t;

	decode(&t, "{\"task\": \"a.b\", \"id\": \"1\"}", "[[1],{},null]");
	assert_headers(&t,
		       "{\"lang\": \"py\", \"task\": \"a.b\", \"id\": \"1\", \"shadow\": null, "
		       "\"eta\": null, \"expires\": null, \"group\": null, \"group_index\": null, "
		       "\"retries\": 0, \"timelimit\": [null, null], \"root_id\": \"1\", "
		       "\"parent_id\": null, \"argsrepr\": null, \"kwargsrepr\": null, "
		       "\"origin\": null, \"ignore_result\": null, \"replaced_task_nesting\": 0, "
		       "\"stamped_headers\": null, \"stamps\": {}}");
	assert_body(&t, "[[1], {}, {\"callbacks\": null, \"errbacks\": null, \"chain\": null, "
			"\"chord\": null}]");
	task_message_clear(&t);
}
END_TEST

/* T-79 T-80 T-81 T-182 */
START_TEST(a_retry_keeps_all_but_what_the_broker_added)
{
	struct task_message t;
	json_t *headers;

	decode(&t,
	       "{\"task\": \"a.b\", \"id\": \"1\", \"expires\": \"2026-11-21T06:35:11.5+02:00\", "
	       "\"my\": {\"k\": [1]}, \"celery_beat_task\": true, \"x-death\": [], "
	       "\"x-first-death-queue\": \"q\", \"x-last-death-reason\": \"r\", \"compression\": "
	       "null, \"stamped_headers\": [\"s\"], \"stamps\": {\"s\": [1]}}",
	       "[[], {}, {}]");
	t.retries++;
	t.eta_us = INT64_C(1795235712000000);
	headers = task_message_headers(&t);
	ck_assert_int_eq(json_integer_value(json_object_get(headers, "retries")), 1);
	ck_assert_str_eq(json_string_value(json_object_get(headers, "eta")),
			 "2026-11-21T04:35:12+00:00");
	ck_assert_str_eq(json_string_value(json_object_get(headers, "expires")),
			 "2026-11-21T04:35:11.500000+00:00");
	ck_assert_uint_eq(json_object_size(headers), 21);
	ck_assert(json_is_object(json_object_get(headers, "my")));
	ck_assert(json_is_true(json_object_get(headers, "celery_beat_task")));
	ck_assert_uint_eq(json_array_size(json_object_get(headers, "stamped_headers")), 1);
	json_decref(headers);
	task_message_clear(&t);
}
END_TEST

/* T-80 */
START_TEST(x_death_never_goes_out)
{
	struct task_message t;
	json_t *headers;

	decode(&t, "{\"task\": \"a.b\", \"id\": \"1\"}", "[[], {}, {}]");
	t.custom_headers = "{\"x-death\": 1, \"x-first-death-queue\": 1, "
			   "\"x-last-death-exchange\": 1, \"mine\": 1}";
	headers = task_message_headers(&t);
	ck_assert_uint_eq(json_object_size(headers), 20);
	ck_assert_ptr_nonnull(json_object_get(headers, "mine"));
	json_decref(headers);
	task_message_clear(&t);
}
END_TEST

/* T-33 */
START_TEST(opaque_parts_keep_their_bytes)
{
	struct task_message t;

	decode(&t, "{\"task\": \"a.b\", \"id\": \"1\"}",
	       " [ [1 ,2.50,\"\xc3\xa9\"] , {\"a\" :1E5} , {\"chain\":[ ],\"chord\" : "
	       "{\"task\":1}} ]");
	assert_body(&t,
		    "[[1 ,2.50,\"\xc3\xa9\"], {\"a\" :1E5}, {\"callbacks\": null, \"errbacks\": "
		    "null, \"chain\": [ ], \"chord\": {\"task\":1}}]");
	task_message_clear(&t);
}
END_TEST

START_TEST(a_body_over_the_maximum_fails)
{
	struct task_message t;
	auto_str out = {.max = 30};

	decode(&t, "{\"task\": \"a.b\", \"id\": \"1\"}", "[[1], {}, {}]");
	ck_assert_int_eq(task_message_write_body(&out, &t), -1);
	task_message_clear(&t);
}
END_TEST
