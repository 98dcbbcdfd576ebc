/* Beginning a chord: celery/canvas.py, _chord.apply_async() and run(), and
 * celery/backends/base.py, fallback_chord_unlock(). */
#include <string.h>

#include "base/mem.h"
#include "protocol/canvas_impl.h"

#define UNLOCK_DELAY_S 1

size_t canvas_chord_size(const json_t *sig)
{
	json_t *tasks = canvas_members(sig);
	size_t size = 0;

	switch (canvas_type(sig)) {
	case CANVAS_TASK:
		return 1;
	case CANVAS_CHORD:
		return canvas_chord_size(canvas_body(sig));
	case CANVAS_GROUP:
		for (size_t i = 0; i < json_array_size(tasks); i++)
			size += canvas_chord_size(json_array_get(tasks, i));
		return size;
	case CANVAS_CHAIN:
		for (size_t i = json_array_size(tasks); i > 0 && size == 0; i--)
			size = canvas_chord_size(json_array_get(tasks, i - 1));
		break;
	}
	return size;
}

int canvas_begin_chord(struct canvas_work *w, const char *group_id, size_t size,
		       const struct canvas_result *header)
{
	struct canvas *c = w->c;
	struct canvas_chord chord = {
		.group_id = mem_strdup(group_id),
		.size = size,
		.before = c->count,
	};
	auto_str group = STR_INIT(w->options->max_bytes);

	if (header) {
		canvas_write_result(&group, header);
		for (size_t i = 0; i < header->count; i++)
			chord.keeps_group |= header->members[i]->is_group;
		chord.group = str_detach(&group);
	}
	c->chords = mem_realloc(c->chords, (c->chord_count + 1) * sizeof(*c->chords));
	c->chords[c->chord_count++] = chord;
	return group.is_full ? err_set(w->err, ERR_LIMIT, "the group is too large") : 0;
}

/* A chord as it is being begun. Owned, but for what is const. */
struct start {
	json_t *header; /* a group */
	json_t *body;
	json_t *args, *kwargs; /* of the header's tasks; may be NULL */
	json_t *options;       /* of the header */
	json_t *delay;	       /* countdown and eta of the header */
	json_t *task_id, *interval, *max_retries;
};

static void start_clear(struct start *s)
{
	json_decref(s->header);
	json_decref(s->body);
	json_decref(s->args);
	json_decref(s->kwargs);
	json_decref(s->options);
	json_decref(s->delay);
	json_decref(s->task_id);
	json_decref(s->interval);
	json_decref(s->max_retries);
}

/* The body's parent is the part that completes the chord. */
static json_t *body_options(const json_t *options)
{
	json_t *copy = canvas_copy(options);

	json_object_del(copy, "parent_id");
	return copy;
}

static void move_delay(json_t *from, json_t *delay, bool is_first)
{
	static const char *const names[] = {"countdown", "eta"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		json_t *value = canvas_option(from, names[i]);

		if (value && (is_first || !json_object_get(delay, names[i])))
			json_object_set_nocheck(delay, names[i], value);
		json_object_del(from, names[i]);
	}
}

static json_t *header_of(struct canvas_work *w, const json_t *sig)
{
	json_t *tasks = canvas_tasks(sig), *header;
	const char *gid = canvas_option_text(canvas_own_options(sig), "task_id");

	if (json_is_object(tasks))
		return canvas_clone(w, tasks, NULL, NULL, NULL);
	json_auto_t *list = json_copy(tasks);

	header = canvas_group_of(list);
	canvas_set_text(canvas_own_options(header), "task_id", gid ? gid : canvas_fresh_id(w));
	return header;
}

static json_t *header_args(const json_t *sig, const json_t *args)
{
	json_t *own = json_object_get(sig, "args"), *all;

	if (json_array_size(args) == 0 || json_is_true(json_object_get(sig, "immutable")))
		return json_incref(own);
	all = json_copy((json_t *)(uintptr_t)args);
	json_array_extend(all, own);
	return all;
}

