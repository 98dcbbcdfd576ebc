/* Header values to typed fields. Mirrors celery/worker/request.py, Request.__init__(), and
 * celery/app/task.py, Context. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"
#include "protocol/task_message_impl.h"

#define TEXT_MAX     1024 /* characters of a header that should be text and is not */
#define VALUE_SHOWN  100  /* characters of a bad value in an error */
#define CUSTOM_MAX   ((size_t)16 << 20)
#define YEAR_1_US    INT64_C(-62135596800000000)
#define YEAR_9999_US INT64_C(253402300799999999)

/* Headers that become members as they are. */
static const struct {
	enum header_name name;
	size_t offset;
} text_fields[] = {
	{HEADER_SHADOW, offsetof(struct task_message, shadow)},
	{HEADER_ROOT_ID, offsetof(struct task_message, root_id)},
	{HEADER_PARENT_ID, offsetof(struct task_message, parent_id)},
	{HEADER_GROUP, offsetof(struct task_message, group)},
	{HEADER_ORIGIN, offsetof(struct task_message, origin)},
	{HEADER_LANG, offsetof(struct task_message, lang)},
	{HEADER_ARGSREPR, offsetof(struct task_message, argsrepr)},
	{HEADER_KWARGSREPR, offsetof(struct task_message, kwargsrepr)},
};

#define TEXT_FIELDS (sizeof(text_fields) / sizeof(*text_fields))

/* What hybrid_to_proto2() takes over from the body. */
static const bool hybrid_fields[HEADER_NAME_COUNT] = {
	[HEADER_LANG] = true,	    [HEADER_TASK] = true,      [HEADER_ID] = true,
	[HEADER_ROOT_ID] = true,    [HEADER_PARENT_ID] = true, [HEADER_GROUP] = true,
	[HEADER_SHADOW] = true,	    [HEADER_ETA] = true,       [HEADER_EXPIRES] = true,
	[HEADER_RETRIES] = true,    [HEADER_TIMELIMIT] = true, [HEADER_ARGSREPR] = true,
	[HEADER_KWARGSREPR] = true, [HEADER_ORIGIN] = true,
};

static struct value body_field(const struct task_fields *f, enum header_name name)
{
	const json_t *taskset = NULL;

	if (f->has_table && !hybrid_fields[name])
		return (struct value){0};
	if (!f->has_table && name == HEADER_GROUP)
		taskset = json_object_get(f->body, "taskset");
	/* proto1_to_proto2() puts its own text there. */
	if (!f->has_table && (name == HEADER_ARGSREPR || name == HEADER_KWARGSREPR))
		return (struct value){0};
	return value_of_json(taskset ? taskset : json_object_get(f->body, header_name_text(name)));
}

struct value task_field(const struct task_fields *f, enum header_name name)
{
	struct value value = {0};

	if (f->has_table)
		value = *message_header(f->message, name);
	return value.kind == VALUE_ABSENT && f->body ? body_field(f, name) : value;
}

/* The value of `utc`: false only for protocol 1 and hybrids that say so. */
static bool is_utc(const struct task_fields *f)
{
	struct value utc = value_of_json(json_object_get(f->body, "utc"));

	return utc.kind == VALUE_ABSENT || value_is_truthy(&utc);
}

const char *task_type_name(const struct value *value)
{
	json_t *json = value_to_json(value);
	const char *name = pyjson_type_name(json);

	json_decref(json);
	return name;
}

/* Texts */

/* Up to its first NUL: a text that is shown or compared, never run. */
static struct span c_text(struct span text)
{
	return (struct span){text.data, text.len ? strnlen(text.data, text.len) : 0};
}

/* Texts that are to be copied into one block. */
struct texts {
	struct {
		struct span from;
		const char **to;
		bool is_id;
	} row[2 + TEXT_FIELDS + 4];
	size_t count, bytes;
	struct span id; /* the root's id and the correlation id are mostly the task's own */
	bool has_id;	/* in a row */
};

static void texts_add(struct texts *x, const char **to, struct span from)
{
	bool is_id = from.len > 0 && from.len == x->id.len &&
		     memcmp(from.data, x->id.data, from.len) == 0;

	*to = from.data ? "" : NULL;
	if (from.len == 0)
		return;
	if (!is_id || !x->has_id)
		x->bytes += from.len + 1;
	x->has_id = x->has_id || is_id;
	x->row[x->count].from = from;
	x->row[x->count].to = to;
	x->row[x->count++].is_id = is_id;
}

