#include "transport/amqp_properties.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "tests/headers_json.h"
#include "transport/amqp_field.h"

#define FRONT "\0\x3c\0\0\0\0\0\0\0\0\0\2"

static char *dump(json_t *object)
{
	auto_str text = STR_INIT(1 << 20);

	ck_assert_int_eq(pyjson_dump(&text, object), 0);
	json_decref(object);
	return str_detach(&text);
}

/* What the library and amqp_field_to_json() make of the same table. */
static char *decode_by_library(const char *bytes, size_t len)
{
	amqp_pool_t pool;
	amqp_table_t table;
	size_t offset = 0;
	auto_free char *copy = mem_dup(bytes, len);
	amqp_bytes_t encoded = {.len = len, .bytes = copy};

	init_amqp_pool(&pool, 1024);
	ck_assert_int_eq(amqp_decode_table(encoded, &pool, &table, &offset), 0);
	char *text = dump(amqp_field_to_json(&table));

	empty_amqp_pool(&pool);
	return text;
}

/* A table's raw bytes, its length not included, as the only property. */
static void decode(struct message *m, const char *bytes, size_t len)
{
	auto_str payload = STR_INIT(1 << 20);
	const char size[4] = {(char)(len >> 24), (char)(len >> 16), (char)(len >> 8), (char)len};
	struct err err = {0};

	str_add(&payload, FRONT "\x20\0", 14);
	str_add(&payload, size, 4);
	str_add(&payload, bytes, len);
	message_init(m);
	ck_assert_msg(amqp_properties_read(m, (struct span){payload.data, payload.len}, &err) == 0,
		      "%s", err.text);
	auto_free char *theirs = decode_by_library(payload.data + 14, payload.len - 14);
	auto_free char *ours = dump(message_headers_json(m));

	ck_assert_str_eq(ours, theirs);
}

static void expect(const char *bytes, size_t len, const char *json)
{
	struct message m;

	decode(&m, bytes, len);
	auto_free char *text = dump(message_headers_json(&m));

	ck_assert_str_eq(text, json);
	message_clear(&m);
}
#define EXPECT(literal, json) expect(literal, sizeof(literal) - 1, json)

/* T-8 */
START_TEST(numbers_of_every_width_and_sign_are_read)
{
	EXPECT("\1ab\xfe", "{\"a\": -2}");
	EXPECT("\1aB\xfe", "{\"a\": 254}");
	EXPECT("\1as\xff\xfe", "{\"a\": -2}");
	EXPECT("\1au\xff\xfe", "{\"a\": 65534}");
	EXPECT("\1aI\xff\xff\xff\xfe", "{\"a\": -2}");
	EXPECT("\1ai\xff\xff\xff\xfe", "{\"a\": 4294967294}");
	EXPECT("\1al\xff\xff\xff\xff\xff\xff\xff\xfe", "{\"a\": -2}");
	EXPECT("\1aL\xff\xff\xff\xff\xff\xff\xff\xfe", "{\"a\": -2}");
	EXPECT("\1aT\0\0\0\0\1\2\3\4", "{\"a\": 16909060}");
	EXPECT("\1aD\2\0\0\0\x7d", "{\"a\": 1.25}");
	EXPECT("\1aD\xff\x80\0\0\0", "{\"a\": -2.147483648e-246}");
	EXPECT("\1af\x3f\xc0\0\0", "{\"a\": 1.5}");
	EXPECT("\1ad\x3f\xf8\0\0\0\0\0\0", "{\"a\": 1.5}");
	EXPECT("\1ad\x7f\xf8\0\0\0\0\0\0\1bd\xff\xf0\0\0\0\0\0\0\1cf\x7f\x80\0\0",
	       "{\"a\": NaN, \"b\": -Infinity, \"c\": Infinity}");
}
END_TEST

/* T-8 */
START_TEST(the_other_kinds_are_read)
{
	EXPECT("", "{}");
	EXPECT("\1aV", "{\"a\": null}");
	EXPECT("\1at\1\1bt\0\1ct\x80", "{\"a\": true, \"b\": false, \"c\": true}");
	EXPECT("\1aS\0\0\0\2hi\1bx\0\0\0\1z\1cS\0\0\0\0",
	       "{\"a\": \"hi\", \"b\": \"z\", \"c\": \"\"}");
	EXPECT("\1aA\0\0\0\4VVt\1", "{\"a\": [null, null, true]}");
	EXPECT("\1aA\0\0\0\0\1bF\0\0\0\0", "{\"a\": [], \"b\": {}}");
	EXPECT("\1aF\0\0\0\7\1bA\0\0\0\0", "{\"a\": {\"b\": []}}");
	EXPECT("\1aA\0\0\0\x12VF\0\0\0\0A\0\0\0\2B\7x\0\0\0\0\1bV",
	       "{\"a\": [null, {}, [7], \"\"], \"b\": null}");
	EXPECT("\1aA\0\0\0\x0a"
	       "d\x3f\xf8\0\0\0\0\0\0V",
	       "{\"a\": [1.5, null]}");
}
END_TEST

