/* Compositions of every kind, lived through by Celery (tests/golden/record_canvas.py): what it
 * sends at each step is what we send. */
#include "base/mem.h"
#include "protocol/canvas.h"
#include "protocol/pyjson.h"
#include "tests/unit/protocol/golden.h"

enum field { KIND, EXTRA, HEADERS, EMBED, SENT, CHORDS, CHILDREN, STORED };

static struct canvas_options options_for(enum canvas_chords chords)
{
	return (struct canvas_options){
		.origin = "gen1@host",
		.now_us = INT64_C(1795235701651532),
		.max_bytes = 1 << 20,
		.chords = chords,
	};
}

static void load_task(struct task_message *t, const struct golden *g)
{
	json_t *headers = pyjson_load(g->field[HEADERS], g->len[HEADERS], NULL);
	auto_str body = STR_INIT(1 << 20);
	struct message m;
	struct err err = {0};

	str_addf(&body, "[[], {}, %s]", g->field[EMBED]);
	message_init(&m);
	if (json_object_size(headers) == 0) {
		json_object_set_new(headers, "task", json_string("capp.none"));
		json_object_set_new(headers, "id", json_string("nobody"));
	}
	message_headers_set(&m, headers);
	json_decref(headers);
	m.content_type = "application/json";
	m.body_len = body.len;
	m.body = str_detach(&body);
	task_message_init(t);
	ck_assert_int_eq(task_message_head(t, &m, NULL, &err), INTAKE_OK);
	ck_assert_int_eq(task_message_decode(t, &m, NULL, &err), INTAKE_OK);
	ck_assert_msg(canvas_check(t, &err) == 0, "%s", err.text);
	message_clear(&m);
}

static void note(json_t *list, const struct signature *step, const char *how)
{
	json_t *entry = json_array();

	json_array_append_new(entry, json_string(step->task_id));
	json_array_append_new(entry, json_string(how));
	json_array_append_new(list, entry);
}

static void note_step(void *list, const struct signature *step)
{
	note(list, step, "step");
}

static void note_member(void *list, const struct signature *step)
{
	note(list, step, "member");
}

static int run(const struct golden *g, const struct canvas_options *options,
	       const struct task_message *t, struct canvas *c, json_t *stored, struct err *err)
{
	struct span extra = {g->field[EXTRA], g->len[EXTRA]};
	json_auto_t *sig = pyjson_load(extra.data, extra.len, NULL);
	const struct canvas_call call = {.seed = "x"};
	const char *kind = g->field[KIND];

	if (!strcmp(kind, "success"))
		return canvas_after_success(c, t, extra, options, err);
	if (!strcmp(kind, "replace"))
		return canvas_replace(c, t, sig, options, err);
	if (!strcmp(kind, "add"))
		return canvas_add_to_chord(c, t, sig, options, err);
	if (!strcmp(kind, "apply"))
		return canvas_apply(c, sig, &call, options, err);
	if (!strcmp(kind, "body"))
		return canvas_chord_body(c, t, extra, (struct span){"[1, 2]", 6}, options, err);
	if (!strcmp(kind, "chordfail"))
		return canvas_chord_failed(c, extra, note_step, note_member, stored, options, err);
	ck_assert_str_eq(kind, "failure");
	canvas_each_step_left(t, note_step, stored);
	return canvas_after_failure(c, t, options, err);
}

/* One text of all that came out, in the form of the golden file. */
static void describe_messages(struct str *out, const struct canvas *c)
{
	for (size_t i = 0; i < c->count; i++) {
		json_auto_t *headers = task_message_headers(&c->all[i].message);

		str_puts(out, "\n");
		pyjson_dump(out, headers);
		str_puts(out, "\n");
		ck_assert_int_eq(task_message_write_body(out, &c->all[i].message), 0);
		str_addf(out, "\n%s %d", c->all[i].queue ? c->all[i].queue : "celery",
			 c->all[i].message.priority > 0 ? c->all[i].message.priority : 0);
	}
}

static void describe_chords(struct str *out, const struct canvas *c)
{
	for (size_t i = 0; i < c->chord_count; i++) {
		const struct canvas_chord *chord = &c->chords[i];

		str_addf(out, "\n%s %zu %zu %s %d", chord->group_id, chord->size, chord->before,
			 chord->group ? chord->group : "null", chord->keeps_group);
	}
}

static void expect_messages(struct str *out, const json_t *sent)
{
	for (size_t i = 0; i < json_array_size(sent); i++) {
		const json_t *one = json_array_get(sent, i);

		str_puts(out, "\n");
		pyjson_dump(out, json_object_get(one, "headers"));
		str_puts(out, "\n");
		pyjson_dump(out, json_object_get(one, "body"));
		str_addf(out, "\n%s %d", json_string_value(json_object_get(one, "queue")),
			 (int)json_integer_value(json_object_get(one, "priority")));
	}
}

