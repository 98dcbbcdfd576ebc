#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "protocol/content_impl.h"
#include "protocol/msgpack.h"

static void put(struct str *out, unsigned head, uint64_t value, size_t len)
{
	unsigned char bytes[9] = {(unsigned char)head};

	for (size_t i = 0; i < len; i++)
		bytes[1 + i] = (unsigned char)(value >> 8 * (len - 1 - i));
	str_add(out, bytes, 1 + len);
}

static void put_unsigned(struct str *out, uint64_t value)
{
	if (value <= 0x7f)
		put(out, (unsigned)value, 0, 0);
	else if (value <= UINT8_MAX)
		put(out, 0xcc, value, 1);
	else if (value <= UINT16_MAX)
		put(out, 0xcd, value, 2);
	else if (value <= UINT32_MAX)
		put(out, 0xce, value, 4);
	else
		put(out, 0xcf, value, 8);
}

static void put_integer(struct str *out, int64_t value)
{
	if (value >= 0)
		put_unsigned(out, (uint64_t)value);
	else if (value >= -32)
		put(out, (unsigned)(256 + value), 0, 0);
	else if (value >= INT8_MIN)
		put(out, 0xd0, (uint64_t)value, 1);
	else if (value >= INT16_MIN)
		put(out, 0xd1, (uint64_t)value, 2);
	else if (value >= INT32_MIN)
		put(out, 0xd2, (uint64_t)value, 4);
	else
		put(out, 0xd3, (uint64_t)value, 8);
}

static void put_real(struct str *out, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	put(out, 0xcb, bits, 8);
}

/* `heads`: of lengths in 1 (0 = there is none), 2 and 4 bytes. */
static int put_length(struct str *out, size_t len, const unsigned heads[3], struct err *err)
{
	if (len > UINT32_MAX)
		return err_set(err, ERR_LIMIT, "msgpack: more than 4 GiB in one value");
	if (heads[0] && len <= UINT8_MAX)
		put(out, heads[0], len, 1);
	else if (len <= UINT16_MAX)
		put(out, heads[1], len, 2);
	else
		put(out, heads[2], len, 4);
	return 0;
}

static int dump_text(struct str *out, const char *text, size_t len, struct err *err)
{
	static const unsigned heads[3] = {0xd9, 0xda, 0xdb};

	if (!utf8_is_valid(text, len))
		return err_set(err, ERR_UNSUPPORTED,
			       "msgpack cannot serialize a text with surrogates");
	if (len <= 31)
		put(out, 0xa0 | (unsigned)len, 0, 0);
	else if (put_length(out, len, heads, err) < 0)
		return -1;
	str_add(out, text, len);
	return 0;
}

static int dump_bytes(struct str *out, const struct str *bytes, struct err *err)
{
	static const unsigned heads[3] = {0xc4, 0xc5, 0xc6};

	if (put_length(out, bytes->len, heads, err) < 0)
		return -1;
	str_add(out, bytes->data, bytes->len);
	return 0;
}

/* A token of pyjson_number(). */
static int dump_number(struct str *out, const char *token, struct err *err)
{
	uint64_t value;
	char *end;

	if (strcmp(token, "NaN") == 0)
		put_real(out, (double)NAN);
	else if (strstr(token, "Infinity"))
		put_real(out, *token == '-' ? -HUGE_VAL : HUGE_VAL);
	else {
		errno = 0;
		value = strtoull(token, &end, 10);
		if (errno || *end || *token == '-')
			return err_set(err, ERR_UNSUPPORTED, "Integer value out of range");
		put_unsigned(out, value);
	}
	return 0;
}

static int dump_value(struct str *out, const json_t *value, unsigned depth, struct err *err);

static int dump_array(struct str *out, const json_t *array, unsigned depth, struct err *err)
{
	static const unsigned heads[3] = {0, 0xdc, 0xdd};
	size_t count = json_array_size(array);

	if (count <= 15)
		put(out, 0x90 | (unsigned)count, 0, 0);
	else if (put_length(out, count, heads, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (dump_value(out, json_array_get(array, i), depth, err) < 0)
			return -1;
	return 0;
}

static int dump_map(struct str *out, const json_t *object, unsigned depth, struct err *err)
{
	static const unsigned heads[3] = {0, 0xde, 0xdf};
	json_t *o = (json_t *)(uintptr_t)object; /* jansson's iterators take it so */
	size_t count = json_object_size(object);

	if (count <= 15)
		put(out, 0x80 | (unsigned)count, 0, 0);
	else if (put_length(out, count, heads, err) < 0)
		return -1;
	for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it))
		if (dump_text(out, json_object_iter_key(it), json_object_iter_key_len(it), err) <
			    0 ||
		    dump_value(out, json_object_iter_value(it), depth, err) < 0)
			return -1;
	return 0;
}

static int dump_object(struct str *out, const json_t *object, unsigned depth, struct err *err)
{
	auto_str bytes = STR_INIT(STR_MAX_DEFAULT);
	const char *text;

	switch (content_kind_of(object, &text, &bytes)) {
	case CONTENT_KIND_PLAIN:
		return dump_map(out, object, depth, err);
	case CONTENT_KIND_BYTES:
		return dump_bytes(out, &bytes, err);
	case CONTENT_KIND_NUMBER:
		return dump_number(out, text, err);
	case CONTENT_KIND_DATE:
	case CONTENT_KIND_OTHER:
		break;
	}
	return content_fail_type(object, "msgpack", err);
}

static int dump_value(struct str *out, const json_t *value, unsigned depth, struct err *err)
{
	if (depth > PYJSON_MAX_DEPTH)
		return err_set(err, ERR_LIMIT, "msgpack: nested too deep");
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return dump_object(out, value, depth + 1, err);
	case JSON_ARRAY:
		return dump_array(out, value, depth + 1, err);
	case JSON_STRING:
		return dump_text(out, json_string_value(value), json_string_length(value), err);
	case JSON_INTEGER:
		put_integer(out, json_integer_value(value));
		return 0;
	case JSON_REAL:
		put_real(out, json_real_value(value));
		return 0;
	case JSON_TRUE:
	case JSON_FALSE:
		put(out, json_is_true(value) ? 0xc3 : 0xc2, 0, 0);
		return 0;
	case JSON_NULL:
		put(out, 0xc0, 0, 0);
		return 0;
	}
	return -1;
}

int msgpack_dump(struct str *out, const json_t *value, struct err *err)
{
	if (dump_value(out, value, 0, err) < 0)
		return -1;
	return out->is_full ? err_set(err, ERR_LIMIT, "msgpack: more than %zu bytes", out->max) : 0;
}
