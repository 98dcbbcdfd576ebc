#include "protocol/canvas.h"

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "tests/unit/protocol/golden.h"

static const struct canvas_options options = {
	.origin = "gen1@host",
	.now_us = INT64_C(1795235701651532),
	.max_bytes = 1 << 20,
};

static struct span span_of(const char *text)
{
	return (struct span){text, strlen(text)};
}

/* A task that has ended: t-1 of the workflow r-1. */
static void task_with(struct task_message *t, const char *embed)
{
	auto_str body = {.max = 100000};
	struct message m;
	struct err err = {0};

	str_addf(&body, "[[], {}, %s]", embed);
	json_t *headers =
		json_pack("{s:s, s:s, s:s}", "task", "capp.add", "id", "t-1", "root_id", "r-1");

	message_init(&m);
	message_headers_set(&m, headers);
	json_decref(headers);
	m.content_type = "application/json";
	m.body_len = body.len;
	m.body = str_detach(&body);
	task_message_init(t);
	ck_assert_int_eq(task_message_head(t, &m, NULL, &err), INTAKE_OK);
	ck_assert_int_eq(task_message_decode(t, &m, NULL, &err), INTAKE_OK);
	message_clear(&m);
}

/* Celery's ids were counted, ours are random. */
static void rename_fresh(struct str *text, const char *ours, const char *expected)
{
	auto_str out = {.max = 100000};
	const char *at = text->data, *found;

	if (!expected || strncmp(expected, "fresh-", 6) != 0)
		return;
	ck_assert_uint_eq(strlen(ours), 36);
	for (; (found = strstr(at, ours)); at = found + 36) {
		str_add(&out, at, (size_t)(found - at));
		str_puts(&out, expected);
	}
	str_puts(&out, at);
	str_reset(text);
	str_add(text, out.data, out.len);
}

