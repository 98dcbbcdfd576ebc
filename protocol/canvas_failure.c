/* What fails with a task or with a chord: celery/backends/base.py, _fail_chain(),
 * chord_error_from_stack() and _handle_group_chord_error(). */
#include <string.h>

#include "base/text.h"
#include "protocol/canvas_impl.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"

/* A chord is finished by its body, so that is what somebody waits for. */
static void each_left(const json_t *chain, canvas_step_fn *step, void *ctx)
{
	json_auto_t *left = json_copy((json_t *)(uintptr_t)chain);

	for (size_t i = 0; i < json_array_size(left); i++) {
		json_t *value = json_array_get(left, i);
		struct signature s;

		if (signature_read(&s, value, NULL) < 0)
			continue;
		if (s.task_id)
			step(ctx, &s);
		if (canvas_type(value) == CANVAS_CHORD && canvas_body(value))
			json_array_append(left, canvas_body(value));
	}
}

void canvas_each_step_left(const struct task_message *t, canvas_step_fn *step, void *ctx)
{
	json_auto_t *chain = canvas_list_load(t->chain, NULL);

	each_left(chain, step, ctx);
}

struct failure {
	struct canvas_work w;
	canvas_step_fn *step, *member;
	void *ctx;
};

static int call_errbacks(struct failure *f, const char *id, const json_t *errbacks)
{
	auto_str argument = STR_INIT(STR_MAX_DEFAULT);

	pyjson_dump_str(&argument, id, strlen(id));
	f->w.argument = (struct span){argument.data, argument.len};
	f->w.parent_id = id;
	f->w.root_id = id;
	f->w.seed = id;
	f->w.drawn = 0;
	return canvas_call_errbacks(&f->w, errbacks);
}

/* As the last step of a chain, or as itself. */
static const json_t *end_of(const json_t *sig)
{
	const json_t *tasks;

	while (canvas_type(sig) == CANVAS_CHAIN) {
		tasks = canvas_tasks(sig);
		if (json_array_size(tasks) == 0)
			break;
		sig = json_array_get(tasks, json_array_size(tasks) - 1);
	}
	return sig;
}

/* Its record says nothing of a group, but for the chord that it is a part of itself: there it
 * reports, better than Celery, which leaves that chord waiting for ever. */
static int tell(canvas_step_fn *fn, void *ctx, const json_t *sig, const char *id, struct err *err)
{
	struct signature s, end;

	if (signature_read(&s, sig, err) < 0 || signature_read(&end, end_of(sig), err) < 0)
		return -1;
	s.task_id = id;
	s.chord = end.chord;
	s.group_id = end.chord ? end.group_id : NULL;
	s.group_index = end.chord ? end.group_index : -1;
	fn(ctx, &s);
	return 0;
}

/* _result_errbacks(): the signature that gives the result, and the errbacks on the way to it. */
static const json_t *find_end(const json_t *sig, json_t *errbacks)
{
	for (;; sig = canvas_body(sig)) {
		json_auto_t *own =
			canvas_list(canvas_option(canvas_own_options(sig), "link_error"));

		json_array_extend(errbacks, own);
		if (canvas_type(sig) != CANVAS_CHORD)
			return sig;
	}
}

static int fail_member(struct failure *f, const json_t *task, const char *id, json_t *of_group)
{
	json_auto_t *holder = canvas_signature(CANVAS_TASK, "", NULL, NULL, NULL);
	json_auto_t *errbacks = json_array();
	const json_t *end = find_end(task, errbacks);

	json_array_extend(errbacks, of_group);
	/* Each of them once. */
	for (size_t i = 0; i < json_array_size(errbacks); i++)
		canvas_append_option(holder, "link_error", json_array_get(errbacks, i));
	if (call_errbacks(f, id, json_object_get(canvas_own_options(holder), "link_error")) < 0)
		return -1;
	return tell(f->member, f->ctx, end, id, f->w.err);
}

static int fail_group(struct failure *f, json_t *group, const json_t *given)
{
	const struct canvas_freeze as_is = {.group_index = -1};
	struct canvas_result *result = canvas_freeze(&f->w, group, &as_is);
	json_auto_t *errbacks = json_array();
	json_t *tasks = canvas_tasks(group);
	struct signature s;

	find_end(given, errbacks);
	for (size_t i = 0; result && i < result->count; i++)
		if (fail_member(f, json_array_get(tasks, i), result->members[i]->id, errbacks) < 0)
			return -1;
	if (!result || signature_read(&s, group, f->w.err) < 0)
		return -1;
	s.task_id = result->id;
	s.group_id = NULL;
	s.chord = NULL;
	f->member(f->ctx, &s);
	return 0;
}

static int fail_body(struct failure *f, json_t *body)
{
	json_auto_t *errbacks = json_array();
	const json_t *end = find_end(body, errbacks);
	const char *id = canvas_option_text(canvas_own_options(end), "task_id");
	int status;

	if (canvas_type(end) == CANVAS_GROUP) {
		status = fail_group(f, (json_t *)(uintptr_t)end, body);
	} else {
		if (!id)
			id = canvas_fresh_id(&f->w);
		status = call_errbacks(f, id, errbacks);
		if (status == 0)
			status = tell(f->step, f->ctx, end, id, f->w.err);
	}
	if (status < 0)
		return -1;
	each_left(canvas_option(canvas_own_options(body), "chain"), f->step, f->ctx);
	return 0;
}

int canvas_chord_failed(struct canvas *c, struct span body, canvas_step_fn *step,
			canvas_step_fn *member, void *ctx, const struct canvas_options *options,
			struct err *err)
{
	struct failure f = {.step = step, .member = member, .ctx = ctx};
	json_auto_t *value = pyjson_load(body.data, body.len, err), *sig = NULL;
	int status = -1;

	canvas_begin(&f.w, c, options, (struct span){"", 0}, err);
	f.w.part = 'f';
	f.w.seed = canvas_option_text(json_object_get(value, "options"), "group_id");
	sig = value ? canvas_load(&f.w, value) : NULL;
	if (sig)
		status = fail_body(&f, sig);
	str_reset(&f.w.children);
	return canvas_end(&f.w, status);
}
