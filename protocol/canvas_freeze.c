/* Freezing: signatures get the ids under which their results will be found. Mirrors
 * celery/canvas.py, freeze() of each kind of signature, and the result objects it makes. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/canvas_impl.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"

static struct canvas_result *result_new(struct canvas_work *w, const char *id)
{
	struct canvas_result *result = arena_alloc(&w->memory, sizeof(*result));

	*result = (struct canvas_result){.id = arena_strdup(&w->memory, id)};
	return result;
}

/* The id that the options hold, or else this one, or else a fresh one. */
static const char *option_id(struct canvas_work *w, json_t *options, const char *id)
{
	if (!canvas_option_text(options, "task_id"))
		canvas_set_text(options, "task_id", id ? id : canvas_fresh_id(w));
	return canvas_option_text(options, "task_id");
}

static struct canvas_result *freeze_task(struct canvas_work *w, json_t *sig,
					 const struct canvas_freeze *f)
{
	json_t *options = canvas_own_options(sig);
	struct canvas_result *result = result_new(w, option_id(w, options, f->id));

	if (f->root_id)
		canvas_set_text(options, "root_id", f->root_id);
	if (f->parent_id)
		canvas_set_text(options, "parent_id", f->parent_id);
	/* Nobody reads answers that would come to a worker. */
	if (!json_object_get(options, "reply_to"))
		canvas_set_text(options, "reply_to", "");
	if (f->group_id && !json_object_get(options, "group_id"))
		canvas_set_text(options, "group_id", f->group_id);
	if (f->chord)
		json_object_set_nocheck(options, "chord", f->chord);
	if (f->group_index >= 0)
		json_object_set_new_nocheck(options, "group_index", json_integer(f->group_index));
	return result;
}

static struct canvas_result *freeze_chain(struct canvas_work *w, json_t *sig,
					  const struct canvas_freeze *f)
{
	const struct canvas_prepare p = {.last = *f};
	struct canvas_steps steps;
	struct canvas_result *result = NULL;

	if (canvas_prepare_steps(w, canvas_tasks(sig), &p, &steps) < 0)
		return NULL;
	if (steps.count > 0)
		result = steps.results[0];
	else
		err_set(w->err, ERR_INVALID, "a chain is empty");
	if (result)
		canvas_set_text(canvas_own_options(sig), "task_id", result->id);
	canvas_steps_clear(&steps);
	return result;
}

static bool is_empty_chain(const json_t *sig)
{
	return canvas_type(sig) == CANVAS_CHAIN && json_array_size(canvas_tasks(sig)) == 0;
}

/* As Python flattens nested groups: what was in one comes out in reverse. `pending` is a stack. */
static json_t *flatten(struct canvas_work *w, const json_t *tasks)
{
	json_auto_t *pending = json_array(), *flat = json_array();

	for (size_t i = json_array_size(tasks); i > 0; i--)
		json_array_append(pending, json_array_get(tasks, i - 1));
	while (json_array_size(pending) > 0) {
		size_t last = json_array_size(pending) - 1;
		json_auto_t *task =
			canvas_clone(w, json_array_get(pending, last), NULL, NULL, NULL);

		if (!task)
			return NULL;
		json_array_remove(pending, last);
		if (canvas_type(task) == CANVAS_GROUP)
			json_array_extend(pending, canvas_tasks(task));
		else if (!is_empty_chain(task))
			json_array_append(flat, task);
	}
	return json_incref(flat);
}

static int freeze_members(struct canvas_work *w, json_t *sig, const struct canvas_freeze *f,
			  struct canvas_result *result)
{
	json_t *tasks = canvas_tasks(sig);
	json_auto_t *flat = flatten(w, tasks);
	size_t count = json_array_size(flat);

	if (!flat)
		return -1;
	result->is_group = true;
	result->members = arena_alloc(&w->memory, (count + 1) * sizeof(struct canvas_result *));
	for (size_t i = 0; i < count; i++) {
		struct canvas_freeze member = *f;

		member.id = NULL;
		member.group_index = (int64_t)i;
		result->members[i] = canvas_freeze(w, json_array_get(flat, i), &member);
		if (!result->members[i])
			return -1;
		result->count++;
	}
	json_array_clear(tasks);
	json_array_extend(tasks, flat);
	return 0;
}

/* setdefault(): also None is a value. */
static const char *default_text(json_t *options, const char *name, const char *text)
{
	if (!json_object_get(options, name))
		canvas_set_text(options, name, text);
	return canvas_option_text(options, name);
}

struct canvas_result *canvas_freeze_group(struct canvas_work *w, json_t *sig,
					  const struct canvas_freeze *f)
{
	json_t *options = canvas_own_options(sig);
	struct canvas_result *result = result_new(w, option_id(w, options, NULL));
	struct canvas_freeze members = *f;

	if (f->group_id)
		canvas_set_text(options, "group_id", f->group_id);
	if (f->chord)
		json_object_set_nocheck(options, "chord", f->chord);
	if (f->group_index >= 0)
		json_object_set_new_nocheck(options, "group_index", json_integer(f->group_index));
	members.root_id = default_text(options, "root_id", f->root_id);
	members.parent_id = default_text(options, "parent_id", f->parent_id);
	return freeze_members(w, sig, &members, result) < 0 ? NULL : result;
}

