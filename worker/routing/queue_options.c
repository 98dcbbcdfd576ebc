#include "worker/routing/queue_options.h"

#include <string.h>

#include "base/str.h"
#include "base/text.h"
#include "protocol/pyjson.h"

#define NAME_MOST      255 /* of a short string in AMQP */
#define ARGUMENTS_MOST 65536

static void wrong(struct queue_options *o, const char *key, const char *must)
{
	if (!o->is_lenient)
		err_set(o->err, ERR_INVALID, "%s: '%.100s' must be %s", o->what, key, must);
}

static const json_t *get(const struct queue_options *o, const char *key)
{
	const json_t *value = json_object_get(o->values, key);

	return json_is_null(value) ? NULL : value;
}

bool options_has(const struct queue_options *o, const char *key)
{
	return get(o, key) != NULL;
}

const char *options_text(struct queue_options *o, const char *key)
{
	const json_t *value = get(o, key);
	const char *text = json_string_value(value);

	if (!value)
		return NULL;
	if (!text || strlen(text) != json_string_length(value) || strlen(text) > NAME_MOST ||
	    !utf8_is_valid(text, strlen(text))) {
		wrong(o, key, "a text of at most 255 bytes (in quotes, if it looks like a number)");
		return NULL;
	}
	return arena_strdup(o->texts, text);
}

bool options_flag(struct queue_options *o, const char *key, bool otherwise)
{
	const json_t *value = get(o, key);
	struct value v;

	if (!value)
		return otherwise;
	if (!o->is_lenient && !json_is_boolean(value)) {
		wrong(o, key, "true or false");
		return otherwise;
	}
	v = value_of_json(value);
	return value_is_truthy(&v);
}

const char *options_object(struct queue_options *o, const char *key)
{
	const json_t *value = get(o, key);
	auto_str text = STR_INIT(ARGUMENTS_MOST);

	if (!value)
		return NULL;
	if (!json_is_object(value)) {
		wrong(o, key, "a mapping");
		return NULL;
	}
	if (json_object_size(value) == 0)
		return NULL;
	if (pyjson_dump(&text, value) < 0) {
		wrong(o, key, "smaller");
		return NULL;
	}
	return arena_dup(o->texts, text.data, text.len);
}

int options_delivery_mode(struct queue_options *o, const char *key)
{
	const json_t *value = get(o, key);
	const char *text = json_string_value(value);
	json_int_t number = json_integer_value(value);

	if (!value)
		return 0;
	if (text && (strcmp(text, "transient") == 0 || strcmp(text, "persistent") == 0))
		return *text == 't' ? 1 : 2;
	if (json_is_integer(value) && (number == 1 || number == 2))
		return (int)number;
	wrong(o, key, "1 (transient) or 2 (persistent)");
	return 0;
}

bool options_number(struct queue_options *o, const char *key, double *ret_value)
{
	const json_t *value = get(o, key);

	*ret_value = json_number_value(value);
	if (json_is_number(value) && *ret_value >= 0 && *ret_value < 9e12)
		return true;
	if (value)
		wrong(o, key, "a number");
	return false;
}

static bool is_one_of(const char *const *keys, const char *key)
{
	for (; *keys; keys++)
		if (strcmp(*keys, key) == 0)
			return true;
	return false;
}

static const char *nearest_of(const char *const *keys, const char *key)
{
	struct text_guess guess = TEXT_GUESS(key);

	for (; *keys; keys++)
		text_guess_try(&guess, *keys);
	return guess.nearest;
}

void options_only(struct queue_options *o, const char *const *keys)
{
	const char *key;
	json_t *value, *values = NULL;

	memcpy(&values, &o->values, sizeof(values)); /* it is only read */
	if (o->is_lenient || !values)
		return;
	json_object_foreach (values, key, value) {
		const char *nearest = nearest_of(keys, key);

		if (is_one_of(keys, key))
			continue;
		err_set(o->err, ERR_NOT_FOUND, "%s: unknown option '%.100s'%s%s%s", o->what, key,
			nearest ? "; did you mean '" : "", nearest ? nearest : "",
			nearest ? "'?" : "");
	}
}
