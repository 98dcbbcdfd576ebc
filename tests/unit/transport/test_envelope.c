#include <check.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "tests/headers_json.h"
#include "transport/envelope.h"

#define MIB ((size_t)1 << 20)

/* Written by kombu 5.7.0's filesystem transport. */
static const char real[] =
	"{\"body\": "
	"\"W1sxXSwgeyJrIjogIlx1MDBlOSJ9LCB7ImNhbGxiYWNrcyI6IG51bGwsICJlcnJiYWNrcyI6IG51bGwsICJjaG"
	"FpbiI6IG51bGwsICJjaG9yZCI6IG51bGx9XQ==\", \"content-encoding\": \"utf-8\", "
	"\"content-type\": \"application/json\", \"headers\": {\"lang\": \"py\", \"task\": "
	"\"a.b\", "
	"\"id\": \"347a2e43-d370-4969-a82c-0bbb00f2b533\", \"shadow\": null, \"kwargsrepr\": "
	"\"{'k': '\\u00e9'}\"}, \"properties\": {\"correlation_id\": "
	"\"347a2e43-d370-4969-a82c-0bbb00f2b533\", \"reply_to\": "
	"\"37a14912-f7e7-30c3-86eb-4424e476e0e4\", \"delivery_mode\": 2, \"expiration\": \"3000\", "
	"\"delivery_info\": {\"exchange\": \"\", \"routing_key\": \"q.x\"}, \"priority\": 4, "
	"\"body_encoding\": \"base64\", \"delivery_tag\": "
	"\"3c7037b8-2228-401e-8cba-9b151c317170\"}}";

static int decode(struct message *m, const char *text, struct err *err)
{
	message_init(m);
	return envelope_decode(m, text, strlen(text), MIB, err);
}

/* T-41 */
START_TEST(base64_body_is_decoded)
{
	struct message m;
	struct err err = {0};

	ck_assert_int_eq(decode(&m, real, &err), 0);
	ck_assert_str_eq(m.body, "[[1], {\"k\": \"\\u00e9\"}, {\"callbacks\": null, \"errbacks\": "
				 "null, \"chain\": null, \"chord\": null}]");
	ck_assert_uint_eq(m.body_len, strlen(m.body));
	ck_assert_str_eq(m.content_type, "application/json");
	ck_assert_str_eq(m.content_encoding, "utf-8");
	ck_assert_str_eq(m.correlation_id, "347a2e43-d370-4969-a82c-0bbb00f2b533");
	ck_assert_str_eq(m.reply_to, "37a14912-f7e7-30c3-86eb-4424e476e0e4");
	ck_assert_str_eq(m.expiration, "3000");
	ck_assert_str_eq(m.exchange, "");
	ck_assert_str_eq(m.routing_key, "q.x");
	ck_assert_int_eq(m.priority, 4);
	ck_assert_int_eq(m.delivery_mode, 2);
	ck_assert(!m.is_redelivered);
	const struct value *task = message_header(&m, HEADER_TASK);
	ck_assert_int_eq(task->kind, VALUE_TEXT);
	ck_assert_uint_eq(task->text.len, 3);
	ck_assert_mem_eq(task->text.data, "a.b", 3);
	message_clear(&m);
}
END_TEST

