/* The input as the `embed` of a task that ends in every way, its links as signatures that are
 * called, take its place or join its chord: what is admitted must give messages that can be read
 * again. */
#include "protocol/canvas.h"
#include "protocol/pyjson.h"
#include "tests/fuzz/fuzz.h"

static struct canvas_options options_for(enum canvas_chords chords)
{
	return (struct canvas_options){
		.origin = "gen1@host",
		.now_us = INT64_C(1795235701651532),
		.max_bytes = 1 << 20,
		.chords = chords,
		.inherits_priority = true,
	};
}

static struct span span_of(const char *text)
{
	return (struct span){text, strlen(text)};
}

static void check_message(const struct outgoing *o)
{
	struct str body;
	struct message m;
	struct task_message again;
	json_t *headers = task_message_headers(&o->message);

	str_init(&body, STR_MAX_DEFAULT);
	fuzz_check(task_message_write_body(&body, &o->message) == 0);
	message_init(&m);
	message_headers_set(&m, headers);
	json_decref(headers);
	m.content_type = "application/json";
	m.body_len = body.len;
	m.body = str_detach(&body);
	task_message_init(&again);
	/* A header option of a known name goes over the signature's own, so only without any. */
	if (!o->message.custom_headers) {
		fuzz_check(task_message_head(&again, &m, NULL, NULL) == INTAKE_OK);
		fuzz_check(task_message_decode(&again, &m, NULL, NULL) == INTAKE_OK);
		fuzz_check(strcmp(again.id, o->message.id) == 0);
		fuzz_check(strcmp(again.task, o->message.task) == 0);
		fuzz_check(again.eta_us == o->message.eta_us);
	}
	task_message_clear(&again);
	message_clear(&m);
}

static void check_children(const char *children)
{
	json_t *list = pyjson_load(children, strlen(children), NULL);

	/* A chain of parents may be deeper than a text that we read. */
	fuzz_check(!list || json_array_size(list) > 0);
	json_decref(list);
}

static void check_all(struct canvas *c, int status, struct err *err)
{
	for (size_t i = 0; i < c->count; i++)
		check_message(&c->all[i]);
	for (size_t i = 0; i < c->chord_count; i++) {
		fuzz_check(c->chords[i].before <= c->count);
		fuzz_check(i == 0 || c->chords[i - 1].before <= c->chords[i].before);
		fuzz_check(c->chords[i].group_id && *c->chords[i].group_id);
	}
	if (c->children)
		check_children(c->children);
	if (status < 0) {
		fuzz_check(err->code != ERR_NONE && c->count == 0);
		fuzz_check_one_line(err->text);
	}
	err_clear(err);
	canvas_clear(c);
}

static void note_step(void *ctx, const struct signature *step)
{
	(void)ctx;
	fuzz_check(*step->task_id && *step->task);
}

static void check_signatures(const struct task_message *t, const struct canvas_options *options)
{
	const struct canvas_call call = {.argument = span_of("5"), .parent_id = "p", .seed = "s"};
	json_t *list =
		t->callbacks.data ? pyjson_load(t->callbacks.data, t->callbacks.len, NULL) : NULL;
	struct canvas c = {0};
	struct err err = {0};

	for (size_t i = 0; i < json_array_size(list) && i < 3; i++) {
		const json_t *one = json_array_get(list, i);

		check_all(&c, canvas_apply(&c, one, &call, options, &err), &err);
		check_all(&c, canvas_replace(&c, t, one, options, &err), &err);
		check_all(&c, canvas_add_to_chord(&c, t, one, options, &err), &err);
	}
	json_decref(list);
}

static void check_canvas(struct task_message *t)
{
	struct canvas c = {0};
	struct err err = {0};

	canvas_each_step_left(t, note_step, NULL);
	if (canvas_check(t, &err) < 0) {
		fuzz_check(err.code != ERR_NONE);
		fuzz_check_one_line(err.text);
		return;
	}
	for (enum canvas_chords chords = CHORDS_NONE; chords <= CHORDS_POLLED; chords++) {
		const struct canvas_options options = options_for(chords);
		struct span result = span_of("[1, \"x\"]");

		check_all(&c, canvas_after_success(&c, t, result, &options, &err), &err);
		check_signatures(t, &options);
	}
	const struct canvas_options options = options_for(CHORDS_COUNTED);

	check_all(&c, canvas_after_failure(&c, t, &options, &err), &err);
	if (!t->chord.data)
		return;
	check_all(&c, canvas_chord_body(&c, t, t->chord, span_of("[1]"), &options, &err), &err);
	check_all(&c, canvas_chord_failed(&c, t->chord, note_step, note_step, NULL, &options, &err),
		  &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct task_message t;
	struct message m;
	struct str body;
	json_t *headers;

	if (size > 1 << 16)
		return 0;
	message_init(&m);
	headers = json_pack("{s:s, s:s}", "task", "a.b", "id", "t-1");
	message_headers_set(&m, headers);
	json_decref(headers);
	m.content_type = "application/json";
	str_init(&body, STR_MAX_DEFAULT);
	str_puts(&body, "[[], {}, ");
	str_add(&body, data, size);
	str_addc(&body, ']');
	m.body_len = body.len;
	m.body = str_detach(&body);
	task_message_init(&t);
	if (task_message_head(&t, &m, NULL, NULL) == INTAKE_OK &&
	    task_message_decode(&t, &m, NULL, NULL) == INTAKE_OK)
		check_canvas(&t);
	task_message_clear(&t);
	message_clear(&m);
	return 0;
}
