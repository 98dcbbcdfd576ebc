#include "worker/control/python.h"

#include <ctype.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "protocol/pidbox.h"
#include "protocol/pyjson.h"
#include "worker/request/stamp.h"

#define KEY_MAX ((size_t)64 << 20)

json_t *python_borrow(const json_t *value)
{
	return (json_t *)(uintptr_t)value;
}

bool python_has(const json_t *list, const json_t *value)
{
	if (!json_is_array(list))
		return stamp_is_equal(list, value);
	for (size_t i = 0; i < json_array_size(list); i++)
		if (stamp_is_equal(json_array_get(list, i), value))
			return true;
	return false;
}

json_t *python_set(json_t *list)
{
	json_t *unique = json_array();
	struct map *seen = map_new();
	auto_str key = STR_INIT(KEY_MAX);

	for (size_t i = 0; i < json_array_size(list); i++) {
		str_reset(&key);
		stamp_put_value(&key, json_array_get(list, i));
		if (map_has(seen, key.data))
			continue;
		map_put(seen, key.data, NULL);
		json_array_append(unique, json_array_get(list, i));
	}
	map_free(seen);
	json_decref(list);
	return unique;
}

static void put_dict(struct str *out, json_t *dict)
{
	const char *comma = "";

	str_addc(out, '{');
	for (void *at = json_object_iter(dict); at; at = json_object_iter_next(dict, at)) {
		str_puts(out, comma);
		pyjson_repr_str(out, json_object_iter_key(at), json_object_iter_key_len(at), 0);
		str_puts(out, ": ");
		python_put_repr(out, json_object_iter_value(at));
		comma = ", ";
	}
	str_addc(out, '}');
}

void python_put_repr(struct str *out, const json_t *value)
{
	if (json_is_string(value)) {
		pyjson_repr_str(out, json_string_value(value), json_string_length(value), 0);
	} else if (json_is_array(value)) {
		str_addc(out, '[');
		for (size_t i = 0; i < json_array_size(value); i++) {
			str_puts(out, i ? ", " : "");
			python_put_repr(out, json_array_get(value, i));
		}
		str_addc(out, ']');
	} else if (json_is_object(value) && pyjson_tag(value, NULL) == PYJSON_PLAIN) {
		put_dict(out, python_borrow(value));
	} else {
		pyjson_repr(out, value, 0, 0, false);
	}
}

void python_put_set(struct str *out, const json_t *list)
{
	if (json_array_size(list) == 0) {
		str_puts(out, "set()");
		return;
	}
	str_addc(out, '{');
	for (size_t i = 0; i < json_array_size(list); i++) {
		str_puts(out, i ? ", " : "");
		python_put_repr(out, json_array_get(list, i));
	}
	str_addc(out, '}');
}

void python_put_text(struct str *out, const json_t *value)
{
	if (json_is_string(value))
		str_add(out, json_string_value(value), json_string_length(value));
	else
		python_put_repr(out, value ? value : json_null());
}

json_t *python_ok(const struct str *text)
{
	return json_pack("{s:o}", "ok",
			 json_stringn_nocheck(text->data ? text->data : "", text->len));
}

/* --- signals --- */

/* Names that C's own list does not have, as Python's module `signal` on Linux. */
static const struct {
	const char *name;
	int number;
} more_names[] = {{"CLD", SIGCHLD}, {"IOT", SIGABRT}, {"POLL", SIGPOLL}};

static int number_of(const char *name)
{
	for (int i = 1; i < 32; i++)
		if (sigabbrev_np(i) && strcmp(sigabbrev_np(i), name) == 0)
			return i;
	for (size_t i = 0; i < sizeof(more_names) / sizeof(more_names[0]); i++)
		if (strcmp(more_names[i].name, name) == 0)
			return more_names[i].number;
	if (strcmp(name, "RTMIN") == 0)
		return SIGRTMIN;
	return strcmp(name, "RTMAX") == 0 ? SIGRTMAX : 0;
}