/* T-8 T-41 */
START_TEST(headers_of_every_kind_are_kept_in_their_order)
{
	static const char *const rows[][2] = {
		{"{\"a\": null, \"b\": [1, \"x\", null], \"c\": {}, \"d\": [], \"e\": -5}", NULL},
		{"{\"a\": 1.5, \"b\": NaN, \"c\": 123456789012345678901, \"d\": [[]]}", NULL},
		{"{\"a\": {\"b\": [{}]}, \"\": true, \"task\": \"\"}", NULL},
		{"{\"x\": 1, \"task\": 2, \"y\": 3, \"x\": [4.5], \"task\": \"\\u00e9\\n\"}",
		 "{\"x\": [4.5], \"task\": \"\\u00e9\\n\", \"y\": 3}"},
		{"{\"\\u0074ask\": \"a\\u0000b\", \"t\\u0000\": \"\\ud800\"}",
		 "{\"task\": \"a\\u0000b\", \"t\\u0000\": \"\\ud800\"}"},
		{"{\"__type__\": \"decimal\", \"__value__\": 1}",
		 "{\"__type__\": \"decimal\", \"__value__\": \"1\"}"},
		{"null", "{}"},
		{"[1]", "{}"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		auto_str text = STR_INIT(MIB);
		auto_str got = STR_INIT(MIB);
		struct message m;
		struct err err = {0};

		str_addf(&text, "{\"body\": \"\", \"headers\": %s}", rows[i][0]);
		ck_assert_msg(decode(&m, text.data, &err) == 0, "%s", err.text);
		json_t *headers = message_headers_json(&m);

		pyjson_dump(&got, headers);
		ck_assert_str_eq(got.data, rows[i][1] ? rows[i][1] : rows[i][0]);
		json_decref(headers);
		message_clear(&m);
	}
}
END_TEST

/* T-41 */
START_TEST(escapes_in_members_and_body_are_decoded)
{
	struct message m;

	ck_assert_int_eq(decode(&m,
				"{\"b\\u006fdy\": \"W1\\u0030\\/\", \"content-type\": \"a\\/b\", "
				"\"properties\": {\"body_encoding\": \"base\\u00364\", "
				"\"expiration\": 7, \"expiration\": 99999999999}}",
				NULL),
			 0);
	ck_assert_uint_eq(m.body_len, 3);
	ck_assert_mem_eq(m.body, "[]\x3f", 3);
	ck_assert_str_eq(m.content_type, "a/b");
	ck_assert_str_eq(m.expiration, "99999999999");
	message_clear(&m);
}
END_TEST

/* T-41 */
START_TEST(plain_body_is_taken_as_it_is)
{
	struct message m;

	ck_assert_int_eq(decode(&m, "{\"body\": \"[[], {}]\", \"properties\": {}}", NULL), 0);
	ck_assert_str_eq(m.body, "[[], {}]");
	ck_assert_ptr_null(m.content_type);
	ck_assert_ptr_null(m.routing_key);
	ck_assert_int_eq(m.priority, -1);
	ck_assert_uint_eq(m.header_count, 0);
	message_clear(&m);
}
END_TEST

START_TEST(null_body_encoding_and_utf8_are_plain)
{
	static const char *const texts[] = {
		"{\"body\": \"x\", \"properties\": {\"body_encoding\": null}}",
		"{\"body\": \"x\", \"properties\": {\"body_encoding\": \"UTF-8\"}}",
	};

	for (int i = 0; i < 2; i++) {
		struct message m;

		ck_assert_int_eq(decode(&m, texts[i], NULL), 0);
		ck_assert_str_eq(m.body, "x");
		message_clear(&m);
	}
}
END_TEST

START_TEST(redelivered_is_found_in_both_places)
{
	static const char *const texts[] = {
		"{\"body\": \"x\", \"redelivered\": true}",
		"{\"body\": \"x\", \"properties\": {\"delivery_info\": {\"redelivered\": true}}}",
	};

	for (int i = 0; i < 2; i++) {
		struct message m;

		ck_assert_int_eq(decode(&m, texts[i], NULL), 0);
		ck_assert(m.is_redelivered);
		message_clear(&m);
	}
}
END_TEST

START_TEST(members_of_the_wrong_type_are_absent)
{
	struct message m;

	ck_assert_int_eq(
		decode(&m,
		       "{\"body\": null, \"content-type\": 5, \"headers\": [1], "
		       "\"properties\": {\"priority\": \"9\", \"reply_to\": {}, "
		       "\"delivery_mode\": -7, \"expiration\": 250, \"delivery_info\": 3}}",
		       NULL),
		0);
	ck_assert_uint_eq(m.body_len, 0);
	ck_assert_ptr_nonnull(m.body);
	ck_assert_ptr_null(m.content_type);
	ck_assert_ptr_null(m.reply_to);
	ck_assert_str_eq(m.expiration, "250");
	ck_assert_int_eq(m.priority, -1);
	ck_assert_int_eq(m.delivery_mode, 0);
	ck_assert_uint_eq(m.header_count, 0);
	message_clear(&m);
}
END_TEST

START_TEST(what_is_no_envelope_is_refused_and_leaves_the_message_alone)
{
	static const char *const texts[] = {
		"",
		"{\"body\": \"W1sx",
		"[]",
		"\"text\"",
		"{}",
		"{\"body\": 5}",
		"{\"body\": \"x\", \"properties\": {\"body_encoding\": \"rot13\"}}",
		"{\"body\": \"abc\", \"properties\": {\"body_encoding\": \"base64\"}}",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct message m;
		struct err err = {0};

		ck_assert_msg(decode(&m, texts[i], &err) == -1, "%s", texts[i]);
		ck_assert_int_eq(err.code, ERR_INVALID);
		ck_assert_ptr_null(m.body);
		message_clear(&m);
	}
}
END_TEST

START_TEST(a_body_over_the_limit_is_told_from_a_broken_one)
{
	struct message m;
	struct err err = {0};

	message_init(&m);
	ck_assert_int_eq(envelope_decode(&m, real, strlen(real), 16, &err), -1);
	ck_assert_int_eq(err.code, ERR_LIMIT);
	err_clear(&err);
	ck_assert_int_eq(envelope_decode(&m, real, 3 * MIB, MIB, &err), -1);
	ck_assert_int_eq(err.code, ERR_LIMIT);
	message_clear(&m);
}
END_TEST

/* In memory, headers are up to eighty times what they are as text. */
static int decode_with_headers(size_t bytes, const char *where, struct err *err)
{
	auto_str text = STR_INIT(10 * MIB);
	struct message m;
	int rc;

	str_addf(&text,
		 "{\"body\": \"W10=\", \"properties\": {\"body_encoding\": \"base64\"}, "
		 "\"%s\": {\"x\": [{}",
		 where);
	while (text.len < bytes)
		str_puts(&text, ", {}");
	str_puts(&text, "]}}");
	message_init(&m);
	rc = envelope_decode(&m, text.data, text.len, 8 * MIB, err);
	message_clear(&m);
	return rc;
}

START_TEST(what_stands_beside_the_body_has_a_limit)
{
	struct err err = {0};

	ck_assert_int_eq(decode_with_headers(MIB - 1000, "headers", &err), 0);
	ck_assert_int_eq(decode_with_headers(MIB + 1000, "headers", &err), -1);
	ck_assert_int_eq(err.code, ERR_LIMIT);
	err_clear(&err);
	ck_assert_int_eq(decode_with_headers(MIB + 1000, "else", &err), -1);
	ck_assert_int_eq(err.code, ERR_LIMIT);
}
END_TEST

START_TEST(an_encoded_publication_is_what_kombu_writes)
{
	struct message m;
	struct publication p = {
		.exchange = "",
		.routing_key = "q.x",
		.content_type = "application/json",
		.content_encoding = "utf-8",
		.correlation_id = "347a2e43-d370-4969-a82c-0bbb00f2b533",
		.reply_to = "37a14912-f7e7-30c3-86eb-4424e476e0e4",
		.expiration = "3000",
		.priority = 4,
		.delivery_mode = 2,
	};
	auto_str out;

	ck_assert_int_eq(decode(&m, real, NULL), 0);
	json_t *headers = message_headers_json(&m);
	p.headers = headers;
	p.body = m.body;
	p.body_len = m.body_len;
	str_init(&out, MIB);
	ck_assert_int_eq(envelope_encode(&out, &p, "3c7037b8-2228-401e-8cba-9b151c317170", NULL),
			 0);
	ck_assert_str_eq(out.data, real);
	json_decref(headers);
	message_clear(&m);
}
END_TEST

START_TEST(absent_properties_are_left_out)
{
	struct publication p = {.routing_key = "q", .priority = -1, .body = "", .body_len = 0};
	auto_str out;

	str_init(&out, MIB);
	ck_assert_int_eq(envelope_encode(&out, &p, "t", NULL), 0);
	ck_assert_str_eq(
		out.data,
		"{\"body\": \"\", \"content-encoding\": null, \"content-type\": null, "
		"\"headers\": {}, \"properties\": {\"delivery_info\": {\"exchange\": \"\", "
		"\"routing_key\": \"q\"}, \"priority\": 0, \"body_encoding\": \"base64\", "
		"\"delivery_tag\": \"t\"}}");
}
END_TEST

START_TEST(an_envelope_too_large_for_the_buffer_is_an_error)
{
	struct publication p = {.routing_key = "q", .body = "0123456789", .body_len = 10};
	auto_str out;
	struct err err = {0};

	str_init(&out, 40);
	ck_assert_int_eq(envelope_encode(&out, &p, "t", &err), -1);
	ck_assert_int_eq(err.code, ERR_LIMIT);
}
END_TEST

START_TEST(a_marked_envelope_keeps_everything_else)
{
	struct message m;
	auto_str out;

	str_init(&out, MIB);
	ck_assert_int_eq(envelope_mark_redelivered(&out, real, strlen(real), NULL), 0);
	ck_assert_ptr_nonnull(strstr(out.data, "\"redelivered\": true"));
	ck_assert_ptr_nonnull(strstr(out.data, "3c7037b8-2228-401e-8cba-9b151c317170"));
	ck_assert_int_eq(strncmp(out.data, real, 250), 0);
	ck_assert_int_eq(decode(&m, out.data, NULL), 0);
	ck_assert(m.is_redelivered);
	message_clear(&m);
}
END_TEST
