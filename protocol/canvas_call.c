/* Calling a signature: celery/canvas.py, apply_async() of tasks, chains and groups, down to the
 * messages. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/canvas_impl.h"
#include "protocol/pyjson_impl.h"

/* Only the options of a call with None are "not given"; stored ones are kept. */
static void drop_nulls(json_t *options)
{
	void *next;
	const char *name;
	json_t *value;

	json_object_foreach_safe (options, next, name, value)
		if (json_is_null(value))
			json_object_del(options, name);
}

static struct signature_call call_of(struct canvas_work *w)
{
	return (struct signature_call){
		.argument = w->argument,
		.mark = w->mark,
		.parent_id = w->parent_id,
		.root_id = w->root_id,
		.origin = w->options->origin,
		.now_us = w->options->now_us,
		.max_bytes = w->options->max_bytes,
		.has_secrets = w->options->has_secrets,
		.secrets_ctx = w->options->secrets_ctx,
	};
}

/* As app.send_task() does for a task that is published inside another. */
static void inherit_priority(struct canvas_work *w, json_t *options)
{
	if (w->priority >= 0 && w->parent_id && !json_object_get(options, "priority") &&
	    (!canvas_option(options, "root_id") || !canvas_option(options, "parent_id")))
		json_object_set_new_nocheck(options, "priority", json_integer(w->priority));
}

static int send(struct canvas_work *w, const json_t *sig, struct outgoing *out)
{
	struct signature_call call = call_of(w);
	struct signature s;

	if (signature_read(&s, sig, w->err) < 0)
		return -1;
	if (!s.task_id)
		call.fresh_id = canvas_fresh_id(w);
	return signature_apply(out, &s, &call, w->err);
}

static int add_message(struct canvas_work *w, const json_t *sig)
{
	struct canvas *c = w->c;

	if (c->count >= CANVAS_MESSAGES_MAX)
		return err_set(w->err, ERR_LIMIT, "the canvas has too many messages");
	if ((c->count & (c->count - 1)) == 0)
		c->all = mem_realloc(c->all, 2 * (c->count + 1) * sizeof(*c->all));
	if (send(w, sig, &c->all[c->count]) < 0)
		return -1;
	w->bytes += c->all[c->count++].message.body_len;
	if (w->bytes / CANVAS_BYTES_TIMES > w->options->max_bytes)
		return err_set(w->err, ERR_LIMIT, "the messages of the canvas are too large");
	return 0;
}

static int call_task(struct canvas_work *w, json_t *sig, const json_t *args, const json_t *kwargs,
		     json_t *options, struct canvas_result **ret)
{
	struct canvas_result *result = arena_alloc(&w->memory, sizeof(*result));

	drop_nulls(options);
	canvas_merge(sig, args, kwargs, options);
	inherit_priority(w, canvas_own_options(sig));
	if (add_message(w, sig) < 0)
		return -1;
	*result = (struct canvas_result){
		.id = arena_strdup(&w->memory, w->c->all[w->c->count - 1].message.id),
	};
	if (!json_is_false(json_object_get(canvas_own_options(sig), "add_to_parent")))
		canvas_add_child(w, result);
	*ret = result;
	return 0;
}

/* What _chain.run() takes for itself, out of the options. */
static int prepare_chain(struct canvas_work *w, const json_t *sig, const json_t *args,
			 const json_t *kwargs, json_t *options, struct canvas_steps *steps)
{
	json_auto_t *task_id = canvas_option_pop(options, "task_id");
	json_auto_t *group_id = canvas_option_pop(options, "group_id");
	json_auto_t *group_index = canvas_option_pop(options, "group_index");
	json_auto_t *root_id = canvas_option_pop(options, "root_id");
	json_auto_t *chord = canvas_option_pop(options, "chord");
	json_auto_t *link_error = canvas_option_pop(options, "link_error");
	const struct canvas_prepare p = {
		.args = args,
		.kwargs = kwargs,
		.link_error = link_error,
		.last = {.id = json_string_value(task_id),
			 .group_id = json_string_value(group_id),
			 .root_id = json_string_value(root_id),
			 .chord = chord,
			 .group_index = json_is_integer(group_index)
						? json_integer_value(group_index)
						: -1},
		.clones = true,
	};

	json_object_del(options, "parent_id");
	return canvas_prepare_steps(w, canvas_tasks(sig), &p, steps);
}

