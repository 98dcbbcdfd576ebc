/* The input as a signature, and as the `embed` of a task that has ended: what is admitted must give
 * messages that can be read again. */
#include "protocol/canvas.h"
#include "protocol/pyjson.h"
#include "tests/fuzz/fuzz.h"

static const struct canvas_options options = {
	.origin = "gen1@host",
	.now_us = INT64_C(1795235701651532),
	.max_bytes = 1 << 20,
};

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

static void check_all(struct canvas *c, int status)
{
	json_t *children;

	for (size_t i = 0; i < c->count; i++)
		check_message(&c->all[i]);
	if (c->children) {
		children = pyjson_load(c->children, strlen(c->children), NULL);
		fuzz_check(json_array_size(children) > 0);
		json_decref(children);
	}
	fuzz_check(status == 0);
	canvas_clear(c);
}

static void note_step(void *ctx, const struct signature *step)
{
	(void)ctx;
	fuzz_check(*step->task_id && *step->task);
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
	check_all(&c, canvas_after_success(&c, t, span_of("[1, \"x\"]"), &options, &err));
	check_all(&c, canvas_after_failure(&c, t, &options, &err));
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
