#include "protocol/task_message.h"

#include "base/text.h"
#include "protocol/pyjson.h"
#include "tests/unit/protocol/golden.h"

#define HEADERS "{\"task\": \"a.b\", \"id\": \"1\"}"
#define TRIPLE	"[[1], {\"k\": 2}, {\"chain\": [3]}]"

static void message_fill(struct message *m, const char *headers, const char *body, size_t len)
{
	json_t *object = pyjson_load(headers, strlen(headers), NULL);

	ck_assert_ptr_nonnull(object);
	message_init(m);
	message_headers_set(m, object);
	json_decref(object);
	m->content_type = "application/json";
	m->content_encoding = "utf-8";
	m->body = malloc(len + 1);
	memcpy(m->body, body, len);
	m->body[len] = '\0';
	m->body_len = len;
}

/* Both steps; clears the message. */
static enum intake take_in(struct task_message *t, struct message *m,
			   const struct task_message_options *options, struct err *err)
{
	enum intake intake;

	task_message_init(t);
	intake = task_message_head(t, m, options, err);
	if (intake == INTAKE_OK) {
		ck_assert_ptr_nonnull(t->task);
		intake = task_message_decode(t, m, options, err);
		ck_assert_ptr_null(m->body);
		ck_assert_ptr_nonnull(t->body);
	}
	ck_assert_msg((intake == INTAKE_OK) == (err->text[0] == '\0'), "%d: %s", intake, err->text);
	ck_assert(utf8_is_valid(err->text, strlen(err->text)));
	ck_assert_ptr_null(strpbrk(err->text, "\n\r"));
	message_clear(m);
	return intake;
}

static json_t *text_or_null(const char *text)
{
	return text ? json_string_nocheck(text) : json_null();
}

static json_t *span_value(struct span span)
{
	return span.data ? pyjson_load(span.data, span.len, NULL) : json_null();
}

static json_t *time_value(int64_t us)
{
	return us == TIME_UNSET ? json_null() : json_integer(us);
}

static json_t *limit_value(double seconds)
{
	if (seconds == 0)
		return json_null();
	return seconds == (double)(int64_t)seconds ? json_integer((json_int_t)seconds)
						   : json_real(seconds);
}

/* The form of describe() in tests/golden/record.py. */
static json_t *describe(const struct task_message *t)
{
	json_t *ignore = t->ignore_result == TRI_NULL ? json_null()
						      : json_boolean(t->ignore_result == TRI_TRUE);

	return json_pack(
		"{so so so so so so s[oo] sI so so so so so so so s{so so so so} so}", "task",
		text_or_null(t->task), "id", text_or_null(t->id), "args", span_value(t->args),
		"kwargs", span_value(t->kwargs), "eta", time_value(t->eta_us), "expires",
		time_value(t->expires_us), "limits", limit_value(t->time_limit_s),
		limit_value(t->soft_time_limit_s), "retries", (json_int_t)t->retries, "group",
		text_or_null(t->group), "group_index",
		t->group_index < 0 ? json_null() : json_integer(t->group_index), "root_id",
		text_or_null(t->root_id), "parent_id", text_or_null(t->parent_id), "shadow",
		text_or_null(t->shadow), "origin", text_or_null(t->origin), "ignore_result", ignore,
		"embed", "callbacks", span_value(t->callbacks), "errbacks", span_value(t->errbacks),
		"chain", span_value(t->chain), "chord", span_value(t->chord), "custom",
		t->custom_headers ? pyjson_load(t->custom_headers, strlen(t->custom_headers), NULL)
				  : json_null());
}

static const char *kind_name(enum intake intake)
{
	switch (intake) {
	case INTAKE_OK:
		return "request";
	case INTAKE_UNKNOWN_MESSAGE:
		return "unknown";
	case INTAKE_DECODE_ERROR:
		return "decode";
	case INTAKE_INVALID_TASK:
	case INTAKE_REFUSED_CONTENT:
		return "invalid";
	case INTAKE_ETA_OVERFLOW:
		return "overflow";
	case INTAKE_BAD_KWARGS:
		break;
	}
	return "bad kwargs";
}