static int call_first(struct canvas_work *w, struct canvas_steps *steps, json_t *options,
		      struct canvas_result **ret)
{
	size_t last = json_array_size(steps->tasks) - 1;
	json_auto_t *first = json_incref(json_array_get(steps->tasks, last));
	json_auto_t *chain = json_array();

	json_array_remove(steps->tasks, last);
	if (json_is_array(json_object_get(options, "chain")))
		json_array_extend(chain, json_object_get(options, "chain"));
	json_array_extend(chain, steps->tasks);
	json_object_set_nocheck(options, "chain", chain);
	if (canvas_call(w, first, NULL, NULL, options, ret) < 0)
		return -1;
	if (last > 0)
		*ret = steps->results[0];
	return 0;
}

static int call_chain(struct canvas_work *w, const json_t *sig, const json_t *args,
		      const json_t *kwargs, const json_t *more, struct canvas_result **ret)
{
	json_auto_t *options = canvas_copy(canvas_own_options(sig)), *link = NULL;
	struct canvas_steps steps;
	int status = 0;

	canvas_update(options, more);
	link = canvas_option_pop(options, "link");
	if (prepare_chain(w, sig, args, kwargs, options, &steps) < 0)
		return -1;
	if (steps.count > 0) {
		if (link)
			canvas_extend_option(json_array_get(steps.tasks, 0), "link", link);
		status = call_first(w, &steps, options, ret);
	}
	canvas_steps_clear(&steps);
	return status;
}

struct member {
	json_t *sig; /* owned */
	struct canvas_result *result;
};
struct members {
	struct member *all;
	size_t count;
};

static void members_clear(struct members *m)
{
	for (size_t i = 0; i < m->count; i++)
		json_decref(m->all[i].sig);
	free(m->all);
}

/* group._prepared(): the members of a nested group count from 0 again. */
static int add_members(struct canvas_work *w, const json_t *tasks, const struct canvas_freeze *f,
		       struct members *m)
{
	for (size_t i = 0; i < json_array_size(tasks); i++) {
		json_auto_t *sig = canvas_clone(w, json_array_get(tasks, i), NULL, NULL, NULL);
		struct canvas_freeze member = *f;

		if (!sig)
			return -1;
		if (canvas_type(sig) == CANVAS_GROUP) {
			if (add_members(w, canvas_tasks(sig), f, m) < 0)
				return -1;
			continue;
		}
		if (canvas_type(sig) == CANVAS_CHAIN && json_array_size(canvas_tasks(sig)) == 0)
			continue;
		member.group_index = (int64_t)i;
		if ((m->count & (m->count - 1)) == 0)
			m->all = mem_realloc(m->all, 2 * (m->count + 1) * sizeof(*m->all));
		m->all[m->count++] = (struct member){.sig = json_incref(sig)};
		m->all[m->count - 1].result = canvas_freeze(w, sig, &member);
		if (!m->all[m->count - 1].result)
			return -1;
	}
	return 0;
}

/* A group of which the members report to another one has nothing to count. */
static bool reports_to(const struct member *m, const char *group_id)
{
	const char *own = canvas_option_text(canvas_own_options(m->sig), "group_id");

	return !own || canvas_type(m->sig) != CANVAS_TASK || strcmp(own, group_id) == 0;
}

static int call_members(struct canvas_work *w, const struct members *m, const json_t *args,
			const json_t *kwargs, json_t *options, const struct canvas_result *header)
{
	json_auto_t *group_id = json_incref(json_object_get(options, "group_id"));
	json_auto_t *chord = canvas_option_pop(options, "chord");
	size_t size = 0;

	json_object_del(options, "group_index");
	json_object_del(options, "add_to_parent");
	for (size_t i = 0; i < m->count; i++) {
		const struct member *one = &m->all[i];
		json_auto_t *own = json_object();
		json_t *to = chord ? chord : canvas_option(canvas_own_options(one->sig), "chord");
		struct canvas_result *result = NULL;

		size += canvas_chord_size(one->sig);
		if (to && i + 1 == m->count && w->options->chords == CHORDS_COUNTED &&
		    reports_to(one, json_string_value(group_id)) &&
		    canvas_begin_chord(w, json_string_value(group_id), size, header) < 0)
			return -1;
		json_object_set_new_nocheck(own, "add_to_parent", json_false());
		json_object_set_nocheck(own, "chord", to ? to : json_null());
		canvas_update(own, options);
		if (canvas_call(w, one->sig, args, kwargs, own, &result) < 0)
			return -1;
	}
	return 0;
}