static void texts_add_c(struct texts *x, const char **to, const char *from)
{
	texts_add(x, to, (struct span){from, from ? strlen(from) : 0});
}

static void texts_copy(const struct texts *x, struct arena *arena)
{
	const char *id = NULL;

	arena_reserve(arena, x->bytes);
	for (size_t i = 0; i < x->count; i++) {
		struct span from = x->row[i].from;
		bool is_shared = x->row[i].is_id && id;

		*x->row[i].to = is_shared ? id : arena_dup(arena, from.data, from.len);
		if (x->row[i].is_id)
			id = *x->row[i].to;
	}
}

/* Python passes on whatever stands there; here it becomes text. */
static const char *read_odd_text(struct arena *arena, const struct value *value)
{
	auto_str text = {.max = STR_MAX_DEFAULT};
	json_t *json = value_to_json(value);

	pyjson_repr(&text, json, TEXT_MAX, 3, false);
	json_decref(json);
	return arena_dup(arena, text.data, text.len);
}

static const char **text_member(struct task_message *t, size_t i)
{
	return (const char **)(void *)((char *)t + text_fields[i].offset);
}

void task_texts_read(struct task_message *t, const struct task_fields *f, struct span task,
		     struct span id)
{
	const struct message *m = f->message;
	struct value odd[TEXT_FIELDS] = {0};
	struct arena old = t->texts;
	struct texts x;

	x.count = x.bytes = 0;
	x.has_id = false;
	x.id = c_text(id);
	t->texts = (struct arena){0};
	texts_add(&x, &t->id, x.id);
	texts_add(&x, &t->task, task);
	for (size_t i = 0; i < TEXT_FIELDS; i++) {
		struct value value = task_field(f, text_fields[i].name);
		struct span none = {0};

		if (value.kind != VALUE_TEXT && value.kind != VALUE_NULL)
			odd[i] = value;
		texts_add(&x, text_member(t, i),
			  value.kind == VALUE_TEXT ? c_text(value.text) : none);
	}
	texts_add_c(&x, &t->correlation_id, m->correlation_id);
	texts_add_c(&x, &t->reply_to, m->reply_to);
	texts_add_c(&x, &t->exchange, m->exchange);
	texts_add_c(&x, &t->routing_key, m->routing_key);
	texts_copy(&x, &t->texts);
	for (size_t i = 0; i < TEXT_FIELDS; i++)
		if (odd[i].kind != VALUE_ABSENT)
			*text_member(t, i) = read_odd_text(&t->texts, &odd[i]);
	/* `shadow or name` */
	if (t->shadow && !*t->shadow)
		t->shadow = NULL;
	arena_clear(&old);
}

/* Numbers and times */

/* A text as strtod() wants it, or NULL. To be freed. */
static char *number_text(const struct value *value)
{
	const char *text;
	enum pyjson_tag tag;

	if (value->kind == VALUE_TEXT)
		return mem_dup(value->text.data, c_text(value->text).len);
	if (value->kind != VALUE_JSON)
		return NULL;
	tag = pyjson_tag(value->json, &text);
	return tag == PYJSON_NUMBER || tag == PYJSON_DECIMAL ? mem_strdup(text) : NULL;
}

/* Any kind of number, a truth value, or a number in text; false when it is none of them. */
static bool read_number(const struct value *value, double *ret)
{
	auto_free char *text = NULL;
	char *end;

	if (value->kind == VALUE_INT)
		*ret = (double)value->integer;
	else if (value->kind == VALUE_REAL)
		*ret = value->real;
	else if (value->kind == VALUE_BOOL)
		*ret = value->truth ? 1 : 0;
	else {
		text = number_text(value);
		if (!text || !*text)
			return false;
		*ret = strtod(text, &end);
		return *end == '\0';
	}
	return true;
}

static int64_t read_int(struct value value, int64_t least, int64_t most, int64_t otherwise)
{
	double number;

	if (value.kind == VALUE_INT)
		return value.integer < least ? least : value.integer > most ? most : value.integer;
	if (!read_number(&value, &number) || isnan(number))
		return otherwise;
	if (number <= (double)least)
		return least;
	return number >= (double)most ? most : (int64_t)number;
}

