#include "transport/amqp_field.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/text.h"
#include "protocol/pyjson.h"

/* Scanning raw bytes */

struct scan {
	const unsigned char *data;
	size_t pos;
	size_t end[AMQP_FIELD_MAX_DEPTH]; /* of the tables and arrays around us */
	bool is_array[AMQP_FIELD_MAX_DEPTH];
	unsigned depth;
	unsigned values;
};

static uint32_t read_u32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int scan_skip(struct scan *s, size_t count, struct err *err)
{
	if (count > s->end[s->depth - 1] - s->pos)
		return err_set(err, ERR_PROTOCOL, "a field is longer than its table");
	s->pos += count;
	return 0;
}

/* A 4-byte length and what it counts; *ret_len gets the length. */
static int scan_length(struct scan *s, size_t *ret_len, struct err *err)
{
	if (scan_skip(s, 4, err) != 0)
		return -1;
	*ret_len = read_u32(s->data + s->pos - 4);
	if (*ret_len > s->end[s->depth - 1] - s->pos)
		return err_set(err, ERR_PROTOCOL, "a field is longer than its table");
	return 0;
}

static int scan_enter(struct scan *s, bool is_array, struct err *err)
{
	size_t len;

	if (s->depth == AMQP_FIELD_MAX_DEPTH)
		return err_set(err, ERR_LIMIT, "tables nested deeper than %d",
			       AMQP_FIELD_MAX_DEPTH);
	if (scan_length(s, &len, err) != 0)
		return -1;
	s->end[s->depth] = s->pos + len;
	s->is_array[s->depth] = is_array;
	s->depth++;
	return 0;
}

static int scan_value(struct scan *s, struct err *err)
{
	size_t len;
	unsigned char kind;

	if (++s->values > AMQP_FIELD_MAX_VALUES)
		return err_set(err, ERR_LIMIT, "more than %d values in a table",
			       AMQP_FIELD_MAX_VALUES);
	if (scan_skip(s, 1, err) != 0)
		return -1;
	kind = s->data[s->pos - 1];
	switch (kind) {
	case 'V':
		return 0;
	case 't':
	case 'b':
	case 'B':
		return scan_skip(s, 1, err);
	case 's':
	case 'u':
		return scan_skip(s, 2, err);
	case 'I':
	case 'i':
	case 'f':
		return scan_skip(s, 4, err);
	case 'D':
		return scan_skip(s, 5, err);
	case 'l':
	case 'L':
	case 'd':
	case 'T':
		return scan_skip(s, 8, err);
	case 'S':
	case 'x':
		return scan_length(s, &len, err) != 0 ? -1 : scan_skip(s, len, err);
	case 'F':
	case 'A':
		return scan_enter(s, kind == 'A', err);
	default:
		return err_set(err, ERR_PROTOCOL, "unknown kind of field 0x%02x", kind);
	}
}

static int scan_entry(struct scan *s, struct err *err)
{
	if (!s->is_array[s->depth - 1] &&
	    (scan_skip(s, 1, err) != 0 || scan_skip(s, s->data[s->pos - 1], err) != 0))
		return -1;
	return scan_value(s, err);
}

int amqp_field_scan(const void *data, size_t len, size_t *ret_used, unsigned *ret_entries,
		    struct err *err)
{
	struct scan s;
	unsigned entries = 0;

	s.data = data; /* the two arrays are filled as far as they are used */
	s.pos = 0;
	s.end[0] = len;
	s.depth = 1;
	s.values = 0;
	if (scan_enter(&s, false, err) != 0)
		return -1;
	while (s.depth > 1) {
		if (s.pos == s.end[s.depth - 1])
			s.depth--;
		else {
			entries += s.depth == 2;
			if (scan_entry(&s, err) != 0)
				return -1;
		}
	}
	if (ret_entries)
		*ret_entries = entries;
	if (ret_used)
		*ret_used = s.pos;
	return 0;
}

/* To JSON */

/* Length of the valid UTF-8 sequence at the front, 0 when there is none. */
static size_t utf8_step(const char *text, size_t len)
{
	for (size_t n = 1; n <= 4 && n <= len; n++)
		if (utf8_is_valid(text, n))
			return n;
	return 0;
}