static const char *text_in(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static void assert_text(const char *ours, const json_t *expected, const char *name)
{
	const char *text = text_in(expected, name);

	ck_assert_str_eq(ours ? ours : "", text ? text : "");
}

static void assert_properties(const struct outgoing *o, const json_t *expected)
{
	const json_t *priority = json_object_get(expected, "priority"),
		     *expires_ms = json_object_get(expected, "expires_ms");

	assert_text(o->message.reply_to, expected, "reply_to");
	ck_assert_str_eq(o->message.correlation_id, o->message.id);
	ck_assert_int_eq(o->delivery_mode ? o->delivery_mode : 2,
			 json_integer_value(json_object_get(expected, "delivery_mode")));
	ck_assert_int_eq(o->message.priority < 0 ? 0 : o->message.priority,
			 json_integer_value(priority));
	if (json_is_integer(expires_ms))
		ck_assert_int_ne(o->message.expires_us, TIME_UNSET);
	if (o->queue)
		assert_text(o->queue, expected, "queue");
	if (o->exchange && o->routing_key) {
		assert_text(o->exchange, expected, "exchange");
		assert_text(o->routing_key, expected, "routing_key");
	}
}

static void assert_message(struct outgoing *o, const json_t *expected, struct str *children)
{
	json_t *wanted = json_object_get(expected, "headers"),
	       *headers = task_message_headers(&o->message);
	auto_str ours = {.max = 100000}, theirs = {.max = 100000}, body = {.max = 100000};

	/* A list there, a tuple here: Python shows an immutable link's arguments as JSON brought
	 * them. */
	if (text_in(wanted, "argsrepr")[0] == '[')
		json_object_set(headers, "argsrepr", json_object_get(wanted, "argsrepr"));
	pyjson_dump(&ours, headers);
	pyjson_dump(&theirs, wanted);
	rename_fresh(&ours, o->message.id, text_in(wanted, "id"));
	if (o->message.group) {
		rename_fresh(&ours, o->message.group, text_in(wanted, "group"));
		rename_fresh(children, o->message.group, text_in(wanted, "group"));
	}
	rename_fresh(children, o->message.id, text_in(wanted, "id"));
	ck_assert_str_eq(ours.data, theirs.data);
	ck_assert_int_eq(task_message_write_body(&body, &o->message), 0);
	assert_text(body.data, expected, "body");
	assert_properties(o, expected);
	json_decref(headers);
}

/* Result, embed, messages, children. */
static void check_row(const struct golden *g)
{
	bool is_failure = g->len[0] == 0;
	json_t *expected = pyjson_load(g->field[2], g->len[2], NULL);
	auto_str children = {.max = 100000};
	struct task_message t;
	struct err err = {0};
	struct canvas c = {0};

	task_with(&t, g->field[1]);
	ck_assert(!canvas_is_empty(&t));
	ck_assert_int_eq(canvas_check(&t, &err), 0);
	if (is_failure)
		ck_assert_int_eq(canvas_after_failure(&c, &t, &options, &err), 0);
	else
		ck_assert_int_eq(canvas_after_success(&c, &t, span_of(g->field[0]), &options, &err),
				 0);
	ck_assert_str_eq(err.text, "");
	ck_assert_uint_eq(c.count, json_array_size(expected));
	str_puts(&children, c.children ? c.children : "[]");
	for (size_t i = 0; i < c.count; i++)
		assert_message(&c.all[i], json_array_get(expected, i), &children);
	/* A group of which a member has a group of its own cannot be told from its members. */
	if (!strstr(g->field[1], "\"group_id\": \"own\""))
		ck_assert_str_eq(children.data, g->field[3]);
	json_decref(expected);
	canvas_clear(&c);
	task_message_clear(&t);
}

/* T-120 T-121 T-122 T-123 T-125 T-126 T-127 T-130 T-132 T-152 T-154 T-158 */
START_TEST(what_follows_a_task_is_sent_as_celery_sends_it)
{
	struct golden g;

	golden_open(&g, "tests/golden/canvas/sent.tsv");
	while (golden_next(&g))
		check_row(&g);
}
END_TEST

static bool is_secret(const void *ctx, const char *task)
{
	return strcmp(ctx, task) == 0;
}

START_TEST(arguments_of_tasks_with_secrets_are_not_described)
{
	struct canvas_options careful = options;
	struct task_message t;
	struct err err = {0};
	struct canvas c = {0};

	careful.has_secrets = is_secret;
	careful.secrets_ctx = "hush";
	task_with(&t, "{\"callbacks\": [{\"task\": \"hush\", \"kwargs\": {\"x\": 1}}, "
		      "{\"task\": \"tell\"}, {\"task\": \"hush\", \"options\": "
		      "{\"argsrepr\": \"(mine)\"}}], \"chain\": [{\"task\": \"hush\"}]}");
	ck_assert_int_eq(canvas_after_success(&c, &t, span_of("\"s\""), &careful, &err), 0);
	ck_assert_uint_eq(c.count, 4);
	ck_assert_str_eq(c.all[0].message.argsrepr, "***");
	ck_assert_str_eq(c.all[0].message.kwargsrepr, "***");
	ck_assert_str_eq(c.all[1].message.argsrepr, "('s',)");
	ck_assert_str_eq(c.all[1].message.kwargsrepr, "{}");
	ck_assert_str_eq(c.all[2].message.argsrepr, "(mine)");
	ck_assert_str_eq(c.all[3].message.argsrepr, "***");
	canvas_clear(&c);
	task_message_clear(&t);
}
END_TEST

static enum err_code check(const char *embed)
{
	struct task_message t;
	struct err err = {0};
	int status;

	task_with(&t, embed);
	status = canvas_check(&t, &err);
	ck_assert_int_eq(status, err.code == ERR_NONE ? 0 : -1);
	task_message_clear(&t);
	return err.code;
}

START_TEST(signatures_of_every_kind_are_taken)
{
	ck_assert_int_eq(check("{}"), ERR_NONE);
	ck_assert_int_eq(check("{\"callbacks\": [], \"errbacks\": null, \"chain\": []}"), ERR_NONE);
	ck_assert_int_eq(check("{\"callbacks\": [{\"task\": \"a\"}]}"), ERR_NONE);
	ck_assert_int_eq(check("{\"callbacks\": {\"task\": \"a\"}}"), ERR_NONE);
	ck_assert_int_eq(check("{\"chord\": {\"task\": \"a\"}}"), ERR_NONE);
	ck_assert_int_eq(check("{\"chain\": [{\"task\": \"a\"}, {\"task\": \"celery.group\", "
			       "\"subtask_type\": \"group\", \"kwargs\": {\"tasks\": []}}]}"),
			 ERR_NONE);
	ck_assert_int_eq(check("{\"errbacks\": [{\"task\": \"celery.chord\", \"subtask_type\": "
			       "\"chord\", \"kwargs\": {\"header\": [{\"task\": \"a\"}], \"body\": "
			       "{\"task\": \"b\"}}}]}"),
			 ERR_NONE);
	ck_assert_int_eq(check("{\"chain\": [{\"task\": \"celery.map\", \"subtask_type\": "
			       "\"xmap\"}]}"),
			 ERR_NONE);
	/* What is linked to a link is for whoever runs the link. */
	ck_assert_int_eq(check("{\"callbacks\": [{\"task\": \"a\", \"options\": {\"link\": "
			       "[{\"task\": \"celery.group\", \"subtask_type\": \"group\"}]}}]}"),
			 ERR_NONE);
}
END_TEST

START_TEST(what_cannot_be_read_is_refused_before_the_task_runs)
{
	static const char *const bad[] = {
		"\"text\"",
		"[5]",
		"[{}]",
		"[{\"task\": null}]",
		"[{\"task\": \"\"}]",
		"[{\"task\": \"a\", \"args\": {}}]",
		"[{\"task\": \"a\", \"kwargs\": []}]",
		"[{\"task\": \"a\", \"options\": []}]",
		"[{\"task\": \"a\", \"options\": {\"queue\": {}}}]",
		"[{\"task\": \"a\", \"options\": {\"task_id\": \"a\\u0000b\"}}]",
		"[{\"task\": \"a\", \"options\": {\"eta\": \"soon\"}}]",
		"[{\"task\": \"a\", \"options\": {\"eta\": 5}}]",
		"[{\"task\": \"a\", \"options\": {\"countdown\": \"5\"}}]",
		"[{\"task\": \"a\", \"options\": {\"countdown\": NaN}}]",
		"[{\"task\": \"a\", \"options\": {\"countdown\": 1e300}}]",
		"[{\"task\": \"a\", \"options\": {\"retries\": -1}}]",
		"[{\"task\": \"a\", \"options\": {\"priority\": 256}}]",
		"[{\"task\": \"a\", \"options\": {\"time_limit\": -1}}]",
		"[{\"task\": \"a\", \"options\": {\"headers\": []}}]",
		"[{\"task\": \"a\", \"options\": {\"chain\": {}}}]",
		"[{\"task\": \"a\", \"subtask_type\": \"swarm\"}]",
		"[{\"task\": \"a\", \"subtask_type\": \"chain\"}]",
		"[{\"task\": \"a\", \"subtask_type\": \"group\", \"kwargs\": {\"tasks\": {}}}]",
		"[{\"task\": \"a\", \"subtask_type\": \"group\", \"kwargs\": {\"tasks\": [5]}}]",
		"[{\"task\": \"a\", \"subtask_type\": \"chain\", \"kwargs\": {\"tasks\": "
		"[{\"task\": "
		"\"b\", \"options\": {\"eta\": 5}}]}}]",
		"[{\"task\": \"a\", \"subtask_type\": \"chord\", \"kwargs\": {\"header\": []}}]",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		auto_str embed = {.max = 1000};

		str_addf(&embed, "{\"chain\": %s}", bad[i]);
		ck_assert_msg(check(embed.data) == ERR_INVALID, "%s", bad[i]);
	}
}
END_TEST

/* T-123 */
START_TEST(times_may_be_tagged_values)
{
	json_t *value = json_loads("{\"task\": \"a\", \"options\": {\"eta\": {\"__type__\": "
				   "\"datetime\", \"__value__\": \"2026-11-21T04:35:11+00:00\"}}}",
				   0, NULL);
	struct signature s;

	ck_assert_int_eq(signature_read(&s, value, NULL), 0);
	ck_assert_int_eq(s.eta_us, INT64_C(1795235711000000));
	json_decref(value);
}
END_TEST

/* T-172 */
START_TEST(a_body_over_the_maximum_is_an_error)
{
	struct canvas_options small = options;
	struct task_message t;
	struct canvas c = {0};
	struct err err = {0};

	small.max_bytes = 10;
	task_with(&t, "{\"callbacks\": [{\"task\": \"a\"}, {\"task\": \"b\", \"args\": [1]}]}");
	ck_assert_int_eq(canvas_after_success(&c, &t, span_of("\"a long result\""), &small, &err),
			 -1);
	ck_assert_int_eq(err.code, ERR_LIMIT);
	ck_assert_uint_eq(c.count, 0);
	canvas_clear(&c);
	task_message_clear(&t);
}
END_TEST

static void note_step(void *ctx, const struct signature *step)
{
	str_addf(ctx, "%s/%s ", step->task_id, step->group_id ? step->group_id : "-");
}

/* T-128 */
START_TEST(every_step_behind_a_failed_one_is_known_by_its_id)
{
	struct task_message t;
	auto_str noted = {.max = 1000};

	task_with(&t, "{\"chain\": [{\"task\": \"a\", \"options\": {\"task_id\": \"3\", "
		      "\"group_id\": \"g\"}}, {\"task\": \"b\"}, {\"task\": \"celery.chord\", "
		      "\"subtask_type\": \"chord\", \"kwargs\": {\"body\": {\"task\": \"c\", "
		      "\"options\": {\"task_id\": \"2\"}}}}, {\"task\": \"d\", \"options\": "
		      "{\"task_id\": \"1\"}}, 5]}");
	canvas_each_step_left(&t, note_step, &noted);
	ck_assert_str_eq(noted.data, "3/g 1/- 2/- ");
	task_message_clear(&t);
}
END_TEST