START_TEST(bytes_that_are_not_utf8_become_replacement_characters)
{
	EXPECT("\1aS\0\0\0\3x\xff\xc3", "{\"a\": \"x\\ufffd\\ufffd\"}");
	EXPECT("\1aA\0\0\0\6x\0\0\0\1\xff", "{\"a\": [\"\\ufffd\"]}");
	EXPECT("\1aF\0\0\0\x09\2\xff"
	       "bS\0\0\0\1\x80",
	       "{\"a\": {\"\\ufffdb\": \"\\ufffd\"}}");
	EXPECT("\2\xff"
	       "bV",
	       "{\"\\ufffdb\": null}");
	EXPECT("\1aS\0\0\0\3x\0y", "{\"a\": \"x\\u0000y\"}");
	EXPECT("\1aS\0\0\0\x14plain for long \xc3\xa9\xed\xa0\x80",
	       "{\"a\": \"plain for long \\u00e9\\ufffd\\ufffd\\ufffd\"}");
}
END_TEST

START_TEST(a_name_ends_at_its_nul_and_the_last_value_of_a_name_counts)
{
	struct message m;

	EXPECT("\3a\0bV", "{\"a\": null}");
	EXPECT("\1aB\1\1bB\2\3a\0bB\3\1aF\0\0\0\3\1xV", "{\"a\": {\"x\": null}, \"b\": 2}");
	EXPECT("\1aF\0\0\0\x10\1xB\1\1yV\3x\0zB\2\1xV\1bV",
	       "{\"a\": {\"x\": null, \"y\": null}, \"b\": null}");
	EXPECT("\1\xff"
	       "B\1\3\xef\xbf\xbd"
	       "B\2",
	       "{\"\\ufffd\": 2}");
	decode(&m, "\6task\0xB\5\4taskB\6", 16);
	ck_assert(message_header(&m, HEADER_TASK)->integer == 6);
	ck_assert_uint_eq(m.header_count, 1);
	message_clear(&m);
}
END_TEST

static const char all[] = FRONT "\xff\xfc\4text\3utf\0\0\0\3\1aV\2\7\4corr\2re\3"
				"250\1m\0\0\0\0\0\0\0\1"
				"\1t\1u\1a\1c";

START_TEST(every_property_is_read_where_it_stands)
{
	struct message m;
	struct err err = {0};

	message_init(&m);
	ck_assert_msg(amqp_properties_read(&m, (struct span){all, sizeof(all) - 1}, &err) == 0,
		      "%s", err.text);
	ck_assert_str_eq(m.content_type, "text");
	ck_assert_str_eq(m.content_encoding, "utf");
	ck_assert_uint_eq(m.header_count, 1);
	ck_assert_int_eq(m.delivery_mode, 2);
	ck_assert_int_eq(m.priority, 7);
	ck_assert_str_eq(m.correlation_id, "corr");
	ck_assert_str_eq(m.reply_to, "re");
	ck_assert_str_eq(m.expiration, "250");
	ck_assert_int_eq(m.sent_us, 1000000);
	message_clear(&m);
}
END_TEST

START_TEST(absent_properties_stay_absent)
{
	static const char none[] = FRONT "\0\0";
	struct message m;

	message_init(&m);
	ck_assert_int_eq(amqp_properties_read(&m, (struct span){none, sizeof(none) - 1}, NULL), 0);
	ck_assert_ptr_null(m.content_type);
	ck_assert_ptr_null(m.expiration);
	ck_assert_int_eq(m.priority, -1);
	ck_assert_int_eq(m.delivery_mode, 0);
	ck_assert_uint_eq(m.header_count, 0);
	ck_assert_int_eq(m.sent_us, 0);
	message_clear(&m);
}
END_TEST

START_TEST(a_time_out_of_all_bounds_is_none)
{
	static const char late[] = FRONT "\0\x40\xff\xff\xff\xff\xff\xff\xff\xff";
	struct message m;

	message_init(&m);
	ck_assert_int_eq(amqp_properties_read(&m, (struct span){late, sizeof(late) - 1}, NULL), 0);
	ck_assert_int_eq(m.sent_us, 0);
	message_clear(&m);
}
END_TEST

START_TEST(a_frame_that_ends_too_early_is_refused)
{
	struct message m;

	message_init(&m);
	for (size_t len = 0; len < sizeof(all) - 1; len++) {
		auto_free char *copy = mem_dup(all, len);
		struct err err = {0};

		ck_assert_int_eq(amqp_properties_read(&m, (struct span){copy, len}, &err), -1);
		ck_assert_int_eq(err.code, ERR_PROTOCOL);
		message_reset(&m);
	}
	message_clear(&m);
}
END_TEST

START_TEST(properties_that_nobody_knows_are_refused)
{
	static const char more[] = FRONT "\0\1\0\0";
	struct message m;
	struct err err = {0};

	message_init(&m);
	ck_assert_int_eq(amqp_properties_read(&m, (struct span){more, sizeof(more) - 1}, &err), -1);
	ck_assert_str_eq(err.text, "content header with unknown properties");
	message_clear(&m);
}
END_TEST
