#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "transport/amqp_field.h"

/* Scans and decodes the raw bytes of one table, its length not included. */
static json_t *decode(const char *bytes, size_t len)
{
	char data[1024];
	amqp_pool_t pool;
	amqp_table_t table;
	size_t offset = 0, used = 0;
	struct err err = {0};
	amqp_bytes_t encoded = {.len = len + 4, .bytes = data};

	data[0] = data[1] = 0;
	data[2] = (char)(len >> 8);
	data[3] = (char)len;
	memcpy(data + 4, bytes, len);
	ck_assert_msg(amqp_field_scan(data, len + 4, &used, NULL, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(used, len + 4);
	init_amqp_pool(&pool, 1024);
	ck_assert_int_eq(amqp_decode_table(encoded, &pool, &table, &offset), 0);
	json_t *object = amqp_field_to_json(&table);
	empty_amqp_pool(&pool);
	return object;
}
#define DECODE(literal) decode(literal, sizeof(literal) - 1)

static void expect(json_t *got, const char *json)
{
	json_t *want = json_loads(json, JSON_DECODE_ANY, NULL);

	ck_assert_ptr_nonnull(want);
	auto_free char *text = json_dumps(got, JSON_ENCODE_ANY);
	ck_assert_msg(json_equal(got, want), "%s is not %s", text, json);
	json_decref(got);
	json_decref(want);
}

/* T-8 */
START_TEST(integers_of_every_width_and_sign_are_read)
{
	expect(DECODE("\1ab\xfe"), "{\"a\": -2}");
	expect(DECODE("\1aB\xfe"), "{\"a\": 254}");
	expect(DECODE("\1as\xff\xfe"), "{\"a\": -2}");
	expect(DECODE("\1au\xff\xfe"), "{\"a\": 65534}");
	expect(DECODE("\1aI\xff\xff\xff\xfe"), "{\"a\": -2}");
	expect(DECODE("\1ai\xff\xff\xff\xfe"), "{\"a\": 4294967294}");
	expect(DECODE("\1al\xff\xff\xff\xff\xff\xff\xff\xfe"), "{\"a\": -2}");
	expect(DECODE("\1aL\xff\xff\xff\xff\xff\xff\xff\xfe"), "{\"a\": -2}");
	expect(DECODE("\1al\0\0\1\0\0\0\0\0"), "{\"a\": 1099511627776}");
}
END_TEST

/* T-8 */
START_TEST(void_and_the_other_kinds_are_read)
{
	expect(DECODE("\1aV"), "{\"a\": null}");
	expect(DECODE("\1at\1\1bt\0"), "{\"a\": true, \"b\": false}");
	expect(DECODE("\1aT\0\0\0\0\1\2\3\4"), "{\"a\": 16909060}");
	expect(DECODE("\1aD\2\0\0\0\x7d"), "{\"a\": 1.25}");
	expect(DECODE("\1af\x3f\xc0\0\0"), "{\"a\": 1.5}");
	expect(DECODE("\1ad\x3f\xf8\0\0\0\0\0\0"), "{\"a\": 1.5}");
	expect(DECODE("\1aS\0\0\0\2hi\1bx\0\0\0\1z"), "{\"a\": \"hi\", \"b\": \"z\"}");
	expect(DECODE("\1aS\0\0\0\0"), "{\"a\": \"\"}");
	expect(DECODE("\1aA\0\0\0\3VVV"), "{\"a\": [null, null, null]}");
	expect(DECODE("\1aF\0\0\0\7\1bA\0\0\0\0"), "{\"a\": {\"b\": []}}");
	expect(DECODE(""), "{}");
}
END_TEST

START_TEST(bytes_that_are_not_utf8_become_replacement_characters)
{
	expect(DECODE("\1aS\0\0\0\3x\xff\xc3"), "{\"a\": \"x\\ufffd\\ufffd\"}");
	expect(DECODE("\2\xff"
		      "bV"),
	       "{\"\\ufffdb\": null}");
	expect(DECODE("\3a\0bV"), "{\"a\": null}"); /* a name ends at its NUL */
	json_t *object = DECODE("\1aS\0\0\0\3x\0y");
	ck_assert_uint_eq(json_string_length(json_object_get(object, "a")), 3);
	json_decref(object);
}
END_TEST

/* RabbitMQ closes the connection that sends them as numbers. */
START_TEST(nan_and_infinity_are_read_and_sent_as_text)
{
	json_t *object = DECODE("\1ad\x7f\xf8\0\0\0\0\0\0\1bd\xff\xf0\0\0\0\0\0\0");
	const char *token;
	amqp_pool_t pool;
	amqp_table_t table;

	ck_assert_int_eq(pyjson_tag(json_object_get(object, "a"), &token), PYJSON_NUMBER);
	ck_assert_str_eq(token, "NaN");
	init_amqp_pool(&pool, 1024);
	ck_assert_int_eq(amqp_field_from_json(object, &pool, &table, NULL), 0);
	ck_assert_int_eq(table.entries[0].value.kind, 'S');
	ck_assert_int_eq(table.entries[1].value.kind, 'S');
	ck_assert_mem_eq(table.entries[1].value.value.bytes.bytes, "-Infinity", 9);
	empty_amqp_pool(&pool);
	json_decref(object);
}
END_TEST

static void refused(const char *bytes, size_t len, enum err_code code)
{
	struct err err = {0};

	ck_assert_int_eq(amqp_field_scan(bytes, len, NULL, NULL, &err), -1);
	ck_assert_int_eq(err.code, code);
}
#define REFUSED(literal) refused(literal, sizeof(literal) - 1, ERR_PROTOCOL)

START_TEST(broken_tables_are_refused)
{
	REFUSED("");
	REFUSED("\0\0\0");
	REFUSED("\0\0\0\1");
	REFUSED("\xff\xff\xff\xff\1aV");
	REFUSED("\0\0\0\1\1aV");		 /* name longer than the table */
	REFUSED("\0\0\0\2\1a");			 /* no kind */
	REFUSED("\0\0\0\3\1aI");		 /* no value */
	REFUSED("\0\0\0\3\1aZ");		 /* unknown kind */
	REFUSED("\0\0\0\7\1aS\0\0\0\1");	 /* text outside */
	REFUSED("\0\0\0\7\1aF\0\0\0\1zzzz");	 /* inner table outside the outer one */
	REFUSED("\0\0\0\7\1aA\xff\xff\xff\xff"); /* wraps around */
}
END_TEST

static size_t nest(char *to, unsigned depth)
{
	size_t size = 4 + depth * (size_t)7;

	for (unsigned i = 0; i <= depth; i++) {
		size_t len = size - i * (size_t)7 - 4;
		to[i * 7] = to[i * 7 + 1] = 0;
		to[i * 7 + 2] = (char)(len >> 8);
		to[i * 7 + 3] = (char)len;
		if (i < depth)
			memcpy(to + i * 7 + 4, "\1aF", 3);
	}
	return size;
}

START_TEST(depth_and_number_of_values_are_bounded)
{
	static char data[40000];

	ck_assert_int_eq(
		amqp_field_scan(data, nest(data, AMQP_FIELD_MAX_DEPTH - 2), NULL, NULL, NULL), 0);
	refused(data, nest(data, AMQP_FIELD_MAX_DEPTH - 1), ERR_LIMIT);
	refused(data, nest(data, 5000), ERR_LIMIT);

	memset(data, 'V', sizeof(data));
	memcpy(data, "\0\0\0\0\1aA\0\0\0\0", 11);
	data[2] = (char)((AMQP_FIELD_MAX_VALUES + 8) >> 8);
	data[3] = (char)(AMQP_FIELD_MAX_VALUES + 8);
	data[9] = (char)((AMQP_FIELD_MAX_VALUES + 1) >> 8);
	data[10] = (char)(AMQP_FIELD_MAX_VALUES + 1);
	refused(data, sizeof(data), ERR_LIMIT);
}
END_TEST

START_TEST(the_entries_of_the_outer_table_are_counted)
{
	static const char data[] = "\0\0\0\x19\1aV\1bA\0\0\0\2VV\1cF\0\0\0\3\1dV\1eV";
	unsigned entries = 0;

	ck_assert_int_eq(amqp_field_scan(data, sizeof(data) - 1, NULL, &entries, NULL), 0);
	ck_assert_uint_eq(entries, 4);
}
END_TEST

START_TEST(json_becomes_the_kinds_that_python_writes)
{
	static const char kinds[] = "IIllldtVSAF";
	json_t *object =
		json_pack("{s:i,s:i,s:I,s:I,s:I,s:f,s:b,s:n,s:s,s:[i],s:{}}", "a", 1, "b",
			  -2147483647, "c", (json_int_t)2147483648, "d", (json_int_t)-2147483648,
			  "e", (json_int_t)1 << 62, "f", 0.5, "g", 1, "h", "i", "x", "j", 7, "k");
	amqp_pool_t pool;
	amqp_table_t table;

	init_amqp_pool(&pool, 1024);
	ck_assert_int_eq(amqp_field_from_json(object, &pool, &table, NULL), 0);
	ck_assert_int_eq(table.num_entries, 11);
	for (int i = 0; i < 11; i++)
		ck_assert_int_eq(table.entries[i].value.kind, kinds[i]);
	json_t *back = amqp_field_to_json(&table);
	ck_assert(json_equal(object, back));
	json_decref(back);
	json_decref(object);
	empty_amqp_pool(&pool);
}
END_TEST

START_TEST(what_does_not_fit_the_wire_is_refused_or_written_as_text)
{
	amqp_pool_t pool;
	amqp_table_t table;
	char name[300];
	json_t *object = json_object();
	json_t *deep = json_object();

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	init_amqp_pool(&pool, 1024);
	json_object_set_new(object, name, json_null());
	ck_assert_int_eq(amqp_field_from_json(object, &pool, &table, NULL), -1);
	json_object_clear(object);
	json_object_set_new(object, "big", pyjson_number("123456789012345678901", 21));
	ck_assert_int_eq(amqp_field_from_json(object, &pool, &table, NULL), 0);
	ck_assert_int_eq(table.entries[0].value.kind, 'S');
	for (int i = 0; i < 100; i++) {
		json_t *outer = json_object();
		json_object_set_new(outer, "x", deep);
		deep = outer;
	}
	ck_assert_int_eq(amqp_field_from_json(deep, &pool, &table, NULL), -1);
	json_decref(deep);
	json_decref(object);
	empty_amqp_pool(&pool);
}
END_TEST
