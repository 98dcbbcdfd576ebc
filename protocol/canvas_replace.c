/* A task takes another's place, or joins its chord: celery/app/task.py, replace() and
 * add_to_chord(), with the operator `|` of celery/canvas.py. */
#include <string.h>

#include "protocol/canvas_impl.h"
#include "protocol/pyjson.h"

static json_t *chain_of(json_t *tasks)
{
	json_t *kwargs = json_object();

	json_object_set_nocheck(kwargs, "tasks", tasks);
	return canvas_signature(CANVAS_CHAIN, "celery.chain", NULL, kwargs, NULL);
}

static json_t *chord_of(const json_t *group, json_t *body)
{
	json_t *kwargs = json_object();

	json_object_set_new_nocheck(kwargs, "kwargs", json_object());
	json_object_set_new_nocheck(kwargs, "header", json_copy(canvas_tasks(group)));
	json_object_set_nocheck(kwargs, "body", body);
	return canvas_signature(CANVAS_CHORD, "celery.chord", NULL, kwargs, NULL);
}

static json_t *join(struct canvas_work *w, json_t *sig, json_t *other);

/* The chord's body goes on with `other`. */
static int join_body(struct canvas_work *w, json_t *chord, json_t *other)
{
	json_t *body = join(w, canvas_body(chord), other);

	if (!body)
		return -1;
	json_object_set_new_nocheck(json_object_get(chord, "kwargs"), "body", body);
	return 0;
}

static json_t *join_to_chord(struct canvas_work *w, json_t *chord, json_t *other)
{
	json_auto_t *copy = canvas_clone(w, chord, NULL, NULL, NULL);

	return copy && join_body(w, copy, other) == 0 ? json_incref(copy) : NULL;
}

static json_t *append_to_chain(struct canvas_work *w, json_t *chain, json_t *other)
{
	json_auto_t *tasks = canvas_unchain(w, chain);

	if (!tasks)
		return NULL;
	json_array_append(tasks, other);
	return chain_of(tasks);
}

/* The last step is a group, which with `other` makes a chord; one chord behind another goes into
 * its body. */
static json_t *close_group(struct canvas_work *w, json_t *chain, json_t *other)
{
	json_auto_t *copy = canvas_clone(w, chain, NULL, NULL, NULL);
	json_t *tasks = canvas_tasks(copy), *before;
	size_t last = json_array_size(tasks) - 1;

	if (!copy)
		return NULL;
	json_array_set_new(tasks, last, chord_of(json_array_get(tasks, last), other));
	before = last > 0 ? json_array_get(tasks, last - 1) : NULL;
	if (!before || canvas_type(before) != CANVAS_CHORD)
		return json_incref(copy);
	if (join_body(w, before, json_array_get(tasks, last)) < 0)
		return NULL;
	json_array_remove(tasks, last);
	return json_incref(copy);
}

static json_t *join_group_to_chain(struct canvas_work *w, json_t *chain, json_t *group)
{
	json_auto_t *tasks = canvas_unchain(w, chain);
	size_t count = json_array_size(tasks);
	json_t *last = count > 0 ? json_array_get(tasks, count - 1) : NULL;

	if (!tasks)
		return NULL;
	if (!last)
		return json_incref(group);
	if (canvas_type(last) != CANVAS_CHORD)
		json_array_append(tasks, group);
	else if (join_body(w, last, group) < 0)
		return NULL;
	return chain_of(tasks);
}

static json_t *join_to_chain(struct canvas_work *w, json_t *chain, json_t *other)
{
	json_t *tasks = canvas_tasks(chain);
	size_t count = json_array_size(tasks);
	enum canvas_type last =
		count > 0 ? canvas_type(json_array_get(tasks, count - 1)) : CANVAS_TASK;

	if (canvas_is_empty_group(other))
		return json_incref(chain);
	if (canvas_type(other) == CANVAS_GROUP)
		return join_group_to_chain(w, chain, other);
	if (last == CANVAS_GROUP)
		return close_group(w, chain, other);
	if (last != CANVAS_CHORD || canvas_type(other) == CANVAS_CHORD)
		return append_to_chain(w, chain, other);
	json_auto_t *copy = canvas_clone(w, chain, NULL, NULL, NULL);

	if (!copy || join_body(w, json_array_get(canvas_tasks(copy), count - 1), other) < 0)
		return NULL;
	return json_incref(copy);
}

