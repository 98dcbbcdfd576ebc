/* Straight from the bytes to JSON text: no tree, and what a length promises is believed only as far
 * as there are bytes. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/text.h"
#include "protocol/content_impl.h"
#include "protocol/msgpack.h"
#include "protocol/pyjson.h"

struct reader {
	const unsigned char *at, *end;
	struct str *out;
	struct err *err;
};

static int fail(struct reader *r, const char *what)
{
	return err_set(r->err, ERR_INVALID, "msgpack: %s", what);
}

static const unsigned char *take(struct reader *r, size_t len)
{
	const unsigned char *at = r->at;

	if ((size_t)(r->end - at) < len) {
		fail(r, "the data end too early");
		return NULL;
	}
	r->at += len;
	return at;
}

/* A number of 1, 2, 4 or 8 bytes, the highest first. */
static int take_number(struct reader *r, size_t len, uint64_t *ret)
{
	const unsigned char *at = take(r, len);

	*ret = 0;
	if (!at)
		return -1;
	for (size_t i = 0; i < len; i++)
		*ret = *ret << 8 | at[i];
	return 0;
}

static int64_t sign_extend(uint64_t value, size_t len)
{
	if (len == 1)
		return (int8_t)value;
	if (len == 2)
		return (int16_t)value;
	return len == 4 ? (int32_t)value : (int64_t)value;
}

static void write_real(struct reader *r, double value)
{
	if (isnan(value))
		str_puts(r->out, "NaN");
	else if (isinf(value))
		str_puts(r->out, value < 0 ? "-Infinity" : "Infinity");
	else
		float_repr(r->out, value);
}

static int load_float(struct reader *r, size_t len)
{
	uint64_t bits;
	uint32_t half;
	double value;
	float narrow;

	if (take_number(r, len, &bits) < 0)
		return -1;
	if (len == 4) {
		half = (uint32_t)bits;
		memcpy(&narrow, &half, sizeof(narrow));
		value = (double)narrow;
	} else {
		memcpy(&value, &bits, sizeof(value));
	}
	write_real(r, value);
	return 0;
}

static int load_text(struct reader *r, uint64_t len)
{
	const unsigned char *at = take(r, len);

	if (!at)
		return -1;
	if (!utf8_is_valid((const char *)at, len))
		return fail(r, "a text is not UTF-8");
	pyjson_dump_str(r->out, (const char *)at, len);
	return 0;
}

static int load_bytes(struct reader *r, uint64_t len)
{
	const unsigned char *at = take(r, len);

	if (!at)
		return -1;
	if (utf8_is_valid((const char *)at, len)) {
		str_puts(r->out, "{\"__type__\": \"bytes\", \"__value__\": ");
		pyjson_dump_str(r->out, (const char *)at, len);
		str_puts(r->out, "}");
	} else {
		str_puts(r->out, "{\"__type__\": \"base64\", \"__value__\": \"");
		base64_encode(r->out, at, len);
		str_puts(r->out, "\"}");
	}
	return 0;
}

/* The one extension that MessagePack itself defines. Python's tasks get a msgpack.Timestamp. */
static int load_timestamp(struct reader *r, uint64_t len)
{
	uint64_t nanoseconds = 0, seconds;
	char text[40];

	if (len != 4 && len != 8 && len != 12)
		return fail(r, "a timestamp has 4, 8 or 12 bytes");
	if (len == 12 && take_number(r, 4, &nanoseconds) < 0)
		return -1;
	if (take_number(r, len == 4 ? 4 : 8, &seconds) < 0)
		return -1;
	if (len == 8) {
		nanoseconds = seconds >> 34;
		seconds &= ((uint64_t)1 << 34) - 1;
	}
	/* 0001-01-01 to 9999-12-31 */
	if ((int64_t)seconds < -62135596800 || (int64_t)seconds > 253402300799 ||
	    nanoseconds > 999999999)
		return fail(r, "a timestamp out of range");
	iso8601_format((int64_t)seconds * 1000000 + (int64_t)(nanoseconds / 1000), 0, text);
	str_addf(r->out, "{\"__type__\": \"datetime\", \"__value__\": \"%s\"}", text);
	return 0;
}

static int load_extension(struct reader *r, uint64_t len)
{
	uint64_t type;

	if (take_number(r, 1, &type) < 0)
		return -1;
	if (sign_extend(type, 1) == -1)
		return load_timestamp(r, len);
	return err_set(r->err, ERR_UNSUPPORTED,
		       "msgpack: extension type %d has no meaning to this worker",
		       (int)sign_extend(type, 1));
}

static int load_value(struct reader *r, unsigned depth);

static int load_list(struct reader *r, uint64_t count, unsigned depth)
{
	str_addc(r->out, '[');
	for (uint64_t i = 0; i < count && !r->out->is_full; i++) {
		if (i)
			str_add(r->out, ", ", 2);
		if (load_value(r, depth) < 0)
			return -1;
	}
	str_addc(r->out, ']');
	return 0;
}