/* Falsy is unset, and so is what no timer can be set to. */
static double read_limit(struct value value)
{
	double number;

	return read_number(&value, &number) && isfinite(number) && number > 0 ? number : 0;
}

static enum intake read_timelimit(struct task_message *t, struct value value, struct err *err)
{
	if (!value_is_truthy(&value))
		return INTAKE_OK;
	if (!value_is_list(&value))
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID,
				 "timelimit must be [hard, soft], not %s", task_type_name(&value));
	if (value_list_size(&value) != 2)
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID,
				 "timelimit must be [hard, soft], not %zu values",
				 value_list_size(&value));
	t->time_limit_s = read_limit(value_list_at(&value, 0));
	t->soft_time_limit_s = read_limit(value_list_at(&value, 1));
	return INTAKE_OK;
}

static enum intake fail_time(const char *label, const struct value *value, const char *why,
			     struct err *err)
{
	auto_str shown = {.max = STR_MAX_DEFAULT};
	json_t *json;

	if (value->kind == VALUE_TEXT) {
		pyjson_repr_str(&shown, value->text.data, value->text.len, VALUE_SHOWN);
	} else {
		json = value_to_json(value);
		pyjson_repr(&shown, json, VALUE_SHOWN, 3, false);
		json_decref(json);
	}
	return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID, "invalid %s value %s: %s", label,
			 shown.data, why);
}

/* A text, or a datetime of a protocol 1 body; no data when it is neither. */
static struct span time_text(const struct value *value)
{
	const char *text = NULL;

	if (value->kind == VALUE_TEXT)
		return value->text;
	if (value->kind == VALUE_JSON && pyjson_tag(value->json, &text) == PYJSON_DATETIME)
		return (struct span){text, strlen(text)};
	return (struct span){0};
}

static enum intake read_time(const struct value *value, const char *label, int64_t naive_offset_us,
			     int64_t *ret_us, struct err *err)
{
	struct span text = time_text(value);
	struct err cause = {0};
	bool is_naive = false;
	int64_t us;

	if (value->kind == VALUE_ABSENT || value->kind == VALUE_NULL)
		return INTAKE_OK;
	if (!text.data) {
		char why[64];

		snprintf(why, sizeof(why), "object of type '%s' has no len()",
			 task_type_name(value));
		return fail_time(label, value, why, err);
	}
	if (c_text(text).len == 0)
		return fail_time(label, value, "empty text", err);
	if (c_text(text).len != text.len)
		return fail_time(label, value, "not an ISO 8601 time", err);
	if (iso8601_parse(text.data, text.len, &us, &is_naive, &cause) == 0) {
		*ret_us = is_naive ? us - naive_offset_us : us;
		return INTAKE_OK;
	}
	if (cause.code != ERR_LIMIT)
		return fail_time(label, value, "not an ISO 8601 time", err);
	/* A time at the edge of the calendar that its offset pushes over it. */
	*ret_us = text.len >= 4 && memcmp(text.data, "9999", 4) == 0 ? YEAR_9999_US : YEAR_1_US;
	return INTAKE_ETA_OVERFLOW;
}

/* An expiry that overflows only compares, in Python and here. */
static enum intake read_times(struct task_message *t, const struct task_fields *f,
			      const struct task_message_options *options, struct err *err)
{
	bool is_local = options && options->naive_is_local && !is_utc(f);
	int64_t offset_us = is_local ? (int64_t)options->local_offset_s * 1000000 : 0;
	struct value eta_value = task_field(f, HEADER_ETA);
	struct value expires_value = task_field(f, HEADER_EXPIRES);
	enum intake eta = read_time(&eta_value, "ETA", offset_us, &t->eta_us, err), expires;
	struct span text;

	if (eta != INTAKE_OK && eta != INTAKE_ETA_OVERFLOW)
		return eta;
	expires = read_time(&expires_value, "expires", offset_us, &t->expires_us, err);
	if (expires != INTAKE_OK && expires != INTAKE_ETA_OVERFLOW)
		return expires;
	if (eta == INTAKE_OK)
		return INTAKE_OK;
	text = time_text(&eta_value);
	return task_fail(INTAKE_ETA_OVERFLOW, err, ERR_LIMIT,
			 "Couldn't convert ETA '%.*s' to timestamp: OverflowError('date value out "
			 "of range')",
			 text.len < 60 ? (int)text.len : 60, text.data);
}

