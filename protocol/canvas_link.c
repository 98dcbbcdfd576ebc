/* Linking: celery/canvas.py, link() and link_error() of each kind of signature, and
 * _chord._add_body_callbacks(). */
#include <string.h>

#include "protocol/canvas_impl.h"
#include "protocol/pyjson.h"

json_t *canvas_list(json_t *value)
{
	json_t *list;

	if (json_is_array(value))
		return json_incref(value);
	list = json_array();
	if (value && !json_is_null(value))
		json_array_append(list, value);
	return list;
}

static json_t *list_option(json_t *sig, const char *name)
{
	json_t *options = canvas_own_options(sig), *value = canvas_option(options, name);

	if (!json_is_array(value))
		json_object_set_new_nocheck(options, name, canvas_list(value));
	return json_object_get(options, name);
}

/* json_equal does not see what is behind a NUL in a key. */
static bool is_same(const json_t *a, const json_t *b)
{
	auto_str one = STR_INIT(STR_MAX_DEFAULT), two = STR_INIT(STR_MAX_DEFAULT);

	if (a == b)
		return true;
	if (pyjson_dump(&one, a) < 0 || pyjson_dump(&two, b) < 0)
		return false;
	return one.len == two.len && memcmp(one.data, two.data, one.len) == 0;
}

void canvas_append_option(json_t *sig, const char *name, json_t *value)
{
	json_t *list = list_option(sig, name);

	for (size_t i = 0; i < json_array_size(list); i++)
		if (is_same(json_array_get(list, i), value))
			return;
	json_array_append(list, value);
}

void canvas_extend_option(json_t *sig, const char *name, json_t *value)
{
	json_auto_t *more = canvas_list(value);

	json_array_extend(list_option(sig, name), more);
}

/* The first member of a group has no result of its siblings to give. */
static int link_group(struct canvas_work *w, json_t *group, json_t *callback)
{
	json_t *first = json_array_get(canvas_tasks(group), 0);
	json_auto_t *copy = canvas_clone(w, callback, NULL, NULL, NULL);

	if (!copy)
		return -1;
	if (!first)
		return err_set(w->err, ERR_INVALID, "an empty group cannot have a link");
	json_object_set_new_nocheck(copy, "immutable", json_true());
	return canvas_link(w, first, copy);
}

int canvas_link(struct canvas_work *w, json_t *sig, json_t *callback)
{
	switch (canvas_type(sig)) {
	case CANVAS_GROUP:
		return link_group(w, sig, callback);
	case CANVAS_CHORD:
		return canvas_link(w, canvas_body(sig), callback);
	case CANVAS_TASK:
	case CANVAS_CHAIN:
		break;
	}
	canvas_append_option(sig, "link", callback);
	return 0;
}

static int link_error_group(struct canvas_work *w, json_t *group, json_t *errback)
{
	json_t *tasks = canvas_tasks(group);

	for (size_t i = 0; i < json_array_size(tasks); i++) {
		json_auto_t *copy = canvas_clone(w, errback, NULL, NULL, NULL);

		if (!copy || canvas_link_error(w, json_array_get(tasks, i), copy) < 0)
			return -1;
	}
	return 0;
}

/* Chords in the header take it for themselves, as long as the header is not yet frozen; its other
 * tasks do not (task_allow_error_cb_on_chord_header is false). */
static int link_error_chord(struct canvas_work *w, json_t *chord, json_t *errback)
{
	json_t *tasks = canvas_tasks(chord);

	for (size_t i = 0; json_is_array(tasks) && i < json_array_size(tasks); i++) {
		json_t *task = json_array_get(tasks, i);

		if (canvas_type(task) == CANVAS_CHORD && canvas_link_error(w, task, errback) < 0)
			return -1;
	}
	return canvas_link_error(w, canvas_body(chord), errback);
}

