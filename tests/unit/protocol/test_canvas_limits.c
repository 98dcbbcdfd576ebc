/* What compositions must not do, and what is ours in them: limits, ids that a repeat finds again,
 * backends without chords, errbacks that are called here. */
#include "base/mem.h"
#include "protocol/canvas.h"
#include "protocol/pyjson.h"
#include "tests/unit/protocol/golden.h"

#define LEAF(name) "{\"task\": \"" name "\", \"args\": [], \"kwargs\": {}, \"options\": {}}"
#define GROUP(list)                                                                                \
	"{\"task\": \"celery.group\", \"subtask_type\": \"group\", \"kwargs\": {\"tasks\": [" list \
	"]}}"
#define CHORD(list, body)                                                                          \
	"{\"task\": \"celery.chord\", \"subtask_type\": \"chord\", \"kwargs\": {\"header\": "      \
	"[" list "], \"body\": " body "}}"

static struct canvas_options options_for(enum canvas_chords chords)
{
	return (struct canvas_options){
		.origin = "gen1@host",
		.now_us = INT64_C(1795235701651532),
		.max_bytes = 1 << 20,
		.chords = chords,
	};
}

static struct span span_of(const char *text)
{
	return (struct span){text, text ? strlen(text) : 0};
}

/* Lives in the texts given. */
static struct task_message ended(const char *id, const char *callbacks, const char *errbacks)
{
	return (struct task_message){
		.task = "capp.add",
		.id = id,
		.root_id = "r-1",
		.group_index = -1,
		.priority = 7,
		.callbacks = span_of(callbacks),
		.errbacks = span_of(errbacks),
	};
}

static void succeed(struct canvas *c, const struct task_message *t)
{
	const struct canvas_options options = options_for(CHORDS_COUNTED);
	struct err err = {0};

	ck_assert_msg(canvas_after_success(c, t, span_of("1"), &options, &err) == 0, "%s",
		      err.text);
}

#define LINKS "[" GROUP(LEAF("a") ", " LEAF("b")) ", " CHORD(LEAF("c"), LEAF("d")) "]"

START_TEST(a_repeat_sends_the_same_ids)
{
	const struct task_message t = ended("t-1", LINKS, NULL);
	struct canvas one = {0}, two = {0};

	succeed(&one, &t);
	succeed(&two, &t);
	ck_assert_uint_eq(one.count, 3);
	for (size_t i = 0; i < one.count; i++) {
		ck_assert_str_eq(one.all[i].message.id, two.all[i].message.id);
		ck_assert_str_eq(one.all[i].message.group, two.all[i].message.group);
	}
	ck_assert_str_ne(one.all[0].message.id, one.all[1].message.id);
	ck_assert_str_eq(one.children, two.children);
	canvas_clear(&one);
	canvas_clear(&two);
}
END_TEST

START_TEST(other_tasks_and_replacements_draw_other_ids)
{
	const struct task_message t = ended("t-1", LINKS, NULL), u = ended("t-2", LINKS, NULL);
	struct task_message replaced = t;
	struct canvas of_t = {0}, of_u = {0}, of_replaced = {0};

	replaced.replaced_task_nesting = 1;
	succeed(&of_t, &t);
	succeed(&of_u, &u);
	succeed(&of_replaced, &replaced);
	ck_assert_str_ne(of_t.all[0].message.id, of_u.all[0].message.id);
	ck_assert_str_ne(of_t.all[0].message.id, of_replaced.all[0].message.id);
	canvas_clear(&of_t);
	canvas_clear(&of_u);
	canvas_clear(&of_replaced);
}
END_TEST

START_TEST(calls_add_to_a_canvas)
{
	const struct canvas_options options = options_for(CHORDS_COUNTED);
	const struct canvas_call call = {.parent_id = "p", .seed = "s", .priority = -1};
	json_auto_t *sig =
		json_loads("{\"task\": \"a\", \"options\": {\"task_id\": \"x\"}}", 0, NULL);
	struct canvas c = {0};

	ck_assert_int_eq(canvas_apply(&c, sig, &call, &options, NULL), 0);
	ck_assert_int_eq(canvas_apply(&c, sig, &call, &options, NULL), 0);
	ck_assert_uint_eq(c.count, 2);
	ck_assert_str_eq(c.children, "[[[\"x\", null], null], [[\"x\", null], null]]");
	ck_assert_str_eq(c.all[0].message.root_id, "p");
	canvas_clear(&c);
}
END_TEST

