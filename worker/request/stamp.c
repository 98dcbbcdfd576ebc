#include "worker/request/stamp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "protocol/pyjson.h"

static bool walk_values(stamp_fn *fn, void *ctx, const char *header, const json_t *value)
{
	if (!json_is_array(value))
		return fn(ctx, header, value);
	for (size_t i = 0; i < json_array_size(value); i++)
		if (fn(ctx, header, json_array_get(value, i)))
			return true;
	return false;
}

void stamps_walk(const char *stamped_headers, const char *stamps, stamp_fn *fn, void *ctx)
{
	json_auto_t *names = pyjson_load(stamped_headers, strlen(stamped_headers), NULL);
	json_auto_t *values = pyjson_load(stamps, strlen(stamps), NULL);

	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		const json_t *value = name ? json_object_get(values, name) : NULL;

		if (value && !json_is_null(value) && walk_values(fn, ctx, name, value))
			return;
	}
}

static void put_number(struct str *out, const json_t *value)
{
	double real = json_number_value(value);

	if (json_is_integer(value))
		str_addf(out, "%lld", (long long)json_integer_value(value));
	else if (real == floor(real) && fabs(real) < 9e15)
		str_addf(out, "%lld", (long long)real);
	else
		float_repr(out, real);
}

static void put_array(struct str *out, const json_t *value)
{
	str_addc(out, '[');
	for (size_t i = 0; i < json_array_size(value); i++) {
		if (i > 0)
			str_addc(out, ',');
		stamp_put_value(out, json_array_get(value, i));
	}
	str_addc(out, ']');
}

static int by_key(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_object(struct str *out, const json_t *value)
{
	/* The cast is jansson's: walking an object changes nothing of it. */
	json_t *object = (json_t *)(uintptr_t)value;
	size_t count = 0;
	auto_free const char **keys =
		mem_calloc(json_object_size(object) + 1, sizeof(const char *));

	for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at))
		keys[count++] = json_object_iter_key(at);
	qsort(keys, count, sizeof(const char *), by_key);
	str_addc(out, '{');
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			str_addc(out, ',');
		pyjson_dump_str(out, keys[i], strlen(keys[i]));
		str_addc(out, ':');
		stamp_put_value(out, json_object_get(object, keys[i]));
	}
	str_addc(out, '}');
}

void stamp_put_value(struct str *out, const json_t *value)
{
	if (json_is_boolean(value))
		str_addc(out, json_is_true(value) ? '1' : '0');
	else if (json_is_number(value))
		put_number(out, value);
	else if (json_is_array(value))
		put_array(out, value);
	else if (json_is_object(value) && pyjson_tag(value, NULL) != PYJSON_NUMBER)
		put_object(out, value);
	else
		pyjson_dump(out, value);
}

bool stamp_is_equal(const json_t *a, const json_t *b)
{
	auto_str left = STR_INIT(STR_MAX_DEFAULT);
	auto_str right = STR_INIT(STR_MAX_DEFAULT);

	stamp_put_value(&left, a);
	stamp_put_value(&right, b);
	return left.len == right.len && memcmp(left.data, right.data, left.len) == 0;
}

void stamp_put_pair(struct str *out, const char *header, const json_t *value)
{
	json_auto_t *pair = json_object();

	/* The count of references is no part of the value. */
	json_object_set_nocheck(pair, header, (json_t *)(uintptr_t)value);
	pyjson_repr(out, pair, 0, 0, false);
}