/* _chord.apply_async(): what the call gives goes to the body, over what the signature holds. */
static int start_read(struct canvas_work *w, const json_t *sig, const json_t *args,
		      const json_t *kwargs, json_t *options, struct start *s)
{
	json_auto_t *callbacks = json_object(), *for_body = NULL;

	s->task_id = canvas_option_pop(options, "task_id");
	s->delay = json_object();
	move_delay(options, s->delay, true);
	for (size_t i = 0; i < 2; i++) {
		const char *name = i == 0 ? "link" : "link_error";

		if (json_object_get(options, name))
			json_object_set_nocheck(callbacks, name, json_object_get(options, name));
		json_object_del(options, name);
	}
	for_body = body_options(options);
	s->body = canvas_clone(w, canvas_body(sig), NULL, NULL, for_body);
	s->header = s->body ? header_of(w, sig) : NULL;
	if (!s->header)
		return -1;
	s->args = header_args(sig, args);
	s->kwargs = canvas_copy(json_object_get(json_object_get(sig, "kwargs"), "kwargs"));
	canvas_update(s->kwargs, kwargs);
	s->options = canvas_copy(canvas_own_options(sig));
	canvas_update(s->options, options);
	canvas_update(s->options, callbacks);
	return 0;
}

/* _chord.run(), up to the body that has an id. */
static int start_body(struct canvas_work *w, struct start *s, struct canvas_freeze *f,
		      struct canvas_result **ret)
{
	json_auto_t *own_id = canvas_option_pop(s->options, "task_id"), *body = NULL;
	json_auto_t *for_body = NULL;

	move_delay(s->options, s->delay, false);
	if (!s->task_id)
		s->task_id = json_incref(own_id);
	s->interval = canvas_option_pop(s->options, "interval");
	s->max_retries = canvas_option_pop(s->options, "max_retries");
	body = canvas_add_body_callbacks(w, s->body, s->options);
	if (!body)
		return -1;
	for_body = body_options(s->options);
	canvas_update(canvas_own_options(body), for_body);
	json_decref(s->body);
	s->body = json_incref(body);
	if (canvas_type(body) == CANVAS_CHAIN && canvas_unroll_chords(w, body) < 0)
		return -1;
	f->id = json_string_value(s->task_id);
	*ret = canvas_freeze(w, body, f);
	if (!*ret)
		return -1;
	canvas_strip_chord_links(body);
	json_object_del(s->options, "chain");
	json_object_del(s->options, "chord");
	return 0;
}

static void copy_option(json_t *to, const json_t *from, const char *name)
{
	if (canvas_option(from, name))
		json_object_set_nocheck(to, name, canvas_option(from, name));
}

static json_t *unlock_options(const json_t *body)
{
	static const char *const names[] = {"queue", "exchange", "exchange_type", "routing_key",
					    "headers"};
	const json_t *from = canvas_own_options(body);
	json_t *options = json_object();

	json_object_set_new_nocheck(options, "countdown", json_integer(UNLOCK_DELAY_S));
	copy_option(options, from, "priority");
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		copy_option(options, from, names[i]);
	json_object_set_new_nocheck(options, "ignore_result", json_true());
	return options;
}

static json_t *unlock_kwargs(const struct start *s, const struct canvas_result *header)
{
	json_t *kwargs = json_object(), *results = json_array(),
	       *type = canvas_option(canvas_own_options(s->body), "exchange_type");

	json_object_set_new_nocheck(kwargs, "interval",
				    s->interval ? json_incref(s->interval) : json_null());
	json_object_set_new_nocheck(kwargs, "max_retries",
				    s->max_retries ? json_incref(s->max_retries) : json_null());
	for (size_t i = 0; i < header->count; i++)
		json_array_append_new(results, canvas_result_tuple(header->members[i]));
	json_object_set_new_nocheck(kwargs, "result", results);
	if (type)
		json_object_set_nocheck(kwargs, "_chord_unlock_exchange_type", type);
	return kwargs;
}

