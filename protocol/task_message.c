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

static const struct {
	const char *name, *type;
} serializers[] = {
	{"json", "application/json"},	      {"yaml", "application/x-yaml"},
	{"msgpack", "application/x-msgpack"}, {"pickle", "application/x-python-serialize"},
	{"auth", "application/data"},
};
#define SERIALIZER_COUNT (sizeof(serializers) / sizeof(*serializers))

enum content {
	CONTENT_JSON,
	CONTENT_RAW,	    /* never decoded: the payload stays text */
	CONTENT_REFUSED,    /* not in accept_content */
	CONTENT_UNREADABLE, /* accepted, but this worker has no decoder */
};

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

/* Entries are names or mime types, as kombu's prepare_accept_content() takes them. */
static bool is_accepted(const char *type, const struct task_message_options *options)
{
	static const char *const only_json[] = {"json", NULL};
	const char *const *accept =
		options && options->accept_content ? options->accept_content : only_json;

	for (; *accept; accept++) {
		if (strcmp(*accept, type) == 0)
			return true;
		for (size_t i = 0; i < SERIALIZER_COUNT; i++)
			if (strcmp(*accept, serializers[i].name) == 0 &&
			    strcmp(type, serializers[i].type) == 0)
				return true;
	}
	return false;
}

static enum content content_of(const struct message *m, const struct task_message_options *options)
{
	const char *type = m->content_type && *m->content_type ? m->content_type : NULL;

	if (!type || strcmp(type, "application/data") == 0 || strcmp(type, "application/text") == 0)
		return CONTENT_RAW;
	if (!is_accepted(type, options))
		return CONTENT_REFUSED;
	if (strcmp(type, "application/json") == 0)
		return CONTENT_JSON;
	for (size_t i = 0; i < SERIALIZER_COUNT; i++)
		if (strcmp(type, serializers[i].type) == 0)
			return CONTENT_UNREADABLE;
	return CONTENT_RAW;
}

static enum intake fail_refused(enum intake intake, const struct message *m, struct err *err)
{
	const char *name = m->content_type;

	for (size_t i = 0; i < SERIALIZER_COUNT; i++)
		if (strcmp(m->content_type, serializers[i].type) == 0)
			name = serializers[i].name;
	return task_fail(intake, err, ERR_REFUSED,
			 "Refusing to deserialize untrusted content of type %.120s (%.120s)", name,
			 m->content_type);
}

static enum intake fail_unreadable(const struct message *m, struct err *err)
{
	return task_fail(INTAKE_DECODE_ERROR, err, ERR_UNSUPPORTED,
			 "content type %.120s is in accept_content, but this worker reads "
			 "application/json only",
			 m->content_type);
}

static bool is_ascii(const struct message *m)
{
	for (size_t i = 0; i < m->body_len; i++)
		if ((unsigned char)m->body[i] >= 0x80)
			return false;
	return true;
}

static void latin1_to_utf8(const char *data, size_t len, struct str *out)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];

		if (c >= 0x80)
			str_addc(out, (char)(0xc0 | c >> 6));
		str_addc(out, c >= 0x80 ? (char)(0x80 | (c & 0x3f)) : (char)c);
	}
}

/*
 * kombu's JSON decoder reads bytes as UTF-8 whatever the message says, but py-amqp has made text of
 * the bytes before, by content_encoding, wherever Python knows that encoding. Only ASCII is the
 * same in all of them. Fills `out` when the body had to be converted.
 */
static int body_to_utf8(const struct message *m, struct str *out, struct err *err)
{
	static const char *const as_utf8[] = {"utf-8",	  "utf8",  "utf_8",	 "u8",
					      "us-ascii", "ascii", "ascii-8bit", "binary"};
	static const char *const latin1[] = {"latin-1",	  "latin1",  "iso-8859-1",
					     "iso8859-1", "latin_1", "l1"};
	const char *encoding = m->content_encoding;

	if (!encoding || !*encoding || strcmp(encoding, "utf-8") == 0 || is_ascii(m))
		return 0;
	for (size_t i = 0; i < sizeof(as_utf8) / sizeof(*as_utf8); i++)
		if (strcasecmp(encoding, as_utf8[i]) == 0)
			return 0;
	for (size_t i = 0; i < sizeof(latin1) / sizeof(*latin1); i++)
		if (strcasecmp(encoding, latin1[i]) == 0) {
			latin1_to_utf8(m->body, m->body_len, out);
			return 0;
		}
	task_fail(INTAKE_DECODE_ERROR, err, ERR_UNSUPPORTED,
		  "unsupported content encoding '%.60s': this worker reads utf-8 and latin-1",
		  encoding);
	return -1;
}

