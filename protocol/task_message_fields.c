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
	const char *name;
	size_t offset;
} text_fields[] = {
	{"shadow", offsetof(struct task_message, shadow)},
	{"root_id", offsetof(struct task_message, root_id)},
	{"parent_id", offsetof(struct task_message, parent_id)},
	{"group", offsetof(struct task_message, group)},
	{"origin", offsetof(struct task_message, origin)},
	{"lang", offsetof(struct task_message, lang)},
	{"argsrepr", offsetof(struct task_message, argsrepr)},
	{"kwargsrepr", offsetof(struct task_message, kwargsrepr)},
};

/* Not custom headers: the names Celery's Context knows (in order of strcmp), and what RabbitMQ adds
 * to a message that was dead-lettered. */
static const char *const known_headers[] = {
	"args",
	"argsrepr",
	"as_execution_options",
	"callbacks",
	"called_directly",
	"chain",
	"children",
	"chord",
	"clear",
	"compression",
	"correlation_id",
	"delivery_info",
	"errbacks",
	"eta",
	"expires",
	"get",
	"group",
	"group_index",
	"headers",
	"hostname",
	"id",
	"ignore_result",
	"is_eager",
	"kwargs",
	"kwargsrepr",
	"lang",
	"logfile",
	"loglevel",
	"origin",
	"parent_id",
	"properties",
	"replaced_task_nesting",
	"reply_to",
	"retries",
	"root_id",
	"shadow",
	"soft_time_limit",
	"stamped_headers",
	"stamps",
	"task",
	"taskset",
	"time_limit",
	"timelimit",
	"update",
	"utc",
	"x-death",
	"x-first-death-exchange",
	"x-first-death-queue",
	"x-first-death-reason",
	"x-last-death-exchange",
	"x-last-death-queue",
	"x-last-death-reason",
};

/* What hybrid_to_proto2() takes over from the body. */
static const char *const hybrid_fields[] = {
	"lang",	   "task",    "id",	   "root_id",  "parent_id",  "group",  "shadow", "eta",
	"expires", "retries", "timelimit", "argsrepr", "kwargsrepr", "origin", NULL};

static bool is_one_of(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

json_t *task_field(const struct task_fields *f, const char *name)
{
	json_t *value = json_object_get(f->headers, name);

	if (value || !f->body)
		return value;
	if (f->headers)
		return is_one_of(name, hybrid_fields) ? json_object_get(f->body, name) : NULL;
	if (strcmp(name, "group") == 0 && (value = json_object_get(f->body, "taskset")))
		return value;
	/* proto1_to_proto2() puts its own text there. */
	if (strcmp(name, "argsrepr") == 0 || strcmp(name, "kwargsrepr") == 0)
		return NULL;
	return json_object_get(f->body, name);
}

/* Python's bool(value). */
static bool is_truthy(const json_t *value)
{
	const char *token;

	if (!value || json_is_null(value) || json_is_false(value))
		return false;
	if (json_is_number(value))
		return json_number_value(value) != 0.0;
	if (json_is_string(value))
		return json_string_length(value) > 0;
	if (json_is_array(value))
		return json_array_size(value) > 0;
	if (pyjson_tag(value, &token) == PYJSON_BYTES || pyjson_tag(value, &token) == PYJSON_BASE64)
		return *token != '\0';
	return !json_is_object(value) || json_object_size(value) > 0;
}

bool task_fields_is_utc(const struct task_fields *f)
{
	json_t *utc = json_object_get(f->body, "utc");

	return !utc || is_truthy(utc);
}

/* Python passes on whatever stands there; here it is text, or becomes it. */
static char *read_text(const json_t *value)
{
	auto_str text = {.max = STR_MAX_DEFAULT};

	if (!value || json_is_null(value))
		return NULL;
	if (json_is_string(value))
		return mem_strdup(json_string_value(value));
	pyjson_repr(&text, value, TEXT_MAX, 3, false);
	return str_detach(&text);
}

/* Any kind of number, a truth value, or a number in text; false when it is none of them. */
static bool read_number(const json_t *value, double *ret)
{
	const char *text = json_string_value(value);
	char *end;

	if (json_is_number(value)) {
		*ret = json_number_value(value);
		return true;
	}
	if (json_is_boolean(value)) {
		*ret = json_is_true(value) ? 1 : 0;
		return true;
	}
	if (json_is_object(value)) {
		enum pyjson_tag tag = pyjson_tag(value, &text);

		if (tag != PYJSON_NUMBER && tag != PYJSON_DECIMAL)
			return false;
	}
	if (!text || !*text)
		return false;
	*ret = strtod(text, &end);
	return *end == '\0';
}

static int64_t read_int(const json_t *value, int64_t least, int64_t most, int64_t otherwise)
{
	double number;

	if (json_is_integer(value)) {
		int64_t n = json_integer_value(value);

		return n < least ? least : n > most ? most : n;
	}
	if (!value || !read_number(value, &number) || isnan(number))
		return otherwise;
	if (number <= (double)least)
		return least;
	return number >= (double)most ? most : (int64_t)number;
}

/* Falsy is unset, and so is what no timer can be set to. */
static double read_limit(const json_t *value)
{
	double number;

	return read_number(value, &number) && isfinite(number) && number > 0 ? number : 0;
}

static enum intake read_timelimit(struct task_message *t, const json_t *value, struct err *err)
{
	if (!is_truthy(value))
		return INTAKE_OK;
	if (!json_is_array(value))
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID,
				 "timelimit must be [hard, soft], not %s", pyjson_type_name(value));
	if (json_array_size(value) != 2)
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID,
				 "timelimit must be [hard, soft], not %zu values",
				 json_array_size(value));
	t->time_limit_s = read_limit(json_array_get(value, 0));
	t->soft_time_limit_s = read_limit(json_array_get(value, 1));
	return INTAKE_OK;
}