int canvas_link_error(struct canvas_work *w, json_t *sig, json_t *errback)
{
	switch (canvas_type(sig)) {
	case CANVAS_GROUP:
		return link_error_group(w, sig, errback);
	case CANVAS_CHORD:
		return link_error_chord(w, sig, errback);
	case CANVAS_TASK:
	case CANVAS_CHAIN:
		break;
	}
	canvas_append_option(sig, "link_error", errback);
	return 0;
}

/* As clone(), but with copies of what link() changes. */
static json_t *clone_with_members(struct canvas_work *w, const json_t *sig)
{
	enum canvas_type type = canvas_type(sig);
	json_auto_t *copy = canvas_clone(w, sig, NULL, NULL, NULL);
	json_t *kwargs = json_object_get(copy, "kwargs"), *tasks;

	if (!copy)
		return NULL;
	tasks = type == CANVAS_GROUP ? canvas_tasks(copy) : NULL;
	for (size_t i = 0; i < json_array_size(tasks); i++) {
		json_t *task = clone_with_members(w, json_array_get(tasks, i));

		if (!task)
			return NULL;
		json_array_set_new(tasks, i, task);
	}
	if (type == CANVAS_CHORD) {
		json_t *body = clone_with_members(w, canvas_body(copy));

		if (!body)
			return NULL;
		json_object_set_new_nocheck(kwargs, "body", body);
	}
	return json_incref(copy);
}

static int link_error_to_body(struct canvas_work *w, json_t *sig, json_t *errback,
			      bool runs_as_group)
{
	json_auto_t *copy = canvas_clone(w, errback, NULL, NULL, NULL);
	json_t *tasks = canvas_tasks(sig);

	if (!copy)
		return -1;
	if (canvas_type(sig) == CANVAS_CHORD)
		return link_error_to_body(w, canvas_body(sig), errback, true);
	if (canvas_type(sig) != CANVAS_GROUP)
		return canvas_link_error(w, sig, copy);
	if (runs_as_group && canvas_option(canvas_own_options(sig), "link_error")) {
		canvas_append_option(sig, "link_error", copy);
		return 0;
	}
	for (size_t i = 0; i < json_array_size(tasks); i++)
		if (link_error_to_body(w, json_array_get(tasks, i), errback, false) < 0)
			return -1;
	return 0;
}

static int add_callback(struct canvas_work *w, json_t *body, const json_t *value)
{
	json_auto_t *sig = canvas_load(w, value);
	json_auto_t *callback = sig ? clone_with_members(w, sig) : NULL;

	if (!callback)
		return -1;
	if (!canvas_is_empty_group(body))
		return canvas_link(w, body, callback);
	canvas_append_option(body, "link", callback);
	return 0;
}

static int add_errback(struct canvas_work *w, json_t *body, json_t *value)
{
	json_auto_t *errback = NULL;

	if (canvas_type(body) != CANVAS_GROUP) {
		canvas_append_option(body, "link_error", value);
		return 0;
	}
	errback = canvas_load(w, value);
	return errback ? link_error_to_body(w, body, errback, true) : -1;
}

json_t *canvas_add_body_callbacks(struct canvas_work *w, json_t *body, json_t *options)
{
	json_auto_t *link = canvas_option_pop(options, "link");
	json_auto_t *link_error = canvas_option_pop(options, "link_error");
	json_auto_t *callbacks = canvas_list(link), *errbacks = canvas_list(link_error);
	json_auto_t *to = NULL;

	if (json_array_size(callbacks) + json_array_size(errbacks) == 0)
		return json_incref(body);
	to = clone_with_members(w, body);
	for (size_t i = 0; to && i < json_array_size(callbacks); i++)
		if (add_callback(w, to, json_array_get(callbacks, i)) < 0)
			return NULL;
	for (size_t i = 0; to && i < json_array_size(errbacks); i++)
		if (add_errback(w, to, json_array_get(errbacks, i)) < 0)
			return NULL;
	return json_incref(to);
}
