/* Signatures as values: celery/canvas.py, Signature and the from_dict() and clone() of its kinds.
 * A chain, a group and a chord's members lose `immutable` and their arguments on the way through
 * from_dict, as in Python; a chord keeps its own. */
#include <string.h>

#include "protocol/canvas_impl.h"
#include "protocol/pyjson_impl.h"

static const char *const type_names[] = {
	[CANVAS_TASK] = NULL,
	[CANVAS_CHAIN] = "chain",
	[CANVAS_GROUP] = "group",
	[CANVAS_CHORD] = "chord",
};

/* celery.map and its like have types of their own in Python, but are sent as single tasks. */
static int type_read(const json_t *value, enum canvas_type *ret)
{
	const char *name = json_string_value(json_object_get(value, "subtask_type"));

	*ret = CANVAS_TASK;
	if (!name || !*name || !strcmp(name, "xmap") || !strcmp(name, "xstarmap") ||
	    !strcmp(name, "chunks"))
		return 0;
	for (size_t i = CANVAS_CHAIN; i <= CANVAS_CHORD; i++)
		if (strcmp(name, type_names[i]) == 0) {
			*ret = (enum canvas_type)i;
			return 0;
		}
	return -1;
}

enum canvas_type canvas_type(const json_t *sig)
{
	enum canvas_type type;

	type_read(sig, &type);
	return type;
}

void canvas_update(json_t *object, const json_t *more)
{
	/* jansson's iterators do not change the object, yet ask for one that is not const. */
	json_t *from = (json_t *)(uintptr_t)more;

	for (void *it = json_object_iter(from); it; it = json_object_iter_next(from, it))
		json_object_setn_nocheck(object, json_object_iter_key(it),
					 json_object_iter_key_len(it), json_object_iter_value(it));
}

json_t *canvas_copy(const json_t *object)
{
	json_t *copy = json_object();

	canvas_update(copy, object);
	return copy;
}

/* Lists are changed in place by linking, so they are copied as well; what is in them is not. */
static json_t *options_copy(const json_t *options)
{
	json_t *from = (json_t *)(uintptr_t)options, *copy = json_object();

	for (void *it = json_object_iter(from); it; it = json_object_iter_next(from, it)) {
		json_t *value = json_object_iter_value(it);

		json_object_setn_new_nocheck(
			copy, json_object_iter_key(it), json_object_iter_key_len(it),
			json_is_array(value) ? json_copy(value) : json_incref(value));
	}
	return copy;
}

json_t *canvas_signature(enum canvas_type type, const char *task, json_t *args, json_t *kwargs,
			 json_t *options)
{
	json_t *sig = json_object(), *name = json_string(task);

	json_object_set_new_nocheck(sig, "task", name);
	json_object_set_new_nocheck(sig, "args", args ? args : json_array());
	json_object_set_new_nocheck(sig, "kwargs", kwargs ? kwargs : json_object());
	json_object_set_new_nocheck(sig, "options", options ? options : json_object());
	json_object_set_new_nocheck(sig, "subtask_type",
				    type == CANVAS_TASK ? json_null()
							: json_string(type_names[type]));
	json_object_set_new_nocheck(sig, "immutable", json_false());
	return sig;
}

json_t *canvas_group_of(json_t *tasks)
{
	json_t *kwargs = json_object();

	json_object_set_nocheck(kwargs, "tasks", tasks);
	return canvas_signature(CANVAS_GROUP, "celery.group", NULL, kwargs, NULL);
}

json_t *canvas_own_options(const json_t *sig)
{
	return json_object_get(sig, "options");
}

json_t *canvas_tasks(const json_t *sig)
{
	return json_object_get(json_object_get(sig, "kwargs"),
			       canvas_type(sig) == CANVAS_CHORD ? "header" : "tasks");
}

json_t *canvas_members(const json_t *sig)
{
	json_t *tasks = canvas_tasks(sig);

	return json_is_object(tasks) ? canvas_tasks(tasks) : tasks;
}

json_t *canvas_body(const json_t *chord)
{
	json_t *body = json_object_get(json_object_get(chord, "kwargs"), "body");

	return json_is_object(body) ? body : NULL;
}

bool canvas_is_empty_group(const json_t *sig)
{
	return canvas_type(sig) == CANVAS_GROUP && json_array_size(canvas_tasks(sig)) == 0;
}

json_t *canvas_option(const json_t *options, const char *name)
{
	json_t *value = json_object_get(options, name);

	return json_is_null(value) ? NULL : value;
}