char *amqp_field_repair(const char *text, size_t len, size_t *ret_len)
{
	auto_str out;

	str_init(&out, STR_MAX_DEFAULT);
	for (size_t i = 0; i < len;) {
		size_t n = utf8_step(text + i, len - i);
		if (n > 0)
			str_add(&out, text + i, n);
		else
			str_puts(&out, "\xef\xbf\xbd");
		i += n > 0 ? n : 1;
	}
	*ret_len = out.len;
	return str_detach(&out);
}

json_t *amqp_field_string(const void *data, size_t len)
{
	if (len == 0)
		return json_string("");
	json_t *value = json_stringn(data, len);
	if (value)
		return value;
	auto_free char *repaired = amqp_field_repair(data, len, &len);
	return json_stringn_nocheck(repaired, len);
}

static json_t *real_to_json(double value)
{
	if (isnan(value))
		return pyjson_number("NaN", 3);
	if (isinf(value))
		return value > 0 ? pyjson_number("Infinity", 8) : pyjson_number("-Infinity", 9);
	return json_real(value);
}

static json_t *array_to_json(const amqp_array_t *array);

static json_t *field_to_json(const amqp_field_value_t *field)
{
	switch ((amqp_field_value_kind_t)field->kind) {
	case AMQP_FIELD_KIND_BOOLEAN:
		return json_boolean(field->value.boolean);
	case AMQP_FIELD_KIND_I8:
		return json_integer(field->value.i8);
	case AMQP_FIELD_KIND_U8:
		return json_integer(field->value.u8);
	case AMQP_FIELD_KIND_I16:
		return json_integer(field->value.i16);
	case AMQP_FIELD_KIND_U16:
		return json_integer(field->value.u16);
	case AMQP_FIELD_KIND_I32:
		return json_integer(field->value.i32);
	case AMQP_FIELD_KIND_U32:
		return json_integer(field->value.u32);
	case AMQP_FIELD_KIND_I64:
	case AMQP_FIELD_KIND_U64: /* RabbitMQ and py-amqp mean a signed one with both letters */
		return json_integer(field->value.i64);
	case AMQP_FIELD_KIND_TIMESTAMP:
		return json_integer((json_int_t)field->value.u64);
	case AMQP_FIELD_KIND_F32:
		return real_to_json((double)field->value.f32);
	case AMQP_FIELD_KIND_F64:
		return real_to_json(field->value.f64);
	case AMQP_FIELD_KIND_DECIMAL:
		return real_to_json((double)(int32_t)field->value.decimal.value /
				    pow(10, field->value.decimal.decimals));
	case AMQP_FIELD_KIND_UTF8:
	case AMQP_FIELD_KIND_BYTES:
		return amqp_field_string(field->value.bytes.bytes, field->value.bytes.len);
	case AMQP_FIELD_KIND_ARRAY:
		return array_to_json(&field->value.array);
	case AMQP_FIELD_KIND_TABLE:
		return amqp_field_to_json(&field->value.table);
	case AMQP_FIELD_KIND_VOID:
	default:
		return json_null();
	}
}

static json_t *array_to_json(const amqp_array_t *array)
{
	json_t *list = json_array();

	for (int i = 0; i < array->num_entries; i++)
		json_array_append_new(list, field_to_json(&array->entries[i]));
	return list;
}

json_t *amqp_field_to_json(const amqp_table_t *table)
{
	json_t *object = json_object();

	for (int i = 0; i < table->num_entries; i++) {
		const amqp_table_entry_t *entry = &table->entries[i];
		json_t *value = field_to_json(&entry->value);
		/* Names end at a NUL here: nobody means a name that holds one. */
		size_t len = entry->key.len ? strnlen(entry->key.bytes, entry->key.len) : 0;
		auto_free char *key = mem_dup(entry->key.bytes, len);
		if (json_object_set_new(object, key, json_incref(value)) != 0) {
			auto_free char *repaired = amqp_field_repair(key, len, &len);
			json_object_set_new_nocheck(object, repaired, json_incref(value));
		}
		json_decref(value);
	}
	return object;
}

/* From JSON */

static void *pool_alloc(amqp_pool_t *pool, size_t count, size_t size)
{
	void *memory = amqp_pool_alloc(pool, count * size + 1);

	if (!memory)
		abort(); /* as mem_alloc does */
	memset(memory, 0, count * size);
	return memory;
}

