#include "protocol/canvas.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "protocol/canvas_impl.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"

static bool is_filled(struct span json)
{
	return json.data && json.len > 2 && pyjson_kind_of(json) != PYJSON_NULL;
}

bool canvas_is_empty(const struct task_message *t)
{
	return !is_filled(t->callbacks) && !is_filled(t->errbacks) && !is_filled(t->chain) &&
	       !is_filled(t->chord);
}

bool canvas_has_links(const struct task_message *t)
{
	return is_filled(t->callbacks) || is_filled(t->chain);
}

bool canvas_has_errbacks(const struct task_message *t)
{
	return is_filled(t->errbacks);
}

void canvas_init(struct canvas *c)
{
	*c = (struct canvas){0};
}

void canvas_clear(struct canvas *c)
{
	for (size_t i = 0; i < c->count; i++)
		outgoing_clear(&c->all[i]);
	for (size_t i = 0; i < c->chord_count; i++) {
		free(c->chords[i].group_id);
		free(c->chords[i].group);
	}
	free(c->all);
	free(c->chords);
	free(c->children);
	canvas_init(c);
}

json_t *canvas_list_load(struct span json, struct err *err)
{
	json_auto_t *value = is_filled(json) ? pyjson_load(json.data, json.len, err) : NULL;

	return value || !is_filled(json) ? canvas_list(value) : NULL;
}

/* One call */

void canvas_begin(struct canvas_work *w, struct canvas *c, const struct canvas_options *options,
		  struct span argument, struct err *err)
{
	*w = (struct canvas_work){
		.c = c,
		.options = options,
		.argument = argument,
		.mark = argument.data ? json_string("") : NULL,
		.priority = -1,
		.err = err,
	};
	str_init(&w->children, options->max_bytes);
}

static void keep_children(struct canvas_work *w)
{
	struct canvas *c = w->c;
	size_t len = c->children ? strlen(c->children) - 1 : 0;
	char *old = c->children;

	if (w->children.len == 0)
		return;
	c->children = mem_printf("%.*s%s%s]", len ? (int)len : 1, len ? old : "[",
				 len > 1 ? ", " : "", w->children.data);
	free(old);
}

int canvas_end(struct canvas_work *w, int status)
{
	if (w->children.is_full)
		status = err_set(w->err, ERR_LIMIT, "the children of a task are too many");
	if (status == 0)
		keep_children(w);
	else
		canvas_clear(w->c);
	json_decref(w->mark);
	str_clear(&w->children);
	arena_clear(&w->memory);
	return status;
}

json_t *canvas_args(const struct canvas_work *w)
{
	json_t *args = w->mark ? json_array() : NULL;

	if (args)
		json_array_append(args, w->mark);
	return args;
}

const char *canvas_fresh_id(struct canvas_work *w)
{
	char *id = arena_alloc(&w->memory, 37);
	auto_free char *text = NULL;

	if (!w->seed) {
		uuid4(id);
		return id;
	}
	text = mem_printf("%c%s", w->part, w->seed);
	uuid_of(id, text, w->drawn++);
	return id;
}

void canvas_caused_by(struct canvas_work *w, const struct task_message *t, char part)
{
	w->parent_id = t->id;
	w->root_id = t->root_id && *t->root_id ? t->root_id : t->id;
	w->seed = arena_strdup(&w->memory, t->id);
	/* A task that has replaced itself has the id of the one it was. */
	if (t->replaced_task_nesting > 0) {
		auto_free char *seed =
			mem_printf("%s/%lld", t->id, (long long)t->replaced_task_nesting);

		w->seed = arena_strdup(&w->memory, seed);
	}
	w->part = part;
	if (w->options->inherits_priority)
		w->priority = t->priority;
}

/* Checking */

static int check_signature(struct canvas_work *w, const json_t *sig, const char *part);