/* As Python's strict_map_key: text or bytes. */
static int load_key(struct reader *r)
{
	const unsigned char *at = take(r, 1);
	unsigned head = at ? *at : 0;
	uint64_t len = head & 0x1f;

	if (!at)
		return -1;
	if (head >= 0xd9 && head <= 0xdb) {
		if (take_number(r, (size_t)1 << (head - 0xd9), &len) < 0)
			return -1;
	} else if (head >= 0xc4 && head <= 0xc6) {
		if (take_number(r, (size_t)1 << (head - 0xc4), &len) < 0)
			return -1;
	} else if ((head & 0xe0) != 0xa0) {
		return fail(r, "a key of a mapping is neither text nor bytes");
	}
	return load_text(r, len);
}

static int load_map(struct reader *r, uint64_t count, unsigned depth)
{
	str_addc(r->out, '{');
	for (uint64_t i = 0; i < count && !r->out->is_full; i++) {
		if (i)
			str_add(r->out, ", ", 2);
		if (load_key(r) < 0)
			return -1;
		str_add(r->out, ": ", 2);
		if (load_value(r, depth) < 0)
			return -1;
	}
	str_addc(r->out, '}');
	return 0;
}

static int load_integer(struct reader *r, unsigned head)
{
	size_t len = (size_t)1 << (head & 3);
	uint64_t value;

	if (take_number(r, len, &value) < 0)
		return -1;
	if (head < 0xd0)
		str_addf(r->out, "%" PRIu64, value);
	else
		str_addf(r->out, "%" PRId64, sign_extend(value, len));
	return 0;
}

/* 0xc0 to 0xdf: the kind, then a length or a number behind it. */
static int load_long(struct reader *r, unsigned head, unsigned depth)
{
	static const char *const words[] = {[0] = "null", [2] = "false", [3] = "true"};
	uint64_t len;

	if (head == 0xc1)
		return fail(r, "a byte that means nothing");
	if (head <= 0xc3) {
		str_puts(r->out, words[head - 0xc0]);
		return 0;
	}
	if (head == 0xca || head == 0xcb)
		return load_float(r, head == 0xca ? 4 : 8);
	if (head >= 0xcc && head <= 0xd3)
		return load_integer(r, head);
	if (head >= 0xd4 && head <= 0xd8)
		return load_extension(r, (uint64_t)1 << (head - 0xd4));
	static const unsigned char sizes[] = {
		[0xc4 - 0xc4] = 1, [0xc5 - 0xc4] = 2, [0xc6 - 0xc4] = 4, [0xc7 - 0xc4] = 1,
		[0xc8 - 0xc4] = 2, [0xc9 - 0xc4] = 4, [0xd9 - 0xc4] = 1, [0xda - 0xc4] = 2,
		[0xdb - 0xc4] = 4, [0xdc - 0xc4] = 2, [0xdd - 0xc4] = 4, [0xde - 0xc4] = 2,
		[0xdf - 0xc4] = 4,
	};

	if (take_number(r, sizes[head - 0xc4], &len) < 0)
		return -1;
	if (head <= 0xc6)
		return load_bytes(r, len);
	if (head <= 0xc9)
		return load_extension(r, len);
	if (head <= 0xdb)
		return load_text(r, len);
	return head <= 0xdd ? load_list(r, len, depth) : load_map(r, len, depth);
}

static int load_value(struct reader *r, unsigned depth)
{
	const unsigned char *at = take(r, 1);
	unsigned head = at ? *at : 0;

	if (!at)
		return -1;
	if (depth > CONTENT_MAX_DEPTH)
		return err_set(r->err, ERR_LIMIT, "msgpack: nested deeper than %d",
			       CONTENT_MAX_DEPTH);
	if (head <= 0x7f || head >= 0xe0) {
		str_addf(r->out, "%d", head <= 0x7f ? (int)head : (int)head - 256);
		return 0;
	}
	if (head <= 0x8f)
		return load_map(r, head & 0xf, depth + 1);
	if (head <= 0x9f)
		return load_list(r, head & 0xf, depth + 1);
	if (head <= 0xbf)
		return load_text(r, head & 0x1f);
	return load_long(r, head, depth + 1);
}

int msgpack_load(struct str *out, const char *data, size_t len, struct err *err)
{
	struct reader r = {
		.at = (const unsigned char *)data,
		.end = (const unsigned char *)data + len,
		.out = out,
		.err = err,
	};

	if (load_value(&r, 0) < 0)
		return -1;
	if (out->is_full)
		return err_set(err, ERR_LIMIT, "msgpack: more than %zu bytes as JSON", out->max);
	return r.at == r.end ? 0 : fail(&r, "more data behind the value");
}