/* sig | chain, step by step. */
static json_t *join_each(struct canvas_work *w, json_t *sig, json_t *chain)
{
	json_auto_t *tasks = canvas_unchain(w, chain);
	json_t *all = tasks ? json_incref(sig) : NULL;

	for (size_t i = 0; all && i < json_array_size(tasks); i++) {
		json_auto_t *before = all;

		all = join(w, before, json_array_get(tasks, i));
	}
	return all;
}

/* New reference. */
static json_t *join(struct canvas_work *w, json_t *sig, json_t *other)
{
	enum canvas_type type = canvas_type(sig);
	json_auto_t *tasks = NULL;

	if (canvas_type(other) == CANVAS_GROUP && json_array_size(canvas_tasks(other)) == 1)
		other = json_array_get(canvas_tasks(other), 0);
	if (type == CANVAS_GROUP)
		return canvas_is_empty_group(other) ? json_incref(sig) : chord_of(sig, other);
	if (type == CANVAS_CHAIN && canvas_type(other) == CANVAS_CHAIN)
		return join_each(w, sig, other);
	if (type == CANVAS_CHAIN)
		return join_to_chain(w, sig, other);
	if (type == CANVAS_CHORD &&
	    (canvas_type(other) == CANVAS_TASK || canvas_type(other) == CANVAS_CHORD))
		return join_to_chord(w, sig, other);
	tasks = json_array();
	json_array_append(tasks, sig);
	if (canvas_type(other) != CANVAS_CHAIN) {
		json_array_append(tasks, other);
		return chain_of(tasks);
	}
	json_auto_t *more = canvas_unchain(w, other);

	json_array_extend(tasks, more);
	return more ? chain_of(tasks) : NULL;
}

/* celery.accumulate(index=0): a group gives its list on as one result. */
static json_t *accumulate(void)
{
	json_t *kwargs = json_object();

	json_object_set_new_nocheck(kwargs, "index", json_integer(0));
	return canvas_signature(CANVAS_TASK, "celery.accumulate", NULL, kwargs, NULL);
}

static json_t *collected(struct canvas_work *w, json_t *sig)
{
	json_auto_t *collector = accumulate();
	json_t *tasks = canvas_tasks(sig), *last;
	size_t count = json_array_size(tasks);

	if (canvas_type(sig) == CANVAS_GROUP)
		return chord_of(sig, collector);
	last = count > 0 ? json_array_get(tasks, count - 1) : NULL;
	if (canvas_type(sig) == CANVAS_CHAIN && canvas_type(last) == CANVAS_GROUP)
		json_array_set_new(tasks, count - 1, chord_of(last, collector));
	(void)w;
	return json_incref(sig);
}

static int take_over_links(struct canvas_work *w, json_t *sig, const struct task_message *t)
{
	json_auto_t *links = canvas_list_load(t->callbacks, w->err);
	json_auto_t *errbacks = canvas_list_load(t->errbacks, w->err), *own = NULL;
	json_t *tasks = canvas_tasks(sig);
	size_t count = json_array_size(tasks);

	for (size_t i = 0; i < json_array_size(links); i++) {
		json_auto_t *link = canvas_load(w, json_array_get(links, i));

		if (!link || canvas_link(w, sig, link) < 0)
			return -1;
	}
	for (size_t i = 0; i < json_array_size(errbacks); i++) {
		json_auto_t *errback = canvas_load(w, json_array_get(errbacks, i));

		if (!errback || canvas_link_error(w, sig, errback) < 0)
			return -1;
	}
	/* On the chain as well they would be called twice. */
	if (canvas_type(sig) == CANVAS_CHAIN && json_object_get(canvas_own_options(sig), "link")) {
		own = canvas_option_pop(canvas_own_options(sig), "link");
		canvas_extend_option(json_array_get(tasks, count - 1), "link", own);
	}
	return links && errbacks ? 0 : -1;
}

static void set_nesting(json_t *sig, const struct task_message *t)
{
	json_object_set_new_nocheck(canvas_own_options(sig), "replaced_task_nesting",
				    json_integer(t->replaced_task_nesting + 1));
}