static void assert_same_task(const struct golden *g, const struct task_message *t)
{
	json_t *expected = pyjson_load(g->field[5], g->len[5], NULL), *got = describe(t);
	auto_str out = {.max = 100000};

	/* A JSON 7.0 is 7 here. */
	if (json_is_real(json_object_get(expected, "group_index")))
		json_object_set_new(expected, "group_index", json_integer(7));
	pyjson_dump(&out, got);
	ck_assert_msg(json_equal(expected, got), "line %u: %s %s\nPython %s\nhere   %s", g->number,
		      g->field[0], g->field[3], g->field[5], out.data);
	json_decref(expected);
	json_decref(got);
}

/* What exactly is wrong with a time is said in other words, and Python names the class `type`. */
static void assert_same_error(const struct golden *g, const char *text)
{
	const char *time = strstr(g->field[5], " value ") && *g->field[5] == 'i'
				   ? strstr(g->field[5], ": ")
				   : NULL;

	if (time)
		ck_assert_msg(strncmp(text, g->field[5], (size_t)(time - g->field[5])) == 0,
			      "line %u: %s\n%s", g->number, g->field[5], text);
	else if (strstr(g->field[5], "Unsupported type"))
		ck_assert_str_eq(text, "Unsupported type 'nope'");
	else if (strcmp(g->field[4], "unknown") != 0 && strcmp(g->field[4], "overflow") != 0)
		ck_assert_str_eq(text, g->field[5]);
}

/* T-1 T-2 T-3 T-4 T-5 T-7 T-8 T-9 T-10 T-11 T-12 T-13 T-20 T-23 T-24 T-25 T-27 T-36 T-173 T-175 */
START_TEST(messages_are_judged_and_read_as_celery_does)
{
	struct golden g;

	golden_open(&g, "tests/golden/task_message/intake.tsv");
	while (golden_next(&g)) {
		struct task_message t;
		struct message m;
		struct err err = {0};
		enum intake intake;
		const char *kind = g.field[4];

		message_fill(&m, g.field[0], g.field[3], g.len[3]);
		m.content_type = g.field[1];
		m.content_encoding = g.field[2];
		intake = take_in(&t, &m, NULL, &err);
		/* Where Celery's worker crashes, this one rejects. */
		if (strcmp(kind, "crash") == 0)
			kind = "invalid";
		ck_assert_msg(strcmp(kind_name(intake), kind) == 0,
			      "line %u: %s %s %s\nPython %s %s\nhere   %s %s", g.number, g.field[0],
			      g.field[1], g.field[3], g.field[4], g.field[5], kind_name(intake),
			      err.text);
		if (intake == INTAKE_OK)
			assert_same_task(&g, &t);
		else if (strcmp(g.field[4], "crash") != 0)
			assert_same_error(&g, err.text);
		task_message_clear(&t);
	}
}
END_TEST

static void assert_intake(const char *headers, const char *body, enum intake expected,
			  const char *text)
{
	struct task_message t;
	struct message m;
	struct err err = {0};
	enum intake intake;

	message_fill(&m, headers, body, strlen(body));
	intake = take_in(&t, &m, NULL, &err);
	ck_assert_msg(intake == expected, "%s %s: %d %s", headers, body, intake, err.text);
	if (text)
		ck_assert_str_eq(err.text, text);
	task_message_clear(&t);
}

static int64_t sent_of(const char *headers, int64_t property_us)
{
	struct task_message t;
	struct message m;
	struct err err = {0};

	message_fill(&m, headers, TRIPLE, strlen(TRIPLE));
	m.sent_us = property_us;
	ck_assert_int_eq(take_in(&t, &m, NULL, &err), INTAKE_OK);

	int64_t sent_us = t.sent_us;

	task_message_clear(&t);
	return sent_us;
}

START_TEST(a_message_may_say_when_it_was_sent)
{
	static const char ms[] = "{\"task\": \"a.b\", \"id\": \"1\", \"timestamp_in_ms\": %s}";
	static const char *const bad[] = {"null", "\"1700000000123\"",	 "-5",	"0",
					  "[1]",  "9223372036854775807", "1e99"};
	char headers[200];

	ck_assert_int_eq(sent_of("{\"task\": \"a.b\", \"id\": \"1\"}", 0), 0);
	ck_assert_int_eq(sent_of("{\"task\": \"a.b\", \"id\": \"1\"}", 7000000), 7000000);
	snprintf(headers, sizeof(headers), ms, "1700000000123");
	ck_assert_int_eq(sent_of(headers, 7000000), 1700000000123000);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(headers, sizeof(headers), ms, bad[i]);
		ck_assert_int_eq(sent_of(headers, 7000000), 7000000);
	}
}
END_TEST

