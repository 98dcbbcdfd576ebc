#include "protocol/canvas.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"

#define STEPS_MAX 100000 /* of a chain; the size of messages is bounded besides */

static bool is_filled(struct span json)
{
	return json.data && json.len > 2 && pyjson_kind_of(json) != PYJSON_NULL;
}

bool canvas_is_empty(const struct task_message *t)
{
	return !is_filled(t->callbacks) && !is_filled(t->errbacks) && !is_filled(t->chain) &&
	       !is_filled(t->chord);
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

/* A list of signatures; NULL when there is none. A single one stands for a list of one. */
static json_t *list_load(struct span json)
{
	json_t *value = is_filled(json) ? pyjson_load(json.data, json.len, NULL) : NULL;
	json_t *list;

	if (!json_is_object(value))
		return value;
	list = json_array();
	json_array_append_new(list, value);
	return list;
}

/* Checking */

static int check_one(const json_t *value, const char *part, struct err *err)
{
	struct signature s;

	if (signature_read(&s, value, err) < 0)
		return -1;
	if (s.subtask_type)
		return pyjson_fail(err, ERR_UNSUPPORTED, "%s holds a %s", part, s.subtask_type);
	if (s.chord)
		return pyjson_fail(err, ERR_UNSUPPORTED, "%s holds a part of a chord", part);
	return 0;
}

static int check_list(struct span json, const char *part, struct err *err)
{
	json_t *list = list_load(json);
	size_t count = json_array_size(list);
	int result = 0;

	if (!list)
		return is_filled(json) ? err_set(err, ERR_INVALID, "%s cannot be read", part) : 0;
	if (!json_is_array(list))
		result = err_set(err, ERR_INVALID, "%s is not a list", part);
	if (count > STEPS_MAX)
		result = err_set(err, ERR_LIMIT, "%s holds %zu signatures", part, count);
	for (size_t i = 0; i < count && result == 0; i++)
		result = check_one(json_array_get(list, i), part, err);
	json_decref(list);
	return result;
}

int canvas_check(const struct task_message *t, struct err *err)
{
	if (is_filled(t->chord))
		return err_set(err, ERR_UNSUPPORTED, "it is a part of a chord");
	if (check_list(t->callbacks, "its link", err) < 0 ||
	    check_list(t->errbacks, "its link_error", err) < 0)
		return -1;
	return check_list(t->chain, "its chain", err);
}

/* Sending */

static struct signature_call call_of(const struct task_message *t,
				     const struct canvas_options *options)
{
	return (struct signature_call){
		.parent_id = t->id,
		.root_id = t->root_id && *t->root_id ? t->root_id : t->id,
		.group_index = -1,
		.origin = options->origin,
		.now_us = options->now_us,
		.max_bytes = options->max_bytes,
		.has_secrets = options->has_secrets,
		.secrets_ctx = options->secrets_ctx,
	};
}

static int add_message(struct canvas *c, const json_t *value, const struct signature_call *call,
		       struct err *err)
{
	struct signature s;

	if (signature_read(&s, value, err) < 0)
		return -1;
	c->all = mem_realloc(c->all, (c->count + 1) * sizeof(*c->all));
	return signature_apply(&c->all[c->count++], &s, call, err);
}

/* All as members of a new group. */
static int add_group(struct canvas *c, const json_t *list, struct signature_call call,
		     char group_id[37], struct err *err)
{
	uuid4(group_id);
	call.group_id = group_id;
	for (size_t i = 0; i < json_array_size(list); i++) {
		call.group_index = (int64_t)i;
		if (add_message(c, json_array_get(list, i), &call, err) < 0)
			return -1;
	}
	return 0;
}

static void add_id(struct str *out, const char *id)
{
	str_puts(out, "[[");
	pyjson_dump_str(out, id, strlen(id));
	str_puts(out, ", null], ");
}

static void add_child(struct str *out, const struct outgoing *child)
{
	add_id(out, child->message.id);
	str_puts(out, "null]");
}

static int add_links(struct canvas *c, const json_t *links, struct signature_call *call,
		     struct str *children, struct err *err)
{
	char group_id[37];

	if (json_array_size(links) == 0)
		return 0;
	if (json_array_size(links) == 1) {
		if (add_message(c, json_array_get(links, 0), call, err) < 0)
			return -1;
		add_child(children, &c->all[0]);
		return 0;
	}
	if (add_group(c, links, *call, group_id, err) < 0)
		return -1;
	add_id(children, group_id);
	for (size_t i = 0; i < c->count; i++) {
		str_puts(children, i == 0 ? "[" : ", ");
		add_child(children, &c->all[i]);
	}
	str_puts(children, "]]");
	return 0;
}

/* The chain stands in reverse: its last element comes next. */
static int add_step(struct canvas *c, const json_t *chain, struct signature_call *call,
		    struct str *children, struct err *err)
{
	size_t count = json_array_size(chain);

	if (count == 0)
		return 0;
	call->chain = chain;
	call->chain_count = count - 1;
	if (children->len > 1)
		str_puts(children, ", ");
	if (add_message(c, json_array_get(chain, count - 1), call, err) < 0)
		return -1;
	add_child(children, &c->all[c->count - 1]);
	return 0;
}

int canvas_after_success(struct canvas *c, const struct task_message *t, struct span result,
			 const struct canvas_options *options, struct err *err)
{
	json_t *links = list_load(t->callbacks), *chain = list_load(t->chain);
	struct signature_call call = call_of(t, options);
	struct str children = STR_INIT(STR_MAX_DEFAULT);
	int status;

	call.argument = result;
	str_addc(&children, '[');
	status = add_links(c, links, &call, &children, err);
	if (status == 0)
		status = add_step(c, chain, &call, &children, err);
	str_addc(&children, ']');
	if (status == 0 && c->count > 0)
		c->children = str_detach(&children);
	else
		str_clear(&children);
	json_decref(links);
	json_decref(chain);
	if (status < 0)
		canvas_clear(c);
	return status;
}

int canvas_after_failure(struct canvas *c, const struct task_message *t,
			 const struct canvas_options *options, struct err *err)
{
	json_t *errbacks = list_load(t->errbacks);
	struct signature_call call = call_of(t, options);
	auto_str id = STR_INIT(STR_MAX_DEFAULT);
	char group_id[37];
	int status;

	pyjson_dump_str(&id, t->id, strlen(t->id));
	call.argument = (struct span){id.data, id.len};
	status = add_group(c, errbacks, call, group_id, err);
	json_decref(errbacks);
	if (status < 0)
		canvas_clear(c);
	return status;
}

static int apply(struct canvas *c, const json_t *signature, const struct signature_call *call,
		 struct err *err)
{
	auto_str children = STR_INIT(STR_MAX_DEFAULT);

	if (check_one(signature, "it", err) < 0 || add_message(c, signature, call, err) < 0) {
		canvas_clear(c);
		return -1;
	}
	str_addc(&children, '[');
	add_child(&children, &c->all[c->count - 1]);
	str_addc(&children, ']');
	free(c->children);
	c->children = str_detach(&children);
	return 0;
}

int canvas_apply(struct canvas *c, const json_t *signature, const struct canvas_call *call,
		 const struct canvas_options *options, struct err *err)
{
	struct signature_call how = {
		.argument = call->argument,
		.parent_id = call->parent_id,
		.root_id = call->root_id,
		.group_index = -1,
		.origin = options->origin,
		.now_us = options->now_us,
		.max_bytes = options->max_bytes,
		.has_secrets = options->has_secrets,
		.secrets_ctx = options->secrets_ctx,
	};

	return apply(c, signature, &how, err);
}

int canvas_chord_body(struct canvas *c, const struct task_message *t, struct span body,
		      struct span results, const struct canvas_options *options, struct err *err)
{
	json_t *signature = pyjson_load(body.data, body.len, err);
	struct signature_call how = call_of(t, options);
	int status;

	how.argument = results;
	status = signature ? apply(c, signature, &how, err) : -1;
	json_decref(signature);
	return status;
}

/* A chord is finished by its body, so that is what somebody waits for. */
static void step_left(const json_t *value, canvas_step_fn *step, void *ctx)
{
	struct signature s;
	const json_t *body;

	if (signature_read(&s, value, NULL) < 0)
		return;
	if (s.task_id)
		step(ctx, &s);
	body = s.subtask_type && strcmp(s.subtask_type, "chord") == 0
		       ? json_object_get(s.kwargs, "body")
		       : NULL;
	if (json_is_object(body) && signature_read(&s, body, NULL) == 0 && s.task_id)
		step(ctx, &s);
}

void canvas_each_step_left(const struct task_message *t, canvas_step_fn *step, void *ctx)
{
	json_t *chain = list_load(t->chain);

	for (size_t i = 0; i < json_array_size(chain); i++)
		step_left(json_array_get(chain, i), step, ctx);
	json_decref(chain);
}