static int value_from_json(const json_t *value, amqp_pool_t *pool, unsigned depth,
			   amqp_field_value_t *ret, struct err *err);

/* The library's structs know no const; it only reads them. */
static amqp_bytes_t borrow(const char *text, size_t len)
{
	amqp_bytes_t bytes = {.len = len};

	memcpy(&bytes.bytes, &text, sizeof(text));
	return bytes;
}

static int array_from_json(const json_t *list, amqp_pool_t *pool, unsigned depth, amqp_array_t *ret,
			   struct err *err)
{
	size_t count = json_array_size(list);

	ret->num_entries = (int)count;
	ret->entries = pool_alloc(pool, count, sizeof(ret->entries[0]));
	for (size_t i = 0; i < count; i++)
		if (value_from_json(json_array_get(list, i), pool, depth + 1, &ret->entries[i],
				    err) != 0)
			return -1;
	return 0;
}

static int table_from_json(const json_t *object, amqp_pool_t *pool, unsigned depth,
			   amqp_table_t *ret, struct err *err)
{
	void *iter = json_object_iter((json_t *)(uintptr_t)object);
	size_t i = 0;

	ret->num_entries = (int)json_object_size(object);
	ret->entries = pool_alloc(pool, json_object_size(object), sizeof(ret->entries[0]));
	for (; iter; iter = json_object_iter_next((json_t *)(uintptr_t)object, iter), i++) {
		const char *key = json_object_iter_key(iter);
		if (strlen(key) > 255)
			return err_set(err, ERR_LIMIT, "header name of more than 255 bytes");
		ret->entries[i].key = borrow(key, strlen(key));
		if (value_from_json(json_object_iter_value(iter), pool, depth + 1,
				    &ret->entries[i].value, err) != 0)
			return -1;
	}
	return 0;
}

static void integer_from_json(json_int_t number, amqp_field_value_t *ret)
{
	if (number > INT32_MIN && number <= INT32_MAX) {
		ret->kind = AMQP_FIELD_KIND_I32;
		ret->value.i32 = (int32_t)number;
	} else {
		ret->kind = AMQP_FIELD_KIND_I64;
		ret->value.i64 = number;
	}
}

/* Integers over 64 bits, NaN and infinities travel as text: the latter have a form on the wire, but
 * RabbitMQ closes the connection that sends it. */
static void number_from_text(const char *token, amqp_field_value_t *ret)
{
	ret->kind = AMQP_FIELD_KIND_UTF8;
	ret->value.bytes = borrow(token, strlen(token));
}

static int value_from_json(const json_t *value, amqp_pool_t *pool, unsigned depth,
			   amqp_field_value_t *ret, struct err *err)
{
	const char *token;

	if (depth > AMQP_FIELD_MAX_DEPTH)
		return err_set(err, ERR_LIMIT, "headers nested deeper than %d",
			       AMQP_FIELD_MAX_DEPTH);
	ret->kind = AMQP_FIELD_KIND_VOID;
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		if (pyjson_tag(value, &token) == PYJSON_NUMBER) {
			number_from_text(token, ret);
			return 0;
		}
		ret->kind = AMQP_FIELD_KIND_TABLE;
		return table_from_json(value, pool, depth, &ret->value.table, err);
	case JSON_ARRAY:
		ret->kind = AMQP_FIELD_KIND_ARRAY;
		return array_from_json(value, pool, depth, &ret->value.array, err);
	case JSON_STRING:
		ret->kind = AMQP_FIELD_KIND_UTF8;
		ret->value.bytes = borrow(json_string_value(value), json_string_length(value));
		return 0;
	case JSON_INTEGER:
		integer_from_json(json_integer_value(value), ret);
		return 0;
	case JSON_REAL:
		ret->kind = AMQP_FIELD_KIND_F64;
		ret->value.f64 = json_real_value(value);
		return 0;
	case JSON_TRUE:
	case JSON_FALSE:
		ret->kind = AMQP_FIELD_KIND_BOOLEAN;
		ret->value.boolean = json_is_true(value);
		return 0;
	case JSON_NULL:
	default:
		return 0;
	}
}

int amqp_field_from_json(const json_t *object, amqp_pool_t *pool, amqp_table_t *ret_table,
			 struct err *err)
{
	*ret_table = (amqp_table_t){0};
	return object ? table_from_json(object, pool, 0, ret_table, err) : 0;
}