/* T-15 */
START_TEST(a_message_without_id_is_refused)
{
	assert_intake("{\"task\": \"a.b\"}", TRIPLE, INTAKE_INVALID_TASK, "the message has no id");
	assert_intake("{\"task\": \"a.b\", \"id\": null}", TRIPLE, INTAKE_INVALID_TASK,
		      "task id must be str, not NoneType");
	assert_intake("{\"task\": \"a.b\", \"id\": 5}", TRIPLE, INTAKE_INVALID_TASK, NULL);
	assert_intake("{\"task\": \"a.b\", \"id\": \"\"}", TRIPLE, INTAKE_INVALID_TASK, NULL);
	assert_intake("{\"task\": \"a.b\", \"id\": \"\\u0000x\"}", TRIPLE, INTAKE_INVALID_TASK,
		      "task id is empty or holds a NUL");
	assert_intake("{}", "{\"task\": \"a.b\", \"args\": []}", INTAKE_INVALID_TASK, NULL);
}
END_TEST

START_TEST(a_task_name_must_be_text)
{
	assert_intake("{\"task\": null, \"id\": \"1\"}", TRIPLE, INTAKE_INVALID_TASK,
		      "task name must be str, not NoneType");
	assert_intake("{\"task\": [1], \"id\": \"1\"}", TRIPLE, INTAKE_INVALID_TASK, NULL);
	assert_intake("{}", "{\"task\": 5, \"id\": \"1\"}", INTAKE_INVALID_TASK, NULL);
	assert_intake("{\"task\": \"\", \"id\": \"1\"}", TRIPLE, INTAKE_INVALID_TASK,
		      "task name is empty or holds a NUL");
}
END_TEST

/* T-16 */
START_TEST(a_body_of_another_shape_is_refused)
{
	static const char *const bodies[] = {"",
					     "[]",
					     "[[]]",
					     "[[], {}]",
					     "[[], {}, {}, {}]",
					     "5",
					     "null",
					     "\"abc\"",
					     "{\"a\": 1, \"b\": 2, \"c\": 3}",
					     "[[], {}, 5]",
					     "[[], {}, [1]]",
					     "[[], {}, \"x\"]"};

	for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++)
		assert_intake(HEADERS, bodies[i], INTAKE_INVALID_TASK, NULL);
	assert_intake(HEADERS, "[[], {}, 0]", INTAKE_OK, NULL);
	assert_intake(HEADERS, "[[], {}, []]", INTAKE_OK, NULL);
}
END_TEST

/* T-17 */
START_TEST(keyword_arguments_must_be_a_mapping)
{
	assert_intake(HEADERS, "[[], [], null]", INTAKE_BAD_KWARGS,
		      "Task keyword arguments must be a mapping");
	assert_intake(HEADERS, "[[], \"x\", null]", INTAKE_BAD_KWARGS, NULL);
	assert_intake(HEADERS, "[[], null, null]", INTAKE_BAD_KWARGS, NULL);
	assert_intake(HEADERS, "[[], {\"__type__\": \"bytes\", \"__value__\": \"x\"}, null]",
		      INTAKE_BAD_KWARGS, NULL);
	assert_intake(HEADERS, "[5, {}, null]", INTAKE_BAD_KWARGS,
		      "Task positional arguments must be a list");
	assert_intake("{}", "{\"task\": \"a.b\", \"id\": \"1\", \"args\": 5}", INTAKE_INVALID_TASK,
		      NULL);
}
END_TEST

/* T-21 */
START_TEST(an_empty_time_is_refused)
{
	assert_intake("{\"task\": \"a.b\", \"id\": \"1\", \"eta\": \"\"}", TRIPLE,
		      INTAKE_INVALID_TASK, "invalid ETA value '': empty text");
	assert_intake("{\"task\": \"a.b\", \"id\": \"1\", \"expires\": \"\"}", TRIPLE,
		      INTAKE_INVALID_TASK, "invalid expires value '': empty text");
	assert_intake("{\"task\": \"a.b\", \"id\": \"1\", \"eta\": 0}", TRIPLE, INTAKE_INVALID_TASK,
		      NULL);
}
END_TEST