/* group._freeze_gid() */
static json_t *group_options(struct canvas_work *w, const json_t *sig, const json_t *more)
{
	json_t *options = canvas_copy(canvas_own_options(sig));
	json_auto_t *group_id = json_incref(json_object_get(options, "group_id"));
	json_auto_t *stamps = json_incref(json_object_get(options, "stamped_headers"));
	json_auto_t *gid = NULL;

	canvas_update(options, more);
	if (group_id)
		json_object_set_nocheck(options, "group_id", group_id);
	if (stamps)
		json_object_set_nocheck(options, "stamped_headers", stamps);
	gid = canvas_option_pop(options, "task_id");
	if (json_string_length(gid) > 0)
		json_object_set_nocheck(options, "group_id", gid);
	else
		canvas_set_text(options, "group_id", canvas_fresh_id(w));
	return options;
}

static struct canvas_result *result_of_group(struct canvas_work *w, const char *group_id,
					     const struct members *m)
{
	struct canvas_result *group = arena_alloc(&w->memory, sizeof(*group));

	*group = (struct canvas_result){
		.id = arena_strdup(&w->memory, group_id),
		.members = arena_alloc(&w->memory, (m->count + 1) * sizeof(struct canvas_result *)),
		.count = m->count,
		.is_group = true,
	};
	for (size_t i = 0; i < m->count; i++)
		group->members[i] = m->all[i].result;
	/* A group of a single chain that ends in a group. */
	return m->count == 1 && group->members[0]->is_group ? group->members[0] : group;
}

static int call_filled_group(struct canvas_work *w, const json_t *sig, const json_t *args,
			     const json_t *kwargs, const json_t *more,
			     const struct canvas_result *header, struct canvas_result **ret)
{
	json_auto_t *options = group_options(w, sig, more);
	struct members m = {0};
	const struct canvas_freeze f = {
		.group_id = canvas_option_text(options, "group_id"),
		.root_id = canvas_option_text(options, "root_id"),
		.group_index = -1,
	};
	int status = add_members(w, canvas_tasks(sig), &f, &m);

	if (status == 0) {
		*ret = result_of_group(w, f.group_id, &m);
		status = call_members(w, &m, args, kwargs, options, header);
	}
	members_clear(&m);
	return status;
}

int canvas_call_group(struct canvas_work *w, const json_t *sig, const json_t *args,
		      const json_t *kwargs, json_t *options, const struct canvas_result *header,
		      struct canvas_result **ret)
{
	json_auto_t *trail = canvas_option_pop(options, "add_to_parent");
	json_auto_t *link = canvas_option_pop(options, "link");
	json_auto_t *link_error = canvas_option_pop(options, "link_error"), *frozen = NULL;
	const struct canvas_freeze as_is = {.group_index = -1};

	if (link || link_error)
		return err_set(w->err, ERR_INVALID, "a group cannot have a link");
	if (json_array_size(canvas_tasks(sig)) == 0) {
		frozen = canvas_clone(w, sig, NULL, NULL, NULL);
		*ret = frozen ? canvas_freeze_group(w, frozen, &as_is) : NULL;
		return *ret ? 0 : -1;
	}
	if (call_filled_group(w, sig, args, kwargs, options, header, ret) < 0)
		return -1;
	if (!json_is_false(trail))
		canvas_add_child(w, *ret);
	return 0;
}

int canvas_call(struct canvas_work *w, json_t *sig, const json_t *args, const json_t *kwargs,
		json_t *options, struct canvas_result **ret)
{
	int status = -1;

	if (w->depth >= CANVAS_DEPTH_MAX)
		return err_set(w->err, ERR_LIMIT, "the canvas is too deep");
	w->depth++;
	switch (canvas_type(sig)) {
	case CANVAS_TASK:
		status = call_task(w, sig, args, kwargs, options, ret);
		break;
	case CANVAS_CHAIN:
		status = call_chain(w, sig, args, kwargs, options, ret);
		break;
	case CANVAS_GROUP:
		status = canvas_call_group(w, sig, args, kwargs, options, NULL, ret);
		break;
	case CANVAS_CHORD:
		status = canvas_call_chord(w, sig, args, kwargs, options, ret);
		break;
	}
	w->depth--;
	return status;
}