static void expect_chords(struct str *out, const json_t *chords)
{
	for (size_t i = 0; i < json_array_size(chords); i++) {
		const json_t *one = json_array_get(chords, i);

		str_addf(out, "\n%s %d %d ", json_string_value(json_object_get(one, "group_id")),
			 (int)json_integer_value(json_object_get(one, "size")),
			 (int)json_integer_value(json_object_get(one, "before")));
		pyjson_dump(out, json_object_get(one, "group"));
		str_addf(out, " %d", json_is_true(json_object_get(one, "keeps_group")));
	}
}

/* Fresh ids differ: they are renamed in the order in which they appear. A UUID has 36 characters,
 * Celery's counted ones are "fresh-<n>". */
static size_t id_length(const char *at)
{
	size_t len = strncmp(at, "fresh-", 6) == 0 ? 6 + strspn(at + 6, "0123456789") : 0;

	if (len > 6)
		return len;
	for (len = 0; at[len] && strchr("0123456789abcdef-", at[len]); len++)
		continue;
	return len == 36 ? len : 0;
}

/* An id that the row came with keeps its name. */
static bool is_given(const struct golden *g, const char *id)
{
	auto_free char *quoted = mem_printf("\"%s\"", id);

	return strstr(g->field[EXTRA], quoted) || strstr(g->field[HEADERS], quoted) ||
	       strstr(g->field[EMBED], quoted);
}

static void rename_ids(struct str *out, const char *text, const struct golden *g)
{
	char *names[1000];
	size_t count = 0;

	while (*text) {
		size_t len = id_length(text), i;

		if (len == 0) {
			str_addc(out, *text++);
			continue;
		}
		char *id = mem_dup(text, len);

		text += len;
		if (is_given(g, id)) {
			str_puts(out, id);
			free(id);
			continue;
		}
		for (i = 0; i < count && strcmp(names[i], id) != 0; i++)
			continue;
		if (i == count && count < 1000)
			names[count++] = id;
		else
			free(id);
		str_addf(out, "<%zu>", i);
	}
	for (size_t i = 0; i < count; i++)
		free(names[i]);
}

static void check_row(const struct golden *g, enum canvas_chords chords_kind)
{
	const struct canvas_options options = options_for(chords_kind);
	json_auto_t *sent = pyjson_load(g->field[SENT], g->len[SENT], NULL);
	json_auto_t *chords = pyjson_load(g->field[CHORDS], g->len[CHORDS], NULL);
	json_auto_t *stored = json_array();
	auto_str ours = STR_INIT(1 << 24), theirs = STR_INIT(1 << 24), a = STR_INIT(1 << 24),
		 b = STR_INIT(1 << 24);
	struct canvas c = {0};
	struct task_message t;
	struct err err = {0};

	load_task(&t, g);
	ck_assert_msg(run(g, &options, &t, &c, stored, &err) == 0, "%s: %s", g->field[KIND],
		      err.text);
	describe_messages(&ours, &c);
	expect_messages(&theirs, sent);
	str_puts(&ours, "\nchords");
	describe_chords(&ours, &c);
	str_puts(&theirs, "\nchords");
	expect_chords(&theirs, chords);
	/* A producer is no task that could have children. */
	bool has_children = c.children && strcmp(g->field[KIND], "apply") != 0;

	str_addf(&ours, "\nchildren %s\nstored ", has_children ? c.children : "[]");
	pyjson_dump(&ours, stored);
	str_addf(&theirs, "\nchildren %s\nstored %s", g->field[CHILDREN], g->field[STORED]);
	rename_ids(&a, ours.data, g);
	rename_ids(&b, theirs.data, g);
	if (strcmp(a.data, b.data) != 0)
		printf("row %u %s\nextra %s\nembed %s\n", g->number, g->field[KIND],
		       g->field[EXTRA], g->field[EMBED]);
	ck_assert_str_eq(a.data, b.data);
	canvas_clear(&c);
	task_message_clear(&t);
}

static void check_file(const char *path, enum canvas_chords chords)
{
	struct golden g;

	golden_open(&g, path);
	while (golden_next(&g))
		check_row(&g, chords);
}

/* T-121 T-124 T-179; CANVAS_ROWS: other rows, recorded with
 * more compositions. */
START_TEST(every_composition_goes_on_as_celery_lets_it)
{
	const char *more = getenv("CANVAS_ROWS");

	check_file(more ? more : "tests/golden/canvas/composed.tsv", CHORDS_COUNTED);
}
END_TEST

START_TEST(chords_that_nobody_counts_are_looked_for_by_a_task)
{
	check_file("tests/golden/canvas/polled.tsv", CHORDS_POLLED);
}
END_TEST
