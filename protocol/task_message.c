/*
 * The way in: which protocol, may it be read, does it decode.
 * Mirrors celery/worker/consumer/consumer.py, create_task_handler(), celery/worker/strategy.py,
 * default(), and kombu/serialization.py, loads().
 */
#include "protocol/task_message.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"
#include "protocol/task_message_impl.h"

enum intake task_fail(enum intake intake, struct err *err, enum err_code code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	pyjson_vfail(err, code, fmt, args);
	va_end(args);
	return intake;
}

void task_message_init(struct task_message *t)
{
	*t = (struct task_message){
		.protocol = 2,
		.eta_us = TIME_UNSET,
		.expires_us = TIME_UNSET,
		.group_index = -1,
		.ignore_result = TRI_NULL,
		.args = {"[]", 2},
		.kwargs = {"{}", 2},
		.priority = -1,
	};
}

void task_message_clear(struct task_message *t)
{
	arena_clear(&t->texts);
	free(t->body);
	task_message_init(t);
}

static enum intake fail_name(const struct value *name, struct err *err)
{
	if (name->kind == VALUE_TEXT)
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID,
				 "task name is empty or holds a NUL");
	return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID, "task name must be str, not %s",
			 task_type_name(name));
}

bool task_text_is_name(const struct value *value)
{
	return value->kind == VALUE_TEXT && value->text.len > 0 &&
	       !memchr(value->text.data, '\0', value->text.len);
}

static enum intake take_name(struct task_message *t, const struct task_fields *fields,
			     struct err *err)
{
	struct value name = task_field(fields, HEADER_TASK), id = task_field(fields, HEADER_ID);

	if (!task_text_is_name(&name))
		return fail_name(&name, err);
	task_texts_read(t, fields, name.text, id.kind == VALUE_TEXT ? id.text : (struct span){0});
	return INTAKE_OK;
}

/* Protocol 1: the name is in the body. */
static enum intake head_v1(struct task_message *t, struct message *m,
			   const struct task_message_options *options, struct err *err)
{
	enum content content = content_decode(m, options ? &options->content : NULL, err);
	struct task_fields fields = {.message = m};
	enum intake intake;
	json_t *body;
	struct err cause = {0};

	t->protocol = 1;
	if (content == CONTENT_REFUSED || content == CONTENT_FAILED)
		return INTAKE_DECODE_ERROR;
	if (content == CONTENT_RAW || m->body_len == 0)
		return task_fail(INTAKE_UNKNOWN_MESSAGE, err, ERR_INVALID,
				 "no task header, and the body is not a mapping");
	body = pyjson_load(m->body, m->body_len, &cause);
	if (!body)
		return task_fail(INTAKE_DECODE_ERROR, err, cause.code, "%s", cause.text);
	fields.body = body;
	if (!json_object_get(body, "task") || pyjson_tag(body, NULL) != PYJSON_PLAIN)
		intake = task_fail(INTAKE_UNKNOWN_MESSAGE, err, ERR_INVALID,
				   "no task header, and the body names no task");
	else
		intake = take_name(t, &fields, err);
	json_decref(body);
	return intake;
}

static bool has_task_header(const struct message *m)
{
	return message_header(m, HEADER_TASK)->kind != VALUE_ABSENT;
}

enum intake task_message_head(struct task_message *t, struct message *m,
			      const struct task_message_options *options, struct err *err)
{
	struct task_fields fields = {.message = m, .has_table = true};

	/* kombu decompresses before it looks at anything else. */
	if (content_unpack(m, options ? &options->content : NULL, err) < 0)
		return INTAKE_DECODE_ERROR;
	if (!has_task_header(m))
		return head_v1(t, m, options, err);
	t->protocol = 2;
	return take_name(t, &fields, err);
}

static void take_body(struct task_message *t, struct message *m)
{
	free(t->body);
	t->body = m->body ? m->body : mem_dup("", 0);
	t->body_len = m->body ? m->body_len : 0;
	m->body = NULL;
	m->body_len = 0;
}

static enum intake decode_content(struct message *m, const struct task_message_options *options,
				  struct err *err)
{
	const char *type = m->content_type && *m->content_type ? m->content_type : "none";

	switch (content_decode(m, options ? &options->content : NULL, err)) {
	case CONTENT_REFUSED:
		return has_task_header(m) ? INTAKE_REFUSED_CONTENT : INTAKE_DECODE_ERROR;
	case CONTENT_FAILED:
		return INTAKE_DECODE_ERROR;
	case CONTENT_RAW:
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID,
				 "content type %.120s: the body is not decoded", type);
	case CONTENT_JSON:
		break;
	}
	if (m->body_len == 0)
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID, "empty body");
	return INTAKE_OK;
}

static enum intake decode_v2(struct task_message *t, const struct message *m,
			     const struct task_message_options *options, struct err *err)
{
	struct task_fields fields = {.message = m, .has_table = true};
	struct err body_err = {0}, head_err = {0};
	enum intake body = task_body_read_v2(t, &body_err), head;

	/* Python decodes, reads the headers, and only then unpacks what it decoded. */
	if (body == INTAKE_DECODE_ERROR)
		return task_fail(body, err, body_err.code, "%s", body_err.text);
	head = task_fields_read(t, &fields, options, &head_err);
	if (body != INTAKE_OK && (head == INTAKE_OK || head == INTAKE_ETA_OVERFLOW))
		return task_fail(body, err, body_err.code, "%s", body_err.text);
	if (head != INTAKE_OK)
		return task_fail(head, err, head_err.code, "%s", head_err.text);
	return INTAKE_OK;
}

/* Protocol 1 and hybrids. In a hybrid the unknown headers come from the table alone: its body has
 * the known fields only. */
static enum intake decode_v1(struct task_message *t, const struct message *m, bool is_hybrid,
			     const struct task_message_options *options, struct err *err)
{
	struct err cause = {0};
	json_t *body = pyjson_load(t->body, t->body_len, &cause);
	struct task_fields fields = {.message = m, .has_table = is_hybrid, .body = body};
	enum intake intake;

	if (!body)
		return task_fail(INTAKE_DECODE_ERROR, err, cause.code, "%s", cause.text);
	t->protocol = 1;
	intake = task_body_read_v1(t, err);
	if (intake == INTAKE_OK)
		intake = task_fields_read(t, &fields, options, err);
	json_decref(body);
	return intake;
}

enum intake task_message_decode(struct task_message *t, struct message *m,
				const struct task_message_options *options, struct err *err)
{
	enum intake intake = decode_content(m, options, err);
	bool is_mapping = false;
	struct err cause = {0};

	t->priority = m->priority;
	t->is_redelivered = m->is_redelivered;
	take_body(t, m);
	if (intake != INTAKE_OK)
		return intake;
	if (!has_task_header(m))
		return decode_v1(t, m, false, options, err);
	if (task_body_has_key(t->body, t->body_len, "args", &is_mapping, &cause) == -1)
		return task_fail(INTAKE_DECODE_ERROR, err, cause.code, "%s", cause.text);
	if (is_mapping)
		return decode_v1(t, m, true, options, err);
	return decode_v2(t, m, options, err);
}