/* T-22 */
START_TEST(a_time_limit_has_two_parts)
{
	assert_intake("{\"task\": \"a.b\", \"id\": \"1\", \"timelimit\": [1]}", TRIPLE,
		      INTAKE_INVALID_TASK, "timelimit must be [hard, soft], not 1 values");
	assert_intake("{\"task\": \"a.b\", \"id\": \"1\", \"timelimit\": [1, 2, 3]}", TRIPLE,
		      INTAKE_INVALID_TASK, NULL);
	assert_intake("{\"task\": \"a.b\", \"id\": \"1\", \"timelimit\": 5}", TRIPLE,
		      INTAKE_INVALID_TASK, "timelimit must be [hard, soft], not int");
}
END_TEST

/* T-14 T-36 */
START_TEST(content_is_read_only_when_its_type_is_accepted)
{
	static const char *const accept[] = {"pickle", "application/x-yaml", "json", NULL};
	static const struct {
		const char *type;
		enum intake expected;
	} rows[] = {{NULL, INTAKE_INVALID_TASK},
		    {"", INTAKE_INVALID_TASK},
		    {"application/data", INTAKE_INVALID_TASK},
		    {"application/x-python-serialize", INTAKE_DECODE_ERROR},
		    {"application/x-yaml", INTAKE_OK},
		    {"application/x-msgpack", INTAKE_REFUSED_CONTENT},
		    {"a\nb", INTAKE_REFUSED_CONTENT},
		    {"application/json", INTAKE_OK}};
	struct task_message_options options = {.content = {.accept = accept}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct task_message t;
		struct message m;
		struct err err = {0};

		message_fill(&m, HEADERS, TRIPLE, strlen(TRIPLE));
		m.content_type = rows[i].type;
		ck_assert_int_eq(take_in(&t, &m, &options, &err), rows[i].expected);
		task_message_clear(&t);
	}
}
END_TEST

/* T-14 */
START_TEST(a_message_without_content_type_and_headers_is_unknown)
{
	struct task_message t;
	struct message m;
	struct err err = {0};

	message_fill(&m, "{}", "{\"task\": \"a.b\"}", 15);
	m.content_type = NULL;
	ck_assert_int_eq(take_in(&t, &m, NULL, &err), INTAKE_UNKNOWN_MESSAGE);
	task_message_clear(&t);
}
END_TEST

/* T-40 */
START_TEST(compression_is_named_when_it_cannot_be_undone)
{
	assert_intake("{\"task\": \"a.b\", \"id\": \"1\", \"compression\": \"application/x-gzip\"}",
		      "x\x9c", INTAKE_DECODE_ERROR,
		      "cannot decompress: gzip: the data end too early");
	assert_intake("{\"task\": \"a.b\", \"id\": \"1\", \"compression\": \"lz4\"}", TRIPLE,
		      INTAKE_DECODE_ERROR,
		      "unsupported compression 'lz4': this worker reads gzip, bzip2, lzma, brotli, "
		      "zstd");
	assert_intake("{\"task\": \"a.b\", \"id\": \"1\", \"compression\": 1}", TRIPLE,
		      INTAKE_DECODE_ERROR, NULL);
	assert_intake("{\"task\": \"a.b\", \"id\": \"1\", \"compression\": \"\"}", TRIPLE,
		      INTAKE_OK, NULL);
	assert_intake("{\"task\": \"a.b\", \"id\": \"1\", \"compression\": null}", TRIPLE,
		      INTAKE_OK, NULL);
}
END_TEST

static enum intake decode_encoded(const char *encoding, const char *body, const char *args)
{
	struct task_message t;
	struct message m;
	struct err err = {0};
	enum intake intake;

	message_fill(&m, HEADERS, body, strlen(body));
	m.content_encoding = encoding;
	intake = take_in(&t, &m, NULL, &err);
	if (args) {
		ck_assert_uint_eq(t.args.len, strlen(args));
		ck_assert_mem_eq(t.args.data, args, t.args.len);
	}
	task_message_clear(&t);
	return intake;
}