/* A task that looks again and again whether the parts have ended. It is routed like the body. */
static int send_unlock(struct canvas_work *w, const struct start *s,
		       const struct canvas_result *header)
{
	json_t *args = json_array();
	json_auto_t *sig = NULL, *no_options = json_object();
	struct canvas_result *result = NULL;
	struct outgoing *sent;

	json_array_append_new(args, json_string(header->id));
	json_array_append(args, s->body);
	sig = canvas_signature(CANVAS_TASK, "celery.chord_unlock", args, unlock_kwargs(s, header),
			       unlock_options(s->body));
	if (canvas_call(w, sig, NULL, NULL, no_options, &result) < 0)
		return -1;
	sent = &w->c->all[w->c->count - 1];
	sent->route_name = mem_strdup(json_string_value(json_object_get(s->body, "task")));
	return 0;
}

static int save_chord(struct canvas_work *w, const struct start *s,
		      const struct canvas_result *header)
{
	switch (w->options->chords) {
	case CHORDS_NONE:
		return err_set(w->err, ERR_UNSUPPORTED, CANVAS_NO_CHORDS);
	case CHORDS_COUNTED: /* with the last part, when their number is known */
		return 0;
	case CHORDS_SAVED:
		return canvas_begin_chord(w, header->id, header->count, header);
	case CHORDS_POLLED:
		break;
	}
	return send_unlock(w, s, header);
}

/* Without parts there is nothing to wait for. */
static int call_body(struct canvas_work *w, const struct start *s)
{
	json_auto_t *args = json_array(), *options = json_object();
	struct canvas_result *result = NULL;

	json_array_append_new(args, json_array());
	return canvas_call(w, s->body, args, NULL, options, &result);
}

static int start_header(struct canvas_work *w, struct start *s, const struct canvas_freeze *f,
			struct canvas_result **ret)
{
	json_t *options = canvas_own_options(s->header);
	struct canvas_freeze members = {
		.group_id = f->group_id,
		.root_id = f->root_id,
		.chord = s->body,
		.group_index = -1,
	};
	struct canvas_result *header;

	canvas_set_text(options, "task_id", f->group_id);
	header = canvas_freeze_group(w, s->header, &members);
	if (!header)
		return -1;
	*ret = header;
	if (header->count == 0)
		return call_body(w, s);
	if (save_chord(w, s, header) < 0)
		return -1;
	canvas_update(s->options, s->delay);
	json_object_set_new_nocheck(s->options, "task_id", json_string(f->group_id));
	return canvas_call_group(w, s->header, s->args, s->kwargs, s->options, header, ret);
}

static int start_run(struct canvas_work *w, struct start *s, struct canvas_result **ret)
{
	const char *gid = canvas_option_text(canvas_own_options(s->header), "task_id");
	const char *root_id = canvas_option_text(canvas_own_options(s->body), "root_id");
	struct canvas_result *header = NULL, *result = NULL;
	struct canvas_freeze f = {
		.group_id = arena_strdup(&w->memory, gid ? gid : canvas_fresh_id(w)),
		.root_id = arena_strdup(&w->memory, root_id),
		.group_index = -1,
	};

	if (start_body(w, s, &f, &result) < 0 || start_header(w, s, &f, &header) < 0)
		return -1;
	result->parent = header;
	*ret = result;
	return 0;
}

int canvas_call_chord(struct canvas_work *w, const json_t *sig, const json_t *args,
		      const json_t *kwargs, json_t *options, struct canvas_result **ret)
{
	struct start s = {0};
	int status = start_read(w, sig, args, kwargs, options, &s);

	if (status == 0)
		status = start_run(w, &s, ret);
	start_clear(&s);
	return status;
}