START_TEST(a_chord_needs_a_backend_for_it)
{
	const struct canvas_options options = options_for(CHORDS_NONE);
	const struct task_message t = ended("t-1", LINKS, NULL);
	struct canvas c = {0};
	struct err err = {0};

	ck_assert_int_eq(canvas_after_success(&c, &t, span_of("1"), &options, &err), -1);
	ck_assert_int_eq(err.code, ERR_UNSUPPORTED);
	ck_assert_uint_eq(c.count, 0);
}
END_TEST

START_TEST(a_chord_in_memcached_is_saved_before_its_first_part)
{
	const struct canvas_options options = options_for(CHORDS_SAVED);
	const struct task_message t =
		ended("t-1", "[" CHORD(LEAF("a") ", " LEAF("b"), LEAF("c")) "]", NULL);
	struct canvas c = {0};

	ck_assert_int_eq(canvas_after_success(&c, &t, span_of("1"), &options, NULL), 0);
	ck_assert_uint_eq(c.count, 2);
	ck_assert_uint_eq(c.chord_count, 1);
	ck_assert_uint_eq(c.chords[0].before, 0);
	ck_assert_uint_eq(c.chords[0].size, 2);
	ck_assert_ptr_nonnull(strstr(c.chords[0].group, c.all[1].message.id));
	canvas_clear(&c);
}
END_TEST

/* T-153 */
START_TEST(priority_is_inherited_where_the_setting_says_so)
{
	struct canvas_options options = options_for(CHORDS_COUNTED);
	const struct task_message t = ended(
		"t-1", "[{\"task\": \"a\"}, {\"task\": \"b\", \"options\": {\"priority\": 3}}]",
		NULL);
	struct canvas c = {0};

	ck_assert_int_eq(canvas_after_success(&c, &t, span_of("1"), &options, NULL), 0);
	ck_assert_int_eq(c.all[0].message.priority, -1);
	ck_assert_int_eq(c.all[1].message.priority, 3);
	canvas_clear(&c);
	options.inherits_priority = true;
	ck_assert_int_eq(canvas_after_success(&c, &t, span_of("1"), &options, NULL), 0);
	ck_assert_int_eq(c.all[0].message.priority, 7);
	ck_assert_int_eq(c.all[1].message.priority, 7); /* a call's option goes over a stored one */
	canvas_clear(&c);
}
END_TEST

static bool take(void *ctx, const struct signature *errback, const char *failed_id)
{
	str_addf(ctx, "%s(%s) ", errback->task, failed_id);
	return strcmp(errback->task, "here") == 0;
}

START_TEST(errbacks_called_here_are_no_messages)
{
	struct canvas_options options = options_for(CHORDS_COUNTED);
	const struct task_message t = ended("t-1", NULL, "[" LEAF("here") ", " LEAF("there") "]");
	auto_str asked = STR_INIT(1000);
	struct canvas c = {0};

	options.takes_errback = take;
	options.errback_ctx = &asked;
	ck_assert_int_eq(canvas_after_failure(&c, &t, &options, NULL), 0);
	ck_assert_str_eq(asked.data, "here(t-1) there(t-1) ");
	ck_assert_uint_eq(c.count, 1);
	ck_assert_str_eq(c.all[0].message.task, "there");
	canvas_clear(&c);
}
END_TEST

