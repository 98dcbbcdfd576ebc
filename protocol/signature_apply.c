/* From a signature to a message. Mirrors celery/canvas.py, Signature._merge(), and
 * celery/app/amqp.py, as_task_v2(). */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"
#include "protocol/signature.h"

#define REPR_CHARS  1024
#define REPR_LEVELS 3
#define TEXT_BYTES  512 /* of ids and names, as a guess */

static void outgoing_init(struct outgoing *out)
{
	*out = (struct outgoing){0};
	task_message_init(&out->message);
}

void outgoing_clear(struct outgoing *out)
{
	task_message_clear(&out->message);
	free(out->queue);
	free(out->exchange);
	free(out->exchange_type);
	free(out->routing_key);
	free(out->route_name);
	outgoing_init(out);
}

/* Where a part of the body stands, while the body still grows. */
struct part {
	size_t start, end;
};

static struct span part_span(const struct part *part, const char *body)
{
	if (part->start == part->end)
		return (struct span){0};
	return (struct span){body + part->start, part->end - part->start};
}

static struct part add_value(struct str *body, const json_t *value)
{
	struct part part = {.start = body->len};

	if (value)
		pyjson_dump(body, value);
	part.end = body->len;
	return part;
}

static struct part add_args(struct str *body, const struct signature *s,
			    const struct signature_call *call)
{
	struct part part = {.start = body->len};
	size_t count = json_array_size(s->args);

	str_addc(body, '[');
	for (size_t i = 0; i < count; i++) {
		const json_t *arg = json_array_get(s->args, i);

		if (i > 0)
			str_puts(body, ", ");
		if (arg == call->mark)
			str_add(body, call->argument.data, call->argument.len);
		else
			pyjson_dump(body, arg);
	}
	str_addc(body, ']');
	part.end = body->len;
	return part;
}

/* A single signature stands for a list of one. */
static struct part add_list(struct str *body, const json_t *value)
{
	struct part part = {.start = body->len};

	if (json_is_object(value)) {
		str_addc(body, '[');
		pyjson_dump(body, value);
		str_addc(body, ']');
	} else if (value) {
		pyjson_dump(body, value);
	}
	part.end = body->len;
	return part;
}

static int fill_body(struct task_message *m, const struct signature *s,
		     const struct signature_call *call, struct err *err)
{
	struct part parts[6];
	struct span *const spans[6] = {&m->args,     &m->kwargs, &m->callbacks,
				       &m->errbacks, &m->chain,	 &m->chord};
	auto_str body = STR_INIT(call->max_bytes);

	parts[0] = add_args(&body, s, call);
	parts[1] = add_value(&body, json_is_object(s->kwargs) ? s->kwargs : NULL);
	parts[2] = add_list(&body, s->link);
	parts[3] = add_list(&body, s->link_error);
	parts[4] = add_value(&body, s->chain);
	parts[5] = add_value(&body, s->chord);
	if (body.is_full)
		return pyjson_fail(err, ERR_LIMIT, "the message of %s is too large", s->task);
	m->body_len = body.len;
	m->body = str_detach(&body);
	for (size_t i = 0; i < 6; i++)
		*spans[i] = part_span(&parts[i], m->body);
	if (!m->kwargs.data)
		m->kwargs = (struct span){"{}", 2};
	return 0;
}

static const char *repr_of(struct arena *texts, const char *given, struct span json, bool as_tuple)
{
	auto_str out = STR_INIT(8 * REPR_CHARS);
	json_t *value;

	if (given)
		return arena_strdup(texts, given);
	value = pyjson_load(json.data, json.len, NULL);
	if (value)
		pyjson_repr(&out, value, REPR_CHARS, REPR_LEVELS, as_tuple);
	json_decref(value);
	return arena_dup(texts, out.data, out.len);
}

static void fill_reprs(struct task_message *m, const struct signature *s,
		       const struct signature_call *call)
{
	const char *args = s->argsrepr, *kwargs = s->kwargsrepr;

	if (call->has_secrets && call->has_secrets(call->secrets_ctx, s->task)) {
		args = args ? args : "***";
		kwargs = kwargs ? kwargs : "***";
	}
	m->argsrepr = repr_of(&m->texts, args, m->args, true);
	m->kwargsrepr = repr_of(&m->texts, kwargs, m->kwargs, false);
}

static void fill_ids(struct task_message *m, const struct signature *s,
		     const struct signature_call *call)
{
	const char *root_id = s->root_id ? s->root_id : call->root_id,
		   *parent_id = s->parent_id ? s->parent_id : call->parent_id;

	arena_reserve(&m->texts, TEXT_BYTES);
	m->id = arena_strdup(&m->texts, s->task_id ? s->task_id : call->fresh_id);
	m->correlation_id = m->id;
	m->task = arena_strdup(&m->texts, s->task);
	m->root_id = arena_strdup(&m->texts, root_id ? root_id : m->id);
	m->parent_id = arena_strdup(&m->texts, parent_id);
	m->group = arena_strdup(&m->texts, s->group_id);
	m->group_index = s->group_index;
	m->shadow = arena_strdup(&m->texts, s->shadow);
	m->origin = arena_strdup(&m->texts, s->origin ? s->origin : call->origin);
	m->reply_to = arena_strdup(&m->texts, s->reply_to ? s->reply_to : "");
}

static void fill_options(struct task_message *m, const struct signature *s, int64_t now_us)
{
	m->eta_us = s->delay_us != 0 ? now_us + s->delay_us : s->eta_us;
	m->expires_us = s->expires_in_us != TIME_UNSET ? now_us + s->expires_in_us : s->expires_us;
	m->retries = s->retries;
	m->replaced_task_nesting = s->replaced_task_nesting;
	m->time_limit_s = s->time_limit_s;
	m->soft_time_limit_s = s->soft_time_limit_s;
	m->ignore_result = s->ignore_result;
	m->priority = s->priority;
}

static const char *text_of(struct arena *texts, const json_t *value)
{
	auto_str out = STR_INIT(STR_MAX_DEFAULT);

	pyjson_dump(&out, value);
	return arena_dup(texts, out.data, out.len);
}

/* Each name that stamped_headers lists is an option of its own. */
static void fill_headers(struct task_message *m, const struct signature *s)
{
	json_t *stamps = json_object();

	for (size_t i = 0; i < json_array_size(s->stamped_headers); i++) {
		const json_t *name = json_array_get(s->stamped_headers, i);
		const char *text = json_string_value(name);
		json_t *value = text ? json_object_get(s->options, text) : NULL;

		if (value)
			json_object_set_nocheck(stamps, text, value);
	}
	if (s->stamped_headers)
		m->stamped_headers = text_of(&m->texts, s->stamped_headers);
	if (json_object_size(stamps) > 0)
		m->stamps = text_of(&m->texts, stamps);
	json_decref(stamps);
	if (s->headers)
		m->custom_headers = text_of(&m->texts, s->headers);
}

int signature_apply(struct outgoing *out, const struct signature *s,
		    const struct signature_call *call, struct err *err)
{
	struct task_message *m = &out->message;

	outgoing_init(out);
	if (fill_body(m, s, call, err) < 0)
		return -1;
	fill_ids(m, s, call);
	fill_options(m, s, call->now_us);
	fill_headers(m, s);
	fill_reprs(m, s, call);
	out->queue = mem_strdup(s->queue);
	out->exchange = mem_strdup(s->exchange);
	out->exchange_type = mem_strdup(s->exchange_type);
	out->routing_key = mem_strdup(s->routing_key);
	out->delivery_mode = s->delivery_mode;
	return 0;
}