const char *canvas_option_text(const json_t *options, const char *name)
{
	const char *text = json_string_value(json_object_get(options, name));

	return text && *text ? text : NULL;
}

json_t *canvas_option_pop(json_t *options, const char *name)
{
	json_t *value = json_incref(canvas_option(options, name));

	json_object_del(options, name);
	return value;
}

void canvas_set_text(json_t *options, const char *name, const char *text)
{
	json_object_set_new_nocheck(options, name, text ? json_string(text) : json_null());
}

static json_t *fail(struct canvas_work *w, const char *what)
{
	err_set(w->err, ERR_INVALID, "a signature %s", what);
	return NULL;
}

static bool may_copy(struct canvas_work *w)
{
	if (++w->copies <= CANVAS_COPIES_MAX && w->depth <= CANVAS_DEPTH_MAX)
		return true;
	err_set(w->err, ERR_LIMIT, "the canvas is too large");
	return false;
}

static json_t *load_list(struct canvas_work *w, const json_t *list)
{
	json_auto_t *loaded = json_array();

	if (!json_is_array(list))
		return fail(w, "of a composite has no list of tasks");
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *sig = canvas_load(w, json_array_get(list, i));

		if (!sig)
			return NULL;
		json_array_append_new(loaded, sig);
	}
	return json_incref(loaded);
}

/* A header may be a list, a single signature, or a group or chain, of which only the tasks count.
 */
static json_t *load_header(struct canvas_work *w, const json_t *header)
{
	enum canvas_type type = canvas_type(header);
	json_auto_t *list = NULL;

	if (json_is_object(header) && (type == CANVAS_GROUP || type == CANVAS_CHAIN))
		return load_list(w, canvas_tasks(header));
	if (!json_is_object(header))
		return load_list(w, header);
	list = json_array();
	json_array_append(list, (json_t *)(uintptr_t)header);
	return load_list(w, list);
}

static json_t *load_chord_kwargs(struct canvas_work *w, const json_t *kwargs)
{
	json_auto_t *out = canvas_copy(kwargs);
	json_t *header = load_header(w, json_object_get(kwargs, "header")), *body;

	if (!header)
		return NULL;
	json_object_del(out, "header");
	json_object_del(out, "body");
	if (json_object_size(out) == 0)
		json_object_set_new_nocheck(out, "kwargs", json_object());
	json_object_set_new_nocheck(out, "header", header);
	body = json_object_get(kwargs, "body");
	if (!json_is_object(body))
		return fail(w, "of a chord has no body");
	body = canvas_load(w, body);
	if (!body)
		return NULL;
	json_object_set_new_nocheck(out, "body", body);
	return json_incref(out);
}

static json_t *load_kwargs(struct canvas_work *w, enum canvas_type type, json_t *kwargs)
{
	json_t *tasks, *out;

	if (type == CANVAS_CHORD)
		return load_chord_kwargs(w, kwargs);
	if (type == CANVAS_TASK)
		return json_incref(kwargs);
	tasks = load_list(w, json_object_get(kwargs, "tasks"));
	if (!tasks)
		return NULL;
	out = json_object();
	json_object_set_new_nocheck(out, "tasks", tasks);
	return out;
}

static json_t *load(struct canvas_work *w, const json_t *value)
{
	const char *task = json_string_value(json_object_get(value, "task"));
	json_t *args = json_object_get(value, "args"), *kwargs = json_object_get(value, "kwargs"),
	       *options = json_object_get(value, "options"), *sig;
	enum canvas_type type;

	if (!json_is_object(value) || !task)
		return fail(w, "names no task");
	if (type_read(value, &type) < 0)
		return fail(w, "is of an unknown type");
	if ((args && !json_is_array(args) && !json_is_null(args)) ||
	    (kwargs && !json_is_object(kwargs) && !json_is_null(kwargs)) ||
	    (options && !json_is_object(options) && !json_is_null(options)))
		return fail(w, "has unusable arguments or options");
	if (json_is_object(kwargs) || type != CANVAS_TASK) {
		kwargs = load_kwargs(w, type, kwargs);
		if (!kwargs)
			return NULL;
	} else {
		kwargs = NULL;
	}
	sig = canvas_signature(type, task, NULL, kwargs, options_copy(options));
	json_object_set_nocheck(sig, "task", json_object_get(value, "task"));
	if (type == CANVAS_CHAIN || type == CANVAS_GROUP)
		return sig;
	if (json_is_array(args))
		json_object_set_nocheck(sig, "args", args);
	if (json_is_true(json_object_get(value, "immutable")))
		json_object_set_new_nocheck(sig, "immutable", json_true());
	return sig;
}