/* T-131, quirk s */
START_TEST(a_chain_as_errback_runs_with_the_id)
{
	const struct canvas_options options = options_for(CHORDS_COUNTED);
	const struct task_message t =
		ended("t-1", NULL,
		      "[{\"task\": \"celery.chain\", \"subtask_type\": \"chain\", \"kwargs\": "
		      "{\"tasks\": [" LEAF("a") ", " LEAF("b") "]}}, " GROUP(LEAF("c")) "]");
	struct canvas c = {0};

	ck_assert_int_eq(canvas_after_failure(&c, &t, &options, NULL), 0);
	ck_assert_uint_eq(c.count, 2);
	ck_assert_str_eq(c.all[0].message.task, "a");
	ck_assert(c.all[0].message.args.len == 7 &&
		  strncmp(c.all[0].message.args.data, "[\"t-1\"]", 7) == 0);
	ck_assert_ptr_nonnull(c.all[0].message.chain.data);
	ck_assert_str_eq(c.all[1].message.task, "c");
	ck_assert_ptr_null(c.children);
	canvas_clear(&c);
}
END_TEST

static void note_step(void *ctx, const struct signature *step)
{
	str_addf(ctx, "%s(%s %lld) ", step->task_id, step->group_id ? step->group_id : "-",
		 (long long)step->group_index);
}

static void note_member(void *ctx, const struct signature *step)
{
	str_addf(ctx, "member %s ", step->task_id);
}

static void fail_chord(const char *body, const char *expected)
{
	const struct canvas_options options = options_for(CHORDS_COUNTED);
	auto_str noted = STR_INIT(1000);
	struct canvas c = {0};
	struct err err = {0};

	ck_assert_msg(canvas_chord_failed(&c, span_of(body), note_step, note_member, &noted,
					  &options, &err) == 0,
		      "%s", err.text);
	ck_assert_str_eq(noted.data, expected);
	canvas_clear(&c);
}

/* Contract: tasks.md 6.8, 10 m. */
START_TEST(who_fails_with_a_chord_is_known)
{
	fail_chord("{\"task\": \"a\", \"options\": {\"task_id\": \"x\", \"group_id\": \"g\"}}",
		   "x(- -1) ");
	/* A part of another chord reports to it. */
	fail_chord("{\"task\": \"a\", \"options\": {\"task_id\": \"x\", \"group_id\": \"outer\", "
		   "\"group_index\": 2, \"chord\": " LEAF("body") "}}",
		   "x(outer 2) ");
	fail_chord("{\"task\": \"celery.chain\", \"subtask_type\": \"chain\", \"options\": "
		   "{\"task_id\": \"x\"}, \"kwargs\": {\"tasks\": [" LEAF(
			   "a") ", {\"task\": \"b\", "
				"\"options\": {\"task_id\": \"x\", \"group_id\": \"outer\", "
				"\"group_index\": 1, "
				"\"chord\": " LEAF("body") "}}]}}",
		   "x(outer 1) ");
	/* The rest of the chain, and the body of a chord in it. */
	fail_chord("{\"task\": \"a\", \"options\": {\"task_id\": \"x\", \"chain\": [{\"task\": "
		   "\"celery.chord\", \"subtask_type\": \"chord\", \"kwargs\": {\"header\": [], "
		   "\"body\": {\"task\": \"b\", \"options\": {\"task_id\": \"y\"}}}}]}}",
		   "x(- -1) y(- -1) ");
	/* A chord as the body: what somebody waits for is that one's body. */
	fail_chord(
		"{\"task\": \"celery.chord\", \"subtask_type\": \"chord\", \"options\": "
		"{\"task_id\": \"inner group\"}, \"kwargs\": {\"header\": [], \"body\": {\"task\": "
		"\"b\", \"options\": {\"task_id\": \"y\"}}}}",
		"y(- -1) ");
	fail_chord(
		"{\"task\": \"celery.group\", \"subtask_type\": \"group\", \"options\": "
		"{\"task_id\": \"gid\"}, \"kwargs\": {\"tasks\": [{\"task\": \"a\", \"options\": "
		"{\"task_id\": \"m-1\"}}, {\"task\": \"b\", \"options\": {\"task_id\": "
		"\"m-2\"}}]}}",
		"member m-1 member m-2 member gid ");
}
END_TEST