static int check_members(struct canvas_work *w, const json_t *sig, const char *part)
{
	json_t *tasks = canvas_members(sig);

	for (size_t i = 0; i < json_array_size(tasks); i++)
		if (check_signature(w, json_array_get(tasks, i), part) < 0)
			return -1;
	return canvas_type(sig) == CANVAS_CHORD ? check_signature(w, canvas_body(sig), part) : 0;
}

static int check_signature(struct canvas_work *w, const json_t *sig, const char *part)
{
	struct signature s;

	return signature_read(&s, sig, w->err) < 0 ? -1 : check_members(w, sig, part);
}

static int check_one(struct canvas_work *w, const json_t *value, const char *part)
{
	struct signature s;
	bool is_read = signature_read(&s, value, w->err) == 0;
	json_auto_t *sig = NULL;

	if (is_read && !s.subtask_type)
		return 0;
	sig = is_read ? canvas_load(w, value) : NULL;
	if (sig && check_members(w, sig, part) == 0)
		return 0;
	return err_prefix(w->err, "%s: ", part);
}

static int check_list(struct canvas_work *w, struct span json, const char *part)
{
	json_auto_t *list = canvas_list_load(json, w->err);

	if (!list)
		return err_prefix(w->err, "%s: ", part);
	for (size_t i = 0; i < json_array_size(list); i++)
		if (check_one(w, json_array_get(list, i), part) < 0)
			return -1;
	return 0;
}

static int check_chord(struct canvas_work *w, const struct task_message *t)
{
	if (is_filled(t->chord) && pyjson_kind_of(t->chord) != PYJSON_OBJECT)
		return err_set(w->err, ERR_INVALID, "its chord is not a signature");
	return check_list(w, t->chord, "its chord");
}

int canvas_check(const struct task_message *t, struct err *err)
{
	const struct canvas_options options = {.max_bytes = 0};
	struct canvas nothing = {0};
	struct canvas_work w;
	int status;

	canvas_begin(&w, &nothing, &options, (struct span){0}, err);
	status = check_list(&w, t->callbacks, "its link");
	if (status == 0)
		status = check_list(&w, t->errbacks, "its link_error");
	if (status == 0)
		status = check_list(&w, t->chain, "its chain");
	if (status == 0)
		status = check_chord(&w, t);
	return canvas_end(&w, status);
}

/* Calling */

static json_t *call_options(const struct canvas_work *w)
{
	json_t *options = json_object();

	if (w->parent_id)
		canvas_set_text(options, "parent_id", w->parent_id);
	if (w->root_id)
		canvas_set_text(options, "root_id", w->root_id);
	return options;
}

/* What the trace of a task gives to all it calls. */
static json_t *follow_options(const struct canvas_work *w)
{
	json_t *options = call_options(w);

	json_object_set_new_nocheck(options, "priority",
				    w->priority >= 0 ? json_integer(w->priority) : json_null());
	return options;
}

static int call_with(struct canvas_work *w, json_t *sig, json_t *options)
{
	json_auto_t *args = canvas_args(w);
	struct canvas_result *result = NULL;

	return canvas_call(w, sig, args, NULL, options, &result);
}

static int call_value(struct canvas_work *w, const json_t *value, json_t *options)
{
	json_auto_t *sig = canvas_load(w, value);

	return sig ? call_with(w, sig, options) : -1;
}

static int call_links(struct canvas_work *w, const json_t *links)
{
	json_auto_t *others = json_array(), *group = canvas_group_of(others);
	size_t count = json_array_size(links);

	for (size_t i = 0; i < count; i++) {
		json_auto_t *sig = canvas_load(w, json_array_get(links, i));
		json_auto_t *options = follow_options(w);

		if (!sig)
			return -1;
		if (count > 1 && canvas_type(sig) != CANVAS_GROUP)
			json_array_append(others, sig);
		else if (call_with(w, sig, options) < 0)
			return -1;
	}
	json_auto_t *options = follow_options(w);

	return json_array_size(others) > 0 ? call_with(w, group, options) : 0;
}

