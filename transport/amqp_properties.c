#include "transport/amqp_properties.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "protocol/pyjson.h"
#include "transport/amqp_field.h"

/* Class id, weight and body size; flags. */
#define FIXED_BYTES 14

/* Bits of the flags, in the order in which the properties stand. */
enum {
	BIT_CONTENT_TYPE = 15,
	BIT_CONTENT_ENCODING = 14,
	BIT_HEADERS = 13,
	BIT_DELIVERY_MODE = 12,
	BIT_PRIORITY = 11,
	BIT_CORRELATION_ID = 10,
	BIT_REPLY_TO = 9,
	BIT_EXPIRATION = 8,
	BIT_TIMESTAMP = 6,
	BIT_LAST = 2,
	BIT_MORE = 0, /* another word of flags: no property has a bit there */
};

#define TIMESTAMP_END_S 253402300800u /* the year 10000 */

static uint64_t read_uint(const unsigned char *p, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = 0; i < bytes; i++)
		value = value << 8 | p[i];
	return value;
}

/* Values. The bytes were scanned: all lengths fit, nothing is nested too deep. */

static const unsigned char *read_value(struct arena *arena, const unsigned char *p,
				       struct value *ret);

static struct span read_text(struct arena *arena, const unsigned char *p, size_t len)
{
	struct span text = {(const char *)p, len};

	if (utf8_is_valid(text.data, len))
		return text;
	auto_free char *repaired = amqp_field_repair(text.data, len, &text.len);
	text.data = arena_dup(arena, repaired, text.len);
	return text;
}

/* Names end at a NUL here: nobody means a name that holds one. */
static struct span read_name(struct arena *arena, const unsigned char *p, size_t len)
{
	return read_text(arena, p, strnlen((const char *)p, len));
}

static struct value real_value(double number)
{
	if (isnan(number))
		return (struct value){.kind = VALUE_JSON, .json = pyjson_number("NaN", 3)};
	if (isinf(number) && number > 0)
		return (struct value){.kind = VALUE_JSON, .json = pyjson_number("Infinity", 8)};
	if (isinf(number))
		return (struct value){.kind = VALUE_JSON, .json = pyjson_number("-Infinity", 9)};
	return (struct value){.kind = VALUE_REAL, .real = number};
}

static double read_float(const unsigned char *p)
{
	uint32_t bits = (uint32_t)read_uint(p, 4);
	float number;

	memcpy(&number, &bits, sizeof(number));
	return (double)number;
}

static double read_double(const unsigned char *p)
{
	uint64_t bits = read_uint(p, 8);
	double number;

	memcpy(&number, &bits, sizeof(number));
	return number;
}

static json_t *take_json(struct value value)
{
	json_t *json = value_to_json(&value);

	value_drop(&value);
	return json;
}

static json_t *read_table(struct arena *arena, const unsigned char *p, const unsigned char *end)
{
	json_t *object = json_object();

	while (p < end) {
		struct span name = read_name(arena, p + 1, *p);
		struct value value;

		p = read_value(arena, p + 1 + *p, &value);
		json_object_setn_new_nocheck(object, name.data, name.len, take_json(value));
	}
	return object;
}

static json_t *read_array(struct arena *arena, const unsigned char *p, const unsigned char *end)
{
	json_t *array = json_array();

	while (p < end) {
		struct value value;

		p = read_value(arena, p, &value);
		json_array_append_new(array, take_json(value));
	}
	return array;
}

/* Bytes of a value, its kind included. */
static size_t value_size(const unsigned char *p)
{
	switch (*p) {
	case 't':
	case 'b':
	case 'B':
		return 2;
	case 's':
	case 'u':
		return 3;
	case 'I':
	case 'i':
	case 'f':
		return 5;
	case 'D':
		return 6;
	case 'l':
	case 'L':
	case 'd':
	case 'T':
		return 9;
	case 'S':
	case 'x':
	case 'F':
	case 'A':
		return 5 + (size_t)read_uint(p + 1, 4);
	default: /* 'V' */
		return 1;
	}
}

/* What may turn out to be a VALUE_LIST or VALUE_JSON makes a tree of the array around it. */
static bool is_plain(unsigned char kind)
{
	return kind != 'F' && kind != 'A' && kind != 'f' && kind != 'd';
}

static struct value read_list(struct arena *arena, const unsigned char *p, const unsigned char *end)
{
	struct value list = {.kind = VALUE_LIST}, *items;
	const unsigned char *at;

	for (at = p; at < end && is_plain(*at); at += value_size(at))
		list.list.count++;
	if (at < end)
		return (struct value){.kind = VALUE_JSON, .json = read_array(arena, p, end)};
	items = arena_alloc(arena, list.list.count * sizeof(*items));
	for (size_t i = 0; i < list.list.count; i++)
		p = read_value(arena, p, &items[i]);
	list.list.items = items;
	return list;
}

static struct value int_value(int64_t number)
{
	return (struct value){.kind = VALUE_INT, .integer = number};
}

/* Returns where the next one begins. */
static const unsigned char *read_value(struct arena *arena, const unsigned char *p,
				       struct value *ret)
{
	const unsigned char *data = p + 1, *end;