static enum intake fail_time(const char *label, const json_t *value, const char *why,
			     struct err *err)
{
	auto_str shown = {.max = STR_MAX_DEFAULT};

	if (json_is_string(value))
		pyjson_repr_str(&shown, json_string_value(value), json_string_length(value),
				VALUE_SHOWN);
	else
		pyjson_repr(&shown, value, VALUE_SHOWN, 3, false);
	return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID, "invalid %s value %s: %s", label,
			 shown.data, why);
}

/* A text, or a datetime of a protocol 1 body. */
static const char *time_text(const json_t *value)
{
	const char *text = json_string_value(value);

	if (json_is_object(value) && pyjson_tag(value, &text) != PYJSON_DATETIME)
		return NULL;
	return text;
}

static enum intake read_time(const json_t *value, const char *label, int64_t naive_offset_us,
			     int64_t *ret_us, struct err *err)
{
	const char *text = time_text(value);
	struct err cause = {0};
	bool is_naive = false;
	int64_t us;

	if (!value || json_is_null(value))
		return INTAKE_OK;
	if (!text) {
		char why[64];

		snprintf(why, sizeof(why), "object of type '%s' has no len()",
			 pyjson_type_name(value));
		return fail_time(label, value, why, err);
	}
	if (!*text)
		return fail_time(label, value, "empty text", err);
	if (strlen(text) != json_string_length(value) && json_is_string(value))
		return fail_time(label, value, "not an ISO 8601 time", err);
	if (iso8601_parse(text, strlen(text), &us, &is_naive, &cause) == 0) {
		*ret_us = is_naive ? us - naive_offset_us : us;
		return INTAKE_OK;
	}
	if (cause.code != ERR_LIMIT)
		return fail_time(label, value, "not an ISO 8601 time", err);
	/* A time at the edge of the calendar that its offset pushes over it. */
	*ret_us = strncmp(text, "9999", 4) == 0 ? YEAR_9999_US : YEAR_1_US;
	return INTAKE_ETA_OVERFLOW;
}

/* An expiry that overflows only compares, in Python and here. */
static enum intake read_times(struct task_message *t, const struct task_fields *f,
			      const struct task_message_options *options, struct err *err)
{
	bool is_local = options && options->naive_is_local && !task_fields_is_utc(f);
	int64_t offset_us = is_local ? (int64_t)options->local_offset_s * 1000000 : 0;
	const json_t *eta_value = task_field(f, "eta");
	enum intake eta = read_time(eta_value, "ETA", offset_us, &t->eta_us, err), expires;

	if (eta != INTAKE_OK && eta != INTAKE_ETA_OVERFLOW)
		return eta;
	expires = read_time(task_field(f, "expires"), "expires", offset_us, &t->expires_us, err);
	if (expires != INTAKE_OK && expires != INTAKE_ETA_OVERFLOW)
		return expires;
	if (eta == INTAKE_OK)
		return INTAKE_OK;
	return task_fail(INTAKE_ETA_OVERFLOW, err, ERR_LIMIT,
			 "Couldn't convert ETA '%.60s' to timestamp: OverflowError('date value out "
			 "of range')",
			 time_text(eta_value));
}