static int join_chord_of(struct canvas_work *w, json_t *sig, const struct task_message *t)
{
	json_t *options = canvas_own_options(sig), *chord = json_null();

	if (t->chord.data) {
		chord = pyjson_load(t->chord.data, t->chord.len, w->err);
		if (!chord)
			return -1;
	}
	json_object_set_new_nocheck(options, "chord", chord);
	canvas_set_text(options, "group_id", t->group);
	json_object_set_new_nocheck(options, "group_index",
				    t->group_index >= 0 ? json_integer(t->group_index)
							: json_null());
	canvas_set_text(options, "root_id", t->root_id);
	return 0;
}

/* What was to follow the task follows its replacement. */
static json_t *with_chain(struct canvas_work *w, json_t *sig, const struct task_message *t)
{
	json_auto_t *chain = canvas_list_load(t->chain, w->err);
	json_t *all = chain ? json_incref(sig) : NULL;

	for (size_t i = json_array_size(chain); all && i > 0; i--) {
		json_auto_t *step = canvas_load(w, json_array_get(chain, i - 1)), *before = all;

		all = NULL;
		if (!step)
			break;
		set_nesting(step, t);
		all = join(w, before, step);
	}
	return all;
}

static int replace(struct canvas_work *w, const struct task_message *t, json_t *sig)
{
	const struct canvas_freeze f = {.id = t->id, .group_index = -1};
	json_t *tasks = canvas_tasks(sig);
	json_auto_t *all = NULL, *none = json_object();
	struct canvas_result *result = NULL;

	if (take_over_links(w, sig, t) < 0 || !canvas_freeze(w, sig, &f) ||
	    join_chord_of(w, sig, t) < 0)
		return -1;
	set_nesting(sig, t);
	for (size_t i = 0; canvas_type(sig) == CANVAS_CHAIN && i < json_array_size(tasks); i++)
		set_nesting(json_array_get(tasks, i), t);
	all = with_chain(w, sig, t);
	return all ? canvas_call(w, all, NULL, NULL, none, &result) : -1;
}

static int check_replacement(const json_t *sig, struct err *err)
{
	if (json_object_get(canvas_own_options(sig), "chord"))
		return err_set(err, ERR_INVALID,
			       "A signature replacing a task must not be part of a chord");
	if (canvas_type(sig) == CANVAS_CHAIN && json_array_size(canvas_tasks(sig)) == 0)
		return err_set(err, ERR_INVALID, "Cannot replace with an empty chain");
	return 0;
}

int canvas_replace(struct canvas *c, const struct task_message *t, const json_t *signature,
		   const struct canvas_options *options, struct err *err)
{
	json_auto_t *given = NULL, *sig = NULL;
	struct canvas_work w;
	int status = -1;

	canvas_begin(&w, c, options, (struct span){0}, err);
	canvas_caused_by(&w, t, 'r');
	given = canvas_load(&w, signature);
	if (given && check_replacement(given, err) == 0)
		sig = collected(&w, given);
	if (sig)
		status = replace(&w, t, sig);
	/* The task that was replaced has no record. */
	str_reset(&w.children);
	return canvas_end(&w, status);
}

int canvas_add_to_chord(struct canvas *c, const struct task_message *t, const json_t *signature,
			const struct canvas_options *options, struct err *err)
{
	const struct canvas_freeze as_is = {.group_index = -1};
	json_auto_t *sig = NULL, *none = json_object();
	struct canvas_result *result = NULL;
	struct canvas_work w;
	int status = -1;

	canvas_begin(&w, c, options, (struct span){0}, err);
	canvas_caused_by(&w, t, 'c');
	w.seed = NULL; /* a task may add several */
	if (!t->chord.data || pyjson_kind_of(t->chord) == PYJSON_NULL)
		err_set(err, ERR_INVALID, "Current task is not member of any chord");
	else
		sig = canvas_load(&w, signature);
	if (sig && join_chord_of(&w, sig, t) == 0 && canvas_freeze(&w, sig, &as_is))
		status = canvas_call(&w, sig, NULL, NULL, none, &result);
	return canvas_end(&w, status);
}