/* Each of a single signature's errbacks is called, with the body's id. */
START_TEST(an_errback_of_a_body_need_not_stand_in_a_list)
{
	const struct canvas_options options = options_for(CHORDS_COUNTED);
	auto_str noted = STR_INIT(1000);
	struct canvas c = {0};

	ck_assert_int_eq(
		canvas_chord_failed(&c,
				    span_of("{\"task\": \"a\", \"options\": {\"task_id\": \"x\", "
					    "\"link_error\": " LEAF("oops") "}}"),
				    note_step, note_member, &noted, &options, NULL),
		0);
	ck_assert_uint_eq(c.count, 1);
	ck_assert_str_eq(c.all[0].message.task, "oops");
	ck_assert_str_eq(c.all[0].message.parent_id, "x");
	ck_assert_str_eq(c.all[0].message.root_id, "x");
	canvas_clear(&c);
}
END_TEST

START_TEST(a_replacement_must_be_possible)
{
	const struct canvas_options options = options_for(CHORDS_COUNTED);
	const struct task_message t = ended("t-1", NULL, NULL);
	json_auto_t *part = json_loads("{\"task\": \"a\", \"options\": {\"chord\": {}}}", 0, NULL);
	json_auto_t *empty = json_loads("{\"task\": \"celery.chain\", \"subtask_type\": \"chain\", "
					"\"kwargs\": {\"tasks\": []}}",
					0, NULL);
	struct canvas c = {0};
	struct err err = {0};

	ck_assert_int_eq(canvas_replace(&c, &t, part, &options, &err), -1);
	ck_assert_str_eq(err.text, "A signature replacing a task must not be part of a chord");
	err_clear(&err);
	ck_assert_int_eq(canvas_replace(&c, &t, empty, &options, &err), -1);
	ck_assert_str_eq(err.text, "Cannot replace with an empty chain");
	err_clear(&err);
	ck_assert_int_eq(canvas_add_to_chord(&c, &t, part, &options, &err), -1);
	ck_assert_str_eq(err.text, "Current task is not member of any chord");
}
END_TEST

static json_t *deep_chord(unsigned depth)
{
	json_t *sig = json_loads(LEAF("a"), 0, NULL);

	for (unsigned i = 0; i < depth; i++) {
		json_t *chord = json_loads(CHORD("", LEAF("b")), 0, NULL);

		json_array_append_new(json_object_get(json_object_get(chord, "kwargs"), "header"),
				      sig);
		sig = chord;
	}
	return sig;
}

static int call_value(json_t *sig, size_t max_bytes, size_t *ret_count, struct err *err)
{
	struct canvas_options options = options_for(CHORDS_COUNTED);
	const struct canvas_call nobody = {.seed = "s", .priority = -1};
	struct canvas c = {0};
	int status;

	options.max_bytes = max_bytes;
	status = canvas_apply(&c, sig, &nobody, &options, err);
	*ret_count = c.count;
	canvas_clear(&c);
	json_decref(sig);
	return status;
}

START_TEST(depth_has_an_end)
{
	struct err err = {0};
	size_t count;

	ck_assert_int_eq(call_value(deep_chord(60), 1 << 24, &count, &err), 0);
	ck_assert_uint_eq(count, 1);
	ck_assert_int_eq(call_value(deep_chord(1000), 1 << 24, &count, &err), -1);
	ck_assert_int_eq(err.code, ERR_LIMIT);
}
END_TEST

START_TEST(all_bodies_together_have_a_maximum)
{
	json_t *many = json_loads(GROUP(""), 0, NULL), *leaf = json_loads(LEAF("a"), 0, NULL),
	       *tasks = json_object_get(json_object_get(many, "kwargs"), "tasks");
	struct err err = {0};
	size_t count;

	for (size_t i = 0; i < 1000; i++)
		json_array_append(tasks, leaf);
	json_decref(leaf);
	ck_assert_int_eq(call_value(json_incref(many), 1 << 20, &count, &err), 0);
	ck_assert_uint_eq(count, 1000);
	ck_assert_int_eq(call_value(many, 1000, &count, &err), -1);
	ck_assert_int_eq(err.code, ERR_LIMIT);
}
END_TEST