/* kombu decompresses before it looks at anything else. */
static enum intake check_compression(const struct message *m, struct err *err)
{
	const struct value *value = message_header(m, HEADER_COMPRESSION);
	struct span name = {"?", 1};

	if (value->kind == VALUE_TEXT)
		name = (struct span){value->text.data, strnlen(value->text.data, value->text.len)};
	if (value->kind == VALUE_ABSENT || value->kind == VALUE_NULL ||
	    (value->kind == VALUE_BOOL && !value->truth) || name.len == 0)
		return INTAKE_OK;
	return task_fail(INTAKE_DECODE_ERROR, err, ERR_UNSUPPORTED,
			 "unsupported compression '%.*s': this worker reads uncompressed "
			 "messages only, unset task_compression where they are sent",
			 name.len < 120 ? (int)name.len : 120, name.data);
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
static enum intake head_v1(struct task_message *t, const struct message *m,
			   const struct task_message_options *options, struct err *err)
{
	enum content content = content_of(m, options);
	struct task_fields fields = {.message = m};
	enum intake intake;
	json_t *body;
	struct err cause = {0};
	auto_str utf8 = {.max = STR_MAX_DEFAULT};

	t->protocol = 1;
	if (content == CONTENT_REFUSED)
		return fail_refused(INTAKE_DECODE_ERROR, m, err);
	if (content == CONTENT_UNREADABLE)
		return fail_unreadable(m, err);
	if (content == CONTENT_RAW || m->body_len == 0)
		return task_fail(INTAKE_UNKNOWN_MESSAGE, err, ERR_INVALID,
				 "no task header, and the body is not a mapping");
	if (body_to_utf8(m, &utf8, err) == -1)
		return INTAKE_DECODE_ERROR;
	body = utf8.len ? pyjson_load(utf8.data, utf8.len, &cause)
			: pyjson_load(m->body, m->body_len, &cause);
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

enum intake task_message_head(struct task_message *t, const struct message *m,
			      const struct task_message_options *options, struct err *err)
{
	struct task_fields fields = {.message = m, .has_table = true};
	enum intake intake = check_compression(m, err);

	if (intake != INTAKE_OK)
		return intake;
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

static enum intake check_content(const struct message *m,
				 const struct task_message_options *options, struct err *err)
{
	const char *type = m->content_type && *m->content_type ? m->content_type : "none";

	switch (content_of(m, options)) {
	case CONTENT_REFUSED:
		return fail_refused(
			has_task_header(m) ? INTAKE_REFUSED_CONTENT : INTAKE_DECODE_ERROR, m, err);
	case CONTENT_UNREADABLE:
		return fail_unreadable(m, err);
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
	enum intake intake = check_content(m, options, err);
	bool is_mapping = false;
	struct err cause = {0};
	auto_str utf8 = {.max = STR_MAX_DEFAULT};
	int converted;

	converted = intake == INTAKE_OK ? body_to_utf8(m, &utf8, err) : 0;
	t->priority = m->priority;
	t->is_redelivered = m->is_redelivered;
	take_body(t, m);
	if (intake != INTAKE_OK)
		return intake;
	if (converted == -1)
		return INTAKE_DECODE_ERROR;
	if (utf8.len) {
		t->body_len = utf8.len;
		free(t->body);
		t->body = str_detach(&utf8);
	}
	if (!has_task_header(m))
		return decode_v1(t, m, false, options, err);
	if (task_body_has_key(t->body, t->body_len, "args", &is_mapping, &cause) == -1)
		return task_fail(INTAKE_DECODE_ERROR, err, cause.code, "%s", cause.text);
	if (is_mapping)
		return decode_v1(t, m, true, options, err);
	return decode_v2(t, m, options, err);
}