/* str.isupper() for the letters that matter here. */
static bool is_upper(const char *text)
{
	bool has_letter = false;

	for (; *text; text++) {
		if (islower((unsigned char)*text))
			return false;
		has_letter = has_letter || isupper((unsigned char)*text);
	}
	return has_letter;
}

static bool signal_of_name(const char *name, int *ret_number, struct control_error *error)
{
	bool has_prefix = strncmp(name, "SIG", 3) == 0;

	*ret_number = number_of(has_prefix ? name + 3 : name);
	if (*ret_number == 0)
		control_raise(error, "AttributeError",
			      "module 'signal' has no attribute '%s%.200s'",
			      has_prefix ? "" : "SIG", name);
	return *ret_number != 0;
}

bool python_signal(const json_t *value, int *ret_number, struct control_error *error)
{
	struct value v = value_of_json(value);
	const char *name = json_string_value(value);

	*ret_number = SIGTERM;
	if (!value || !value_is_truthy(&v))
		return true;
	if (json_is_integer(value) || json_is_true(value)) {
		json_int_t number = json_is_true(value) ? 1 : json_integer_value(value);

		*ret_number = number < 0 || number > 1000 ? 1000 : (int)number;
		return true;
	}
	if (name && is_upper(name))
		return signal_of_name(name, ret_number, error);
	control_raise(error, "TypeError", "signal name must be uppercase string.");
	return false;
}

/* --- rates --- */

static bool refuse_rate(struct control_error *error, const char *fmt, const char *quoted)
{
	auto_str message = STR_INIT(4096);
	auto_str text = STR_INIT(4096);

	str_puts(&message, fmt);
	if (quoted)
		pyjson_repr_str(&message, quoted, strlen(quoted), 0);
	json_auto_t *argument = json_string(message.data);

	pidbox_exception(&text, "ValueError", argument);
	control_refuse(error, "Invalid rate limit string: %s", text.data);
	return false;
}

/* Python's float(text), but for its underscores. */
static bool read_float(const char *text, double *ret_value)
{
	char *end;

	*ret_value = strtod(text, &end);
	while (isspace((unsigned char)*end))
		end++;
	return end != text && !*end && !strpbrk(text, "xX(");
}

static bool rate_of_text(const char *text, double *ret_per_second, struct control_error *error)
{
	const char *slash = strchr(text, '/');
	auto_free char *number = mem_dup(text, slash ? (size_t)(slash - text) : strlen(text));
	const char *unit = slash && slash[1] ? slash + 1 : "s";
	double per = 1;

	if (strcmp(unit, "m") == 0)
		per = 60;
	else if (strcmp(unit, "h") == 0)
		per = 3600;
	else if (strcmp(unit, "s") != 0) {
		control_raise(error, "KeyError", "%s", unit);
		return false;
	}
	if (!read_float(number, ret_per_second))
		return refuse_rate(error, "could not convert string to float: ", number);
	*ret_per_second /= per;
	return true;
}

bool python_rate(const json_t *value, double *ret_per_second, struct control_error *error)
{
	struct value v = value_of_json(value);

	*ret_per_second = 0;
	if (!value || !value_is_truthy(&v))
		return true;
	if (json_is_string(value)) {
		if (!rate_of_text(json_string_value(value), ret_per_second, error))
			return false;
	} else if (json_is_number(value) || json_is_true(value)) {
		*ret_per_second = json_is_true(value) ? 1 : json_number_value(value);
	} else {
		control_raise(error, "TypeError",
			      "float() argument must be a string or a real number, not '%s'",
			      pyjson_type_name(value));
		return false;
	}
	/* Celery takes these and then starts nothing, or everything. */
	if (isnan(*ret_per_second) || *ret_per_second < 0)
		return refuse_rate(error, "a rate limit cannot be negative", NULL);
	if (isinf(*ret_per_second))
		*ret_per_second = 0;
	return true;
}