/* T-33 */
START_TEST(bodies_are_utf8_unless_they_say_latin1)
{
	static const char utf8[] = "[[\"\xc3\xa9\"], {}, {}]", latin1[] = "[[\"\xe9\"], {}, {}]";
	static const char args[] = "[\"\xc3\xa9\"]", sign[] = "[[\"\xa9\"], {}, {}]";

	ck_assert_int_eq(decode_encoded(NULL, utf8, args), INTAKE_OK);
	ck_assert_int_eq(decode_encoded("UTF-8", utf8, args), INTAKE_OK);
	ck_assert_int_eq(decode_encoded("binary", utf8, args), INTAKE_OK);
	ck_assert_int_eq(decode_encoded("us-ascii", utf8, args), INTAKE_OK);
	ck_assert_int_eq(decode_encoded("ISO-8859-1", latin1, args), INTAKE_OK);
	ck_assert_int_eq(decode_encoded("latin-1", sign, "[\"\xc2\xa9\"]"), INTAKE_OK);
	ck_assert_int_eq(decode_encoded("utf-8", latin1, NULL), INTAKE_DECODE_ERROR);
	ck_assert_int_eq(decode_encoded("cp1252", utf8, NULL), INTAKE_DECODE_ERROR);
	ck_assert_int_eq(decode_encoded("cp1252", "[[1], {}, {}]", "[1]"), INTAKE_OK);
}
END_TEST

START_TEST(arguments_in_a_text_are_its_characters)
{
	struct task_message t;
	struct message m;
	struct err err = {0};
	static const char body[] =
		"[\"a\xc3\xa9\\\"\\ud800\", {\"k\": 1}, {\"chain\": [2], \"chord\": {\"x\": 3}}]";

	message_fill(&m, HEADERS, body, strlen(body));
	ck_assert_int_eq(take_in(&t, &m, NULL, &err), INTAKE_OK);
	ck_assert_mem_eq(t.args.data, "[\"a\", \"\\u00e9\", \"\\\"\", \"\\ud800\"]", t.args.len);
	ck_assert_mem_eq(t.kwargs.data, "{\"k\": 1}", t.kwargs.len);
	ck_assert_mem_eq(t.chain.data, "[2]", t.chain.len);
	ck_assert_mem_eq(t.chord.data, "{\"x\": 3}", t.chord.len);
	ck_assert_uint_eq(t.body_len, strlen(body));
	task_message_clear(&t);
}
END_TEST

/* T-6 */
START_TEST(taskset_is_the_group_of_protocol_1)
{
	struct task_message t;
	struct message m;
	struct err err = {0};
	static const char body[] = "{\"task\": \"a.b\", \"id\": \"1\", \"args\": [], \"taskset\": "
				   "\"ts\", \"group\": \"g\", \"group_index\": 4}";

	message_fill(&m, "{}", body, strlen(body));
	ck_assert_int_eq(take_in(&t, &m, NULL, &err), INTAKE_OK);
	ck_assert_int_eq(t.protocol, 1);
	ck_assert_str_eq(t.group, "ts");
	ck_assert_int_eq(t.group_index, 4);
	task_message_clear(&t);
}
END_TEST

START_TEST(naive_times_of_protocol_1_may_be_local)
{
	static const struct task_message_options options = {.naive_is_local = true,
							    .local_offset_s = 7200};
	static const char *const bodies[] = {
		"{\"task\": \"a.b\", \"id\": \"1\", \"eta\": \"2026-11-21T04:35:11\", \"utc\": "
		"false}",
		"{\"task\": \"a.b\", \"id\": \"1\", \"eta\": \"2026-11-21T04:35:11\"}"};
	static const int64_t expected[] = {INT64_C(1795228511000000), INT64_C(1795235711000000)};

	for (size_t i = 0; i < 2; i++) {
		struct task_message t;
		struct message m;
		struct err err = {0};

		message_fill(&m, "{}", bodies[i], strlen(bodies[i]));
		ck_assert_int_eq(take_in(&t, &m, &options, &err), INTAKE_OK);
		ck_assert_int_eq(t.eta_us, expected[i]);
		task_message_clear(&t);
	}
}
END_TEST