/* Stamps and custom headers */

#define SENT_END_MS 253402300800000 /* the year 10000 */

/* NULL when it is too long. */
static const char *dump(struct arena *arena, const struct value *value)
{
	auto_str text = {.max = CUSTOM_MAX};

	return value_dump(&text, value) == -1 ? NULL : arena_dup(arena, text.data, text.len);
}

static void read_stamps(struct task_message *t, const struct task_fields *f)
{
	struct value names = task_field(f, HEADER_STAMPED_HEADERS);
	struct value stamps = task_field(f, HEADER_STAMPS);

	t->stamped_headers = value_is_list(&names) ? dump(&t->texts, &names) : NULL;
	t->stamps = stamps.kind == VALUE_JSON && json_object_size(stamps.json)
			    ? dump(&t->texts, &stamps)
			    : NULL;
}

/* Names were compared as C strings before they had a length, and that is how they stay. */
static bool is_custom(const struct message_header *h)
{
	struct span name = c_text(h->text);

	if (h->name != HEADER_CUSTOM || h->value.kind == VALUE_ABSENT)
		return false;
	return name.len == h->text.len || header_name_of(name.data, name.len) == HEADER_CUSTOM;
}

/* RabbitMQ, told to, marks what comes in with this header and with the property `timestamp`, which
 * has whole seconds only. */
static void read_sent(struct task_message *t, const struct message_header *h)
{
	static const char name[] = "timestamp_in_ms";

	if (h->text.len == sizeof(name) - 1 && memcmp(h->text.data, name, h->text.len) == 0 &&
	    h->value.kind == VALUE_INT && h->value.integer > 0 && h->value.integer < SENT_END_MS)
		t->sent_us = h->value.integer * 1000;
}

static void read_custom(struct task_message *t, const struct message *m)
{
	auto_str out = {.max = CUSTOM_MAX};

	t->custom_headers = NULL;
	t->sent_us = m->sent_us;
	for (size_t i = 0; m->other_count > 0 && i < m->header_count; i++) {
		const struct message_header *h = &m->headers[i];

		if (!is_custom(h))
			continue;
		read_sent(t, h);
		str_puts(&out, out.len ? ", " : "{");
		pyjson_dump_str(&out, h->text.data, h->text.len);
		str_puts(&out, ": ");
		value_dump(&out, &h->value);
	}
	str_puts(&out, out.len ? "}" : "");
	if (out.len && !out.is_full)
		t->custom_headers = arena_dup(&t->texts, out.data, out.len);
}

static enum intake check_id(const struct value *id, struct err *err)
{
	if (id->kind == VALUE_ABSENT)
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID, "the message has no id");
	if (id->kind == VALUE_TEXT && !task_text_is_name(id))
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID,
				 "task id is empty or holds a NUL");
	if (id->kind != VALUE_TEXT)
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID,
				 "task id must be str, not %s", task_type_name(id));
	return INTAKE_OK;
}

enum intake task_fields_read(struct task_message *t, const struct task_fields *f,
			     const struct task_message_options *options, struct err *err)
{
	struct value ignore = task_field(f, HEADER_IGNORE_RESULT);
	struct value id = task_field(f, HEADER_ID);
	enum intake intake = check_id(&id, err), times;

	if (intake != INTAKE_OK)
		return intake;
	if (f->body)
		task_texts_read(t, f, (struct span){t->task, strlen(t->task)}, id.text);
	t->group_index = read_int(task_field(f, HEADER_GROUP_INDEX), -1, INT64_MAX, -1);
	t->retries = read_int(task_field(f, HEADER_RETRIES), 0, INT32_MAX, 0);
	t->replaced_task_nesting =
		read_int(task_field(f, HEADER_REPLACED_TASK_NESTING), 0, INT32_MAX, 0);
	t->ignore_result = ignore.kind == VALUE_ABSENT || ignore.kind == VALUE_NULL ? TRI_NULL
			   : value_is_truthy(&ignore)				    ? TRI_TRUE
										    : TRI_FALSE;
	read_stamps(t, f);
	read_custom(t, f->message);
	times = read_times(t, f, options, err);
	if (times != INTAKE_OK && times != INTAKE_ETA_OVERFLOW)
		return times;
	intake = read_timelimit(t, task_field(f, HEADER_TIMELIMIT), err);
	return intake == INTAKE_OK ? times : intake;
}