json_t *canvas_load(struct canvas_work *w, const json_t *value)
{
	json_t *sig;

	w->depth++;
	sig = may_copy(w) ? load(w, value) : NULL;
	w->depth--;
	return sig;
}

static json_t *clone_list(struct canvas_work *w, const json_t *list)
{
	json_auto_t *copy = json_array();

	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *sig = canvas_clone(w, json_array_get(list, i), NULL, NULL, NULL);

		if (!sig)
			return NULL;
		json_array_append_new(copy, sig);
	}
	return json_incref(copy);
}

/* The members of a group are shared with its clone; those of a header are, once it is a group. */
static json_t *clone_kwargs(struct canvas_work *w, const json_t *sig)
{
	enum canvas_type type = canvas_type(sig);
	json_auto_t *copy = NULL;
	json_t *tasks = canvas_tasks(sig), *list, *body;

	if (type == CANVAS_TASK) /* shared: arguments are replaced, not changed */
		return json_incref(json_object_get(sig, "kwargs"));
	copy = canvas_copy(json_object_get(sig, "kwargs"));
	if (type == CANVAS_GROUP || json_is_object(tasks))
		list = json_copy(canvas_members(sig));
	else
		list = clone_list(w, tasks);
	if (!list)
		return NULL;
	json_object_set_new_nocheck(copy, type == CANVAS_CHORD ? "header" : "tasks", list);
	if (type != CANVAS_CHORD)
		return json_incref(copy);
	body = canvas_clone(w, canvas_body(sig), NULL, NULL, NULL);
	if (!body)
		return NULL;
	json_object_set_new_nocheck(copy, "body", body);
	return json_incref(copy);
}

static bool is_stamp(const json_t *names, const char *name)
{
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *stamp = json_string_value(json_array_get(names, i));

		if (stamp && strcmp(stamp, name) == 0)
			return true;
	}
	return false;
}

/* Signature._merge(): a group stays what it is, and so do stamps. */
static void merge_options(json_t *own, const json_t *more)
{
	json_t *from = (json_t *)(uintptr_t)more;
	json_auto_t *stamps = json_incref(json_object_get(own, "stamped_headers"));

	for (void *it = json_object_iter(from); it; it = json_object_iter_next(from, it)) {
		const char *name = json_object_iter_key(it);
		bool is_kept = json_object_get(own, name) &&
			       (!strcmp(name, "group_id") || !strcmp(name, "stamped_headers") ||
				is_stamp(stamps, name));

		if (!is_kept)
			json_object_setn_nocheck(own, name, json_object_iter_key_len(it),
						 json_object_iter_value(it));
	}
}

void canvas_merge(json_t *sig, const json_t *args, const json_t *kwargs, const json_t *options)
{
	json_t *own = json_object_get(sig, "args"), *all;

	merge_options(canvas_own_options(sig), options);
	if (json_is_true(json_object_get(sig, "immutable")))
		return;
	if (json_object_size(kwargs) > 0) {
		all = canvas_copy(json_object_get(sig, "kwargs"));
		canvas_update(all, kwargs);
		json_object_set_new_nocheck(sig, "kwargs", all);
	}
	if (json_array_size(args) > 0) {
		all = json_copy((json_t *)(uintptr_t)args);
		json_array_extend(all, own);
		json_object_set_new_nocheck(sig, "args", all);
	}
}

static json_t *clone(struct canvas_work *w, const json_t *sig, const json_t *args,
		     const json_t *kwargs, const json_t *options)
{
	enum canvas_type type = canvas_type(sig);
	json_t *own_kwargs = clone_kwargs(w, sig), *copy;

	if (!own_kwargs)
		return NULL;
	copy = canvas_signature(type, "", NULL, own_kwargs, options_copy(canvas_own_options(sig)));
	json_object_set_nocheck(copy, "task", json_object_get(sig, "task"));
	if (type == CANVAS_CHAIN || type == CANVAS_GROUP) {
		merge_options(canvas_own_options(copy), options);
		return copy;
	}
	json_object_set_nocheck(copy, "args", json_object_get(sig, "args"));
	json_object_set_nocheck(copy, "immutable", json_object_get(sig, "immutable"));
	canvas_merge(copy, args, kwargs, options);
	return copy;
}

json_t *canvas_clone(struct canvas_work *w, const json_t *sig, const json_t *args,
		     const json_t *kwargs, const json_t *options)
{
	json_t *copy;

	w->depth++;
	copy = may_copy(w) ? clone(w, sig, args, kwargs, options) : NULL;
	w->depth--;
	return copy;
}