	*ret = (struct value){.kind = VALUE_NULL};
	if (*p == 'V') /* every second one */
		return data;
	end = p + value_size(p);
	switch (*p) {
	case 't':
		*ret = (struct value){.kind = VALUE_BOOL, .truth = *data != 0};
		break;
	case 'b':
		*ret = int_value((int8_t)*data);
		break;
	case 'B':
		*ret = int_value(*data);
		break;
	case 's':
		*ret = int_value((int16_t)read_uint(data, 2));
		break;
	case 'I':
		*ret = int_value((int32_t)read_uint(data, 4));
		break;
	case 'u':
	case 'i':
		*ret = int_value((int64_t)read_uint(data, (size_t)(end - data)));
		break;
	case 'l':
	case 'L': /* RabbitMQ and py-amqp mean a signed one with both letters */
	case 'T':
		*ret = int_value((int64_t)read_uint(data, 8));
		break;
	case 'f':
		*ret = real_value(read_float(data));
		break;
	case 'd':
		*ret = real_value(read_double(data));
		break;
	case 'D':
		*ret = real_value((double)(int32_t)read_uint(data + 1, 4) / pow(10, *data));
		break;
	case 'S':
	case 'x':
		ret->kind = VALUE_TEXT;
		ret->text = read_text(arena, data + 4, (size_t)(end - data) - 4);
		break;
	case 'A':
		*ret = read_list(arena, data + 4, end);
		break;
	case 'F':
		ret->kind = data + 4 < end ? VALUE_JSON : VALUE_EMPTY;
		if (data + 4 < end)
			ret->json = read_table(arena, data + 4, end);
		break;
	default: /* no other kind gets past the scan */
		break;
	}
	return end;
}

/* Properties */

struct reader {
	struct message *message;
	unsigned char *p, *end; /* a copy that may be written to */
};

static int fail_short(struct err *err)
{
	return err_set(err, ERR_PROTOCOL, "a property is longer than its frame");
}

static int read_octet(struct reader *r, int *ret, struct err *err)
{
	if (r->p == r->end)
		return fail_short(err);
	*ret = *r->p++;
	return 0;
}

/* Moves the text over its length, which leaves room for a NUL. */
static int read_short(struct reader *r, const char **ret, struct err *err)
{
	size_t len;

	if (r->p == r->end || *r->p >= r->end - r->p)
		return fail_short(err);
	len = *r->p;
	memmove(r->p, r->p + 1, len);
	r->p[len] = '\0';
	*ret = (const char *)r->p;
	r->p += len + 1;
	return 0;
}

static int read_headers(struct reader *r, struct err *err)
{
	struct message *m = r->message;
	size_t used;
	unsigned count;
	const unsigned char *p = r->p + 4, *end;

	if (amqp_field_scan(r->p, (size_t)(r->end - r->p), &used, &count, err) != 0)
		return -1;
	end = r->p += used;
	message_headers_begin(m, count);
	while (p < end) {
		size_t len = *p;
		struct span text = {(const char *)p + 1, len};
		enum header_name name = header_name_of(text.data, len);
		struct value value;

		if (name == HEADER_CUSTOM) {
			text = read_name(&m->arena, p + 1, len);
			name = header_name_of(text.data, text.len);
		}
		p = read_value(&m->arena, p + 1 + len, &value);
		message_headers_add(m, name, text, value);
	}
	message_headers_end(m);
	return 0;
}

static int read_property(struct reader *r, unsigned bit, struct err *err)
{
	struct message *m = r->message;
	const char *ignored;

	switch (bit) {
	case BIT_CONTENT_TYPE:
		return read_short(r, &m->content_type, err);
	case BIT_CONTENT_ENCODING:
		return read_short(r, &m->content_encoding, err);
	case BIT_HEADERS:
		return read_headers(r, err);
	case BIT_DELIVERY_MODE:
		return read_octet(r, &m->delivery_mode, err);
	case BIT_PRIORITY:
		return read_octet(r, &m->priority, err);
	case BIT_CORRELATION_ID:
		return read_short(r, &m->correlation_id, err);
	case BIT_REPLY_TO:
		return read_short(r, &m->reply_to, err);
	case BIT_EXPIRATION:
		return read_short(r, &m->expiration, err);
	case BIT_TIMESTAMP:
		if (r->end - r->p < 8)
			return fail_short(err);
		if (read_uint(r->p, 8) < TIMESTAMP_END_S)
			m->sent_us = (int64_t)read_uint(r->p, 8) * 1000000;
		r->p += 8;
		return 0;
	default: /* message id, type, user id, app id, cluster id */
		return read_short(r, &ignored, err);
	}
}

int amqp_properties_read(struct message *m, struct span payload, struct err *err)
{
	struct reader r = {.message = m};
	unsigned flags;

	if (payload.len < FIXED_BYTES)
		return err_set(err, ERR_PROTOCOL, "content header of %zu bytes", payload.len);
	r.p = (unsigned char *)arena_dup(&m->arena, payload.data, payload.len);
	r.end = r.p + payload.len;
	r.p += FIXED_BYTES;
	flags = (unsigned)read_uint(r.p - 2, 2);
	if (flags & 1u << BIT_MORE)
		return err_set(err, ERR_PROTOCOL, "content header with unknown properties");
	for (unsigned bit = BIT_CONTENT_TYPE; bit >= BIT_LAST; bit--)
		if (flags & 1u << bit && read_property(&r, bit, err) != 0)
			return -1;
	return 0;
}