/* The chain stands in reverse: its last element comes next. */
static int call_step(struct canvas_work *w, json_t *chain)
{
	size_t count = json_array_size(chain);
	json_auto_t *next = json_incref(json_array_get(chain, count - 1)), *options = NULL;

	if (count == 0)
		return 0;
	json_array_remove(chain, count - 1);
	options = json_object();
	json_object_set_nocheck(options, "chain", chain);
	json_auto_t *more = follow_options(w);

	canvas_update(options, more);
	return call_value(w, next, options);
}

int canvas_after_success(struct canvas *c, const struct task_message *t, struct span result,
			 const struct canvas_options *options, struct err *err)
{
	json_auto_t *links = canvas_list_load(t->callbacks, err);
	json_auto_t *chain = canvas_list_load(t->chain, err);
	struct canvas_work w;
	int status = -1;

	canvas_begin(&w, c, options, result, err);
	canvas_caused_by(&w, t, 's');
	if (links && chain)
		status = call_links(&w, links);
	if (status == 0)
		status = call_step(&w, chain);
	return canvas_end(&w, status);
}

static bool is_taken(struct canvas_work *w, const json_t *value)
{
	const struct canvas_options *options = w->options;
	struct signature s;

	return options->takes_errback && signature_read(&s, value, NULL) == 0 &&
	       options->takes_errback(options->errback_ctx, &s, w->parent_id);
}

/* What Celery would call in the worker and cannot (a chain), runs as a task. */
int canvas_call_errbacks(struct canvas_work *w, const json_t *errbacks)
{
	json_auto_t *tasks = json_array(), *group = canvas_group_of(tasks);
	json_auto_t *options = call_options(w);

	for (size_t i = 0; i < json_array_size(errbacks); i++) {
		const json_t *value = json_array_get(errbacks, i);
		json_t *sig;

		if (is_taken(w, value))
			continue;
		sig = canvas_load(w, value);
		if (!sig)
			return -1;
		json_array_append_new(tasks, sig);
	}
	return json_array_size(tasks) > 0 ? call_with(w, group, options) : 0;
}

int canvas_after_failure(struct canvas *c, const struct task_message *t,
			 const struct canvas_options *options, struct err *err)
{
	json_auto_t *errbacks = canvas_list_load(t->errbacks, err);
	auto_str id = STR_INIT(STR_MAX_DEFAULT);
	struct canvas_work w;
	int status = -1;

	pyjson_dump_str(&id, t->id, strlen(t->id));
	canvas_begin(&w, c, options, (struct span){id.data, id.len}, err);
	canvas_caused_by(&w, t, 'e');
	w.priority = -1;
	if (errbacks)
		status = canvas_call_errbacks(&w, errbacks);
	/* The record of the task is written: who is called now is not in it. */
	str_reset(&w.children);
	return canvas_end(&w, status);
}

int canvas_apply(struct canvas *c, const json_t *signature, const struct canvas_call *call,
		 const struct canvas_options *options, struct err *err)
{
	json_auto_t *none = json_object();
	struct canvas_work w;

	canvas_begin(&w, c, options, call->argument, err);
	w.parent_id = call->parent_id;
	w.root_id = call->root_id ? call->root_id : call->parent_id;
	w.seed = call->seed;
	w.part = 'a';
	if (options->inherits_priority)
		w.priority = call->priority;
	return canvas_end(&w, call_value(&w, signature, none));
}

int canvas_chord_body(struct canvas *c, const struct task_message *t, struct span body,
		      struct span results, const struct canvas_options *options, struct err *err)
{
	json_auto_t *signature = pyjson_load(body.data, body.len, err), *none = json_object();
	struct canvas_work w;
	int status;

	canvas_begin(&w, c, options, results, err);
	canvas_caused_by(&w, t, 'b');
	/* Whichever part completes the chord: the ids are the same. */
	if (t->group)
		w.seed = t->group;
	status = signature ? call_value(&w, signature, none) : -1;
	str_reset(&w.children);
	return canvas_end(&w, status);
}