/* The chord's result is that of its body, and behind that is its header. */
static struct canvas_result *freeze_chord(struct canvas_work *w, json_t *sig,
					  const struct canvas_freeze *f)
{
	json_t *kwargs = json_object_get(sig, "kwargs"), *body = canvas_body(sig);
	struct canvas_freeze of_header = *f;
	struct canvas_result *header, *result, *node;

	if (!json_is_object(canvas_tasks(sig)))
		json_object_set_new_nocheck(kwargs, "header", canvas_group_of(canvas_tasks(sig)));
	of_header.group_id = NULL;
	of_header.group_index = -1;
	of_header.chord = body;
	header = canvas_freeze_group(w, canvas_tasks(sig), &of_header);
	if (!header)
		return NULL;
	canvas_set_text(canvas_own_options(sig), "task_id", header->id);
	struct canvas_freeze of_body = *f;

	of_body.parent_id = NULL;
	result = canvas_freeze(w, body, &of_body);
	if (!result)
		return NULL;
	for (node = result; node->parent; node = node->parent)
		continue;
	node->parent = header;
	return result;
}

static struct canvas_result *freeze(struct canvas_work *w, json_t *sig,
				    const struct canvas_freeze *f)
{
	switch (canvas_type(sig)) {
	case CANVAS_CHAIN:
		return freeze_chain(w, sig, f);
	case CANVAS_GROUP:
		return canvas_freeze_group(w, sig, f);
	case CANVAS_CHORD:
		return freeze_chord(w, sig, f);
	case CANVAS_TASK:
		break;
	}
	return freeze_task(w, sig, f);
}

struct canvas_result *canvas_freeze(struct canvas_work *w, json_t *sig,
				    const struct canvas_freeze *f)
{
	struct canvas_result *result;

	if (w->depth >= CANVAS_DEPTH_MAX) {
		err_set(w->err, ERR_LIMIT, "the canvas is too deep");
		return NULL;
	}
	w->depth++;
	result = freeze(w, sig, f);
	w->depth--;
	return result;
}

/* _clear_chord_option(): the tasks at the end no longer know which chord they are parts of. */
static void clear_chord_option(json_t *sig)
{
	json_t *tasks = canvas_members(sig);
	size_t count = json_array_size(tasks);

	json_object_del(canvas_own_options(sig), "chord");
	if (canvas_type(sig) == CANVAS_CHORD)
		clear_chord_option(canvas_body(sig));
	else if (canvas_type(sig) == CANVAS_CHAIN && count > 0)
		clear_chord_option(json_array_get(tasks, count - 1));
	else if (canvas_type(sig) == CANVAS_GROUP)
		for (size_t i = 0; i < count; i++)
			clear_chord_option(json_array_get(tasks, i));
}

void canvas_strip_chord_links(json_t *sig)
{
	json_t *tasks = canvas_members(sig);

	if (canvas_type(sig) == CANVAS_CHORD) {
		if (json_is_object(canvas_tasks(sig)))
			json_object_del(canvas_own_options(canvas_tasks(sig)), "chord");
		for (size_t i = 0; i < json_array_size(tasks); i++)
			clear_chord_option(json_array_get(tasks, i));
		canvas_strip_chord_links(canvas_body(sig));
	}
	for (size_t i = 0; i < json_array_size(tasks); i++)
		canvas_strip_chord_links(json_array_get(tasks, i));
}

static void write_id(struct str *out, const char *id)
{
	str_puts(out, "[[");
	pyjson_dump_str(out, id, strlen(id));
	str_puts(out, ", ");
}

static void write_members(struct str *out, const struct canvas_result *result)
{
	str_puts(out, "], ");
	if (!result->is_group) {
		str_puts(out, "null]");
		return;
	}
	str_addc(out, '[');
	for (size_t i = 0; i < result->count; i++) {
		if (i > 0)
			str_puts(out, ", ");
		canvas_write_result(out, result->members[i]);
	}
	str_puts(out, "]]");
}

/* The way to the first parent may be as long as a chain: no recursion along it. */
void canvas_write_result(struct str *out, const struct canvas_result *result)
{
	size_t count = 0;

	for (const struct canvas_result *node = result; node; node = node->parent) {
		write_id(out, node->id);
		count++;
	}
	const struct canvas_result **way = mem_calloc(count, sizeof(struct canvas_result *));

	for (const struct canvas_result *node = result; node; node = node->parent)
		way[--count] = node;
	str_puts(out, "null");
	for (const struct canvas_result *node = way[0];; node = way[++count]) {
		write_members(out, node);
		if (node == result)
			break;
	}
	free(way);
}

json_t *canvas_result_tuple(const struct canvas_result *result)
{
	auto_str text = STR_INIT(STR_MAX_DEFAULT);

	canvas_write_result(&text, result);
	return pyjson_load(text.data, text.len, NULL);
}

void canvas_add_child(struct canvas_work *w, const struct canvas_result *result)
{
	if (w->children.len > 0)
		str_puts(&w->children, ", ");
	canvas_write_result(&w->children, result);
}