static char *dump(const json_t *value)
{
	auto_str text = {.max = CUSTOM_MAX};

	if (pyjson_dump(&text, value) == -1)
		return NULL;
	return str_detach(&text);
}

static void read_stamps(struct task_message *t, const struct task_fields *f)
{
	const json_t *names = task_field(f, "stamped_headers"), *stamps = task_field(f, "stamps");

	free(t->stamped_headers);
	t->stamped_headers = json_is_array(names) ? dump(names) : NULL;
	free(t->stamps);
	t->stamps = json_is_object(stamps) && json_object_size(stamps) ? dump(stamps) : NULL;
}

static int compare_names(const void *key, const void *row)
{
	return strcmp(key, *(const char *const *)row);
}

static bool is_known(const char *name)
{
	return bsearch(name, known_headers, sizeof(known_headers) / sizeof(*known_headers),
		       sizeof(*known_headers), compare_names) != NULL;
}

static void read_custom(struct task_message *t, const struct task_fields *f)
{
	json_t *headers = (json_t *)(uintptr_t)f->custom; /* jansson's iterators take it so */
	json_t *custom = NULL;

	for (void *it = json_object_iter(headers); it; it = json_object_iter_next(headers, it)) {
		const char *name = json_object_iter_key(it);

		if (is_known(name))
			continue;
		if (!custom)
			custom = json_object();
		json_object_setn_new_nocheck(custom, name, json_object_iter_key_len(it),
					     json_incref(json_object_iter_value(it)));
	}
	free(t->custom_headers);
	t->custom_headers = custom ? dump(custom) : NULL;
	json_decref(custom);
}

static enum intake read_id(struct task_message *t, const struct task_fields *f, struct err *err)
{
	const json_t *id = task_field(f, "id");

	if (!id)
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID, "the message has no id");
	if (json_is_string(id) && !task_text_is_name(id))
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID,
				 "task id is empty or holds a NUL");
	if (!json_is_string(id))
		return task_fail(INTAKE_INVALID_TASK, err, ERR_INVALID,
				 "task id must be str, not %s", pyjson_type_name(id));
	free(t->id);
	t->id = mem_strdup(json_string_value(id));
	return INTAKE_OK;
}

static void read_texts(struct task_message *t, const struct task_fields *f)
{
	for (size_t i = 0; i < sizeof(text_fields) / sizeof(*text_fields); i++) {
		char **to = (char **)(void *)((char *)t + text_fields[i].offset);

		free(*to);
		*to = read_text(task_field(f, text_fields[i].name));
	}
	/* `shadow or name` */
	if (t->shadow && !*t->shadow) {
		free(t->shadow);
		t->shadow = NULL;
	}
}

enum intake task_fields_read(struct task_message *t, const struct task_fields *f,
			     const struct task_message_options *options, struct err *err)
{
	const json_t *ignore = task_field(f, "ignore_result");
	enum intake intake = read_id(t, f, err), times;

	if (intake != INTAKE_OK)
		return intake;
	read_texts(t, f);
	t->group_index = read_int(task_field(f, "group_index"), -1, INT64_MAX, -1);
	t->retries = read_int(task_field(f, "retries"), 0, INT32_MAX, 0);
	t->replaced_task_nesting =
		read_int(task_field(f, "replaced_task_nesting"), 0, INT32_MAX, 0);
	t->ignore_result = !ignore || json_is_null(ignore) ? TRI_NULL
			   : is_truthy(ignore)		   ? TRI_TRUE
							   : TRI_FALSE;
	read_stamps(t, f);
	read_custom(t, f);
	times = read_times(t, f, options, err);
	if (times != INTAKE_OK && times != INTAKE_ETA_OVERFLOW)
		return times;
	intake = read_timelimit(t, task_field(f, "timelimit"), err);
	return intake == INTAKE_OK ? times : intake;
}