/* T-8 */
START_TEST(numbers_in_headers_may_be_of_any_kind)
{
	struct task_message t;
	struct message m;
	struct err err = {0};
	static const char headers[] =
		"{\"task\": \"a.b\", \"id\": \"1\", \"retries\": \"3\", \"group_index\": "
		"99999999999999999999, \"timelimit\": [\"1.5\", NaN], \"replaced_task_nesting\": "
		"2.0, \"shadow\": 5, \"group\": [1], \"root_id\": \"\", \"ignore_result\": []}";

	message_fill(&m, headers, TRIPLE, strlen(TRIPLE));
	ck_assert_int_eq(take_in(&t, &m, NULL, &err), INTAKE_OK);
	ck_assert_int_eq(t.retries, 3);
	ck_assert_int_eq(t.group_index, INT64_MAX);
	ck_assert_double_eq(t.time_limit_s, 1.5);
	ck_assert_double_eq(t.soft_time_limit_s, 0);
	ck_assert_int_eq(t.replaced_task_nesting, 2);
	ck_assert_str_eq(t.shadow, "5");
	ck_assert_str_eq(t.group, "[1]");
	ck_assert_int_eq(t.ignore_result, TRI_FALSE);
	task_message_clear(&t);
}
END_TEST

/* T-173 */
START_TEST(an_eta_that_overflows_leaves_a_whole_message)
{
	struct task_message t;
	struct message m;
	struct err err = {0};
	static const char headers[] =
		"{\"task\": \"a.b\", \"id\": \"1\", \"group\": \"g\", \"eta\": "
		"\"9999-12-31T23:59:59-12:00\", \"expires\": "
		"\"0001-01-01T00:00:00+12:00\"}";

	message_fill(&m, headers, TRIPLE, strlen(TRIPLE));
	ck_assert_int_eq(take_in(&t, &m, NULL, &err), INTAKE_ETA_OVERFLOW);
	ck_assert_str_eq(err.text, "Couldn't convert ETA '9999-12-31T23:59:59-12:00' to timestamp: "
				   "OverflowError('date value out of range')");
	ck_assert_str_eq(t.id, "1");
	ck_assert_str_eq(t.group, "g");
	ck_assert_mem_eq(t.kwargs.data, "{\"k\": 2}", t.kwargs.len);
	ck_assert_int_lt(t.expires_us, 0);
	task_message_clear(&t);
}
END_TEST

START_TEST(the_last_of_equal_keys_wins)
{
	struct task_message t;
	struct message m;
	struct err err = {0};
	static const char body[] = "[[], {}, {\"chain\": [1], \"c\\u0068ain\": [2], \"chord\": {}, "
				   "\"chord\": null}]";

	message_fill(&m, HEADERS, body, strlen(body));
	ck_assert_int_eq(take_in(&t, &m, NULL, &err), INTAKE_OK);
	ck_assert_mem_eq(t.chain.data, "[2]", t.chain.len);
	ck_assert_ptr_null(t.chord.data);
	task_message_clear(&t);
}
END_TEST

START_TEST(a_mapping_of_many_keys_is_read_whole)
{
	struct task_message t;
	struct message m;
	struct err err = {0};
	auto_str body = {.max = 10000};

	str_puts(&body, "[[], {}, {");
	for (int i = 0; i < 100; i++)
		str_addf(&body, "\"k%d\": 0, ", i);
	str_puts(&body, "\"chord\": {\"a\": 1}}]");
	message_fill(&m, HEADERS, body.data, body.len);
	ck_assert_int_eq(take_in(&t, &m, NULL, &err), INTAKE_OK);
	ck_assert_mem_eq(t.chord.data, "{\"a\": 1}", t.chord.len);
	task_message_clear(&t);
}
END_TEST

START_TEST(properties_come_along)
{
	struct task_message t;
	struct message m;
	struct err err = {0};

	message_fill(&m, HEADERS, TRIPLE, strlen(TRIPLE));
	m.correlation_id = "c";
	m.reply_to = "r";
	m.exchange = "x";
	m.routing_key = "k";
	m.priority = 3;
	m.is_redelivered = true;
	ck_assert_int_eq(take_in(&t, &m, NULL, &err), INTAKE_OK);
	ck_assert_str_eq(t.correlation_id, "c");
	ck_assert_str_eq(t.reply_to, "r");
	ck_assert_str_eq(t.exchange, "x");
	ck_assert_str_eq(t.routing_key, "k");
	ck_assert_int_eq(t.priority, 3);
	ck_assert(t.is_redelivered);
	task_message_clear(&t);
}
END_TEST
