/* The task API: signatures, made by task code. Pure. The objects are those of celery/canvas.py. */
#include <smallage/task.h>
#include <string.h>

/* Takes `kwargs`; a value that is missing somewhere below makes the whole one missing. */
static json_t *composite(const char *task, const char *type, json_t *kwargs)
{
	if (!kwargs)
		return NULL;
	return json_pack("{s:s, s:[], s:o, s:{}, s:s, s:b}", "task", task, "args", "kwargs", kwargs,
			 "options", "subtask_type", type, "immutable", 0);
}

static bool is_a(const json_t *signature, const char *type)
{
	const char *own = json_string_value(json_object_get(signature, "subtask_type"));

	return own && strcmp(own, type) == 0;
}

static json_t *part(const json_t *signature, const char *name)
{
	return json_object_get(json_object_get(signature, "kwargs"), name);
}

json_t *sm_signature(const char *task, json_t *args, json_t *kwargs)
{
	return json_pack("{s:s, s:o, s:o, s:{}, s:n, s:b}", "task", task, "args",
			 args ? args : json_array(), "kwargs", kwargs ? kwargs : json_object(),
			 "options", "subtask_type", "immutable", 0);
}

json_t *sm_immutable(json_t *signature)
{
	json_t *members = is_a(signature, "group") ? part(signature, "tasks") : NULL;
	json_t *member;
	size_t i;

	if (!members && json_is_object(signature))
		json_object_set_new(signature, "immutable", json_true());
	json_array_foreach (members, i, member)
		sm_immutable(member);
	return signature;
}

json_t *sm_set(json_t *signature, const char *option, json_t *value)
{
	json_t *options = json_object_get(signature, "options");

	if (json_is_object(signature) && !json_is_object(options)) {
		options = json_object();
		json_object_set_new(signature, "options", options);
	}
	if (!value || json_object_set_new(options, option, value) != 0) {
		json_decref(signature);
		return NULL;
	}
	return signature;
}

static void append(json_t *signature, const char *option, json_t *other)
{
	json_t *options = json_object_get(signature, "options");
	json_t *list = json_object_get(options, option);

	if (json_is_object(list)) {
		list = json_pack("[O]", list);
		json_object_set_new(options, option, list);
	} else if (!json_is_array(list)) {
		list = json_array();
		sm_set(signature, option, list);
	}
	json_array_append(list, other);
}

/* Where a callback of a chord belongs: to its body, which may be a chord as well. */
static json_t *body_of(json_t *signature)
{
	while (is_a(signature, "chord") && json_is_object(part(signature, "body")))
		signature = part(signature, "body");
	return signature;
}

/* A group's first member stands for it, and cannot know the others' results. */
json_t *sm_link(json_t *signature, json_t *callback)
{
	json_t *to = body_of(signature);

	if (!signature || !callback) {
		json_decref(signature);
		json_decref(callback);
		return NULL;
	}
	if (is_a(to, "group")) {
		to = json_array_get(part(to, "tasks"), 0);
		sm_immutable(callback);
	}
	if (to)
		append(to, "link", callback);
	json_decref(callback);
	return signature;
}

json_t *sm_link_error(json_t *signature, json_t *errback)
{
	json_t *to = body_of(signature);
	json_t *member;
	size_t i;

	if (!signature || !errback) {
		json_decref(signature);
		json_decref(errback);
		return NULL;
	}
	if (is_a(to, "group")) {
		json_array_foreach (part(to, "tasks"), i, member)
			append(member, "link_error", errback);
	} else {
		append(to, "link_error", errback);
	}
	json_decref(errback);
	return signature;
}

json_t *sm_list(json_t *const *signatures, size_t count)
{
	json_t *list = json_array();
	bool is_whole = list != NULL;

	for (size_t i = 0; i < count; i++)
		is_whole = json_array_append_new(list, signatures[i]) == 0 && is_whole;
	if (is_whole)
		return list;
	json_decref(list);
	return NULL;
}

json_t *sm_chain(json_t *steps)
{
	return composite("celery.chain", "chain", json_pack("{s:o}", "tasks", steps));
}

json_t *sm_group(json_t *members)
{
	return composite("celery.group", "group", json_pack("{s:o}", "tasks", members));
}

json_t *sm_chord(json_t *header, json_t *body)
{
	return composite("celery.chord", "chord",
			 json_pack("{s:{}, s:o, s:o}", "kwargs", "header", header, "body", body));
}

/* One task that calls another for each of many arguments. */
static json_t *for_each(const char *builtin, const char *task, json_t *items)
{
	json_t *kwargs =
		json_pack("{s:o, s:o}", "task", sm_signature(task, NULL, NULL), "it", items);

	return kwargs ? sm_immutable(sm_signature(builtin, NULL, kwargs)) : NULL;
}

json_t *sm_map(const char *task, json_t *items)
{
	return for_each("celery.map", task, items);
}

json_t *sm_starmap(const char *task, json_t *items)
{
	return for_each("celery.starmap", task, items);
}

json_t *sm_chunks(const char *task, json_t *items, size_t n)
{
	json_t *members = json_array(), *chunk = NULL;
	json_t *item;
	size_t i;

	json_array_foreach (items, i, item) {
		if (i % (n ? n : 1) == 0) {
			chunk = json_array();
			json_array_append_new(members, sm_starmap(task, chunk));
		}
		json_array_append(chunk, item);
	}
	json_decref(items);
	return sm_group(members);
}
