#include <check.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pidbox.h"
#include "protocol/pyjson.h"

static void message_of(struct message *m, const char *body)
{
	message_init(m);
	m->content_type = "application/json";
	m->content_encoding = "utf-8";
	m->body = mem_strdup(body);
	m->body_len = strlen(body);
}

static int decode(struct pidbox_request *r, const char *body, const char *headers)
{
	struct message m;

	message_of(&m, body);
	if (headers) {
		json_t *object = pyjson_load(headers, strlen(headers), NULL);

		message_headers_set(&m, object);
		json_decref(object);
	}
	int result = pidbox_decode(r, &m, NULL);

	message_clear(&m);
	return result;
}

static int is_for(const char *body, const char *node)
{
	struct pidbox_request r;
	struct err err = {0};

	ck_assert_int_eq(decode(&r, body, NULL), 0);
	int result = pidbox_is_for(&r, node, &err);

	ck_assert_int_eq(result < 0, err.code != ERR_NONE);
	pidbox_clear(&r);
	return result;
}

START_TEST(a_request_of_celery_is_read)
{
	struct pidbox_request r;

	ck_assert_int_eq(
		decode(&r,
		       "{\"method\":\"ping\",\"arguments\":{\"a\":1},\"destination\":null,"
		       "\"pattern\":null,\"matcher\":null,\"ticket\":\"3038\",\"bogus\":[1],"
		       "\"reply_to\":{\"exchange\":\"reply.celery.pidbox\",\"routing_key\":\"37\"}"
		       "}",
		       "{\"clock\": 41, \"expires\": 1795235723.5}"),
		0);
	ck_assert_str_eq(json_string_value(r.method), "ping");
	ck_assert_str_eq(json_string_value(r.ticket), "3038");
	ck_assert_str_eq(r.exchange, "reply.celery.pidbox");
	ck_assert_str_eq(r.routing_key, "37");
	ck_assert_int_eq(json_integer_value(json_object_get(r.arguments, "a")), 1);
	ck_assert_int_eq(r.clock, 41);
	pidbox_clear(&r);
}
END_TEST

START_TEST(a_cast_has_neither_ticket_nor_reply_address)
{
	struct pidbox_request r;

	ck_assert_int_eq(decode(&r, "{\"method\": \"ping\", \"arguments\": []}", NULL), 0);
	ck_assert_ptr_null(r.ticket);
	ck_assert_ptr_null(r.exchange);
	ck_assert_ptr_null(r.arguments);
	ck_assert_int_eq(r.clock, 0);
	pidbox_clear(&r);
}
END_TEST

/* C-8 */
START_TEST(what_python_drops_is_dropped)
{
	static const char *const bodies[] = {
		"",
		"[1,2]",
		"{{{",
		"5",
		"null",
		"{}",
		"{\"arguments\":{}}",
		"{\"method\":[\"ping\"]}",
		"{\"method\":{\"ping\":1}}",
		"{\"method\":\"ping\",\"arguments\":[1]}",
		"{\"method\":\"ping\",\"arguments\":\"x\"}",
		"{\"method\":\"ping\",\"reply_to\":\"x\"}",
		"{\"method\":\"ping\",\"reply_to\":{\"exchange\":\"e\"}}",
		"{\"method\":\"ping\",\"reply_to\":{\"exchange\":5,\"routing_key\":\"k\"}}",
		"{\"method\":\"ping\",\"reply_to\":{\"exchange\":\"a\\u0000\",\"routing_key\":"
		"\"k\"}}",
	};
	struct pidbox_request r;

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		ck_assert_msg(decode(&r, bodies[i], NULL) < 0, "%s", bodies[i]);
		pidbox_clear(&r);
	}
	ck_assert_int_lt(decode(&r, "{\"method\":\"ping\"}", "{\"clock\": \"x\"}"), 0);
	pidbox_clear(&r);
	ck_assert_int_lt(decode(&r, "{\"method\":\"ping\"}", "{\"clock\": {\"a\": 1}}"), 0);
	pidbox_clear(&r);
}
END_TEST

START_TEST(other_content_types_are_dropped)
{
	static const char *const types[] = {"application/x-python-serialize", "text/plain",
					    "application/data", NULL};
	struct pidbox_request r;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct message m;
		struct err err = {0};

		message_of(&m, "{\"method\":\"ping\"}");
		m.content_type = types[i];
		ck_assert_int_lt(pidbox_decode(&r, &m, &err), 0);
		ck_assert_int_eq(err.code, ERR_REFUSED);
		pidbox_clear(&r);
		message_clear(&m);
	}
}
END_TEST

/* C-9 */
START_TEST(any_number_is_a_clock)
{
	static const struct {
		const char *headers;
		int64_t clock;
	} cases[] = {
		{"{\"clock\": 7}", 7},
		{"{\"clock\": 7.9}", 7},
		{"{\"clock\": -3}", 0},
		{"{\"clock\": null}", 0},
		{"{\"clock\": \"\"}", 0},
		{"{\"clock\": true}", 1},
		{"{\"clock\": 9223372036854775807}", (int64_t)1 << 53},
		{"{\"clock\": 1e300}", (int64_t)1 << 53},
		{"{\"clock\": 99999999999999999999999}", 0},
	};
	struct pidbox_request r;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_int_eq(decode(&r, "{\"method\":\"ping\"}", cases[i].headers), 0);
		ck_assert_int_eq(r.clock, cases[i].clock);
		pidbox_clear(&r);
	}
}
END_TEST

/* C-4 */
START_TEST(a_destination_names_nodes)
{
	ck_assert_int_eq(is_for("{\"method\":1,\"destination\":[\"w1@h\",\"w2@h\"]}", "w1@h"), 1);
	ck_assert_int_eq(is_for("{\"method\":1,\"destination\":[\"w1@h\"]}", "w2@h"), 0);
	ck_assert_int_eq(is_for("{\"method\":1,\"destination\":[\"w1@hh\",5,null]}", "w1@h"), 0);
	ck_assert_int_eq(is_for("{\"method\":1,\"destination\":[]}", "w1@h"), 1);
	ck_assert_int_eq(is_for("{\"method\":1,\"destination\":null}", "w1@h"), 1);
	ck_assert_int_eq(is_for("{\"method\":1,\"destination\":\"w1@h,zz\"}", "w1@h"), 1);
	ck_assert_int_eq(is_for("{\"method\":1,\"destination\":\"zz\"}", "w1@h"), 0);
	ck_assert_int_eq(is_for("{\"method\":1,\"destination\":{\"w1@h\":0}}", "w1@h"), 1);
	ck_assert_int_eq(is_for("{\"method\":1,\"destination\":7}", "w1@h"), -1);
	ck_assert_int_eq(is_for("{\"method\":1,\"destination\":true}", "w1@h"), -1);
}
END_TEST

/* C-5 */
START_TEST(a_pattern_needs_a_matcher)
{
	ck_assert_int_eq(is_for("{\"method\":1,\"pattern\":\"z\"}", "w1@h"), 1);
	ck_assert_int_eq(is_for("{\"method\":1,\"pattern\":\"w*\",\"matcher\":\"glob\"}", "w1@h"),
			 1);
	ck_assert_int_eq(is_for("{\"method\":1,\"pattern\":\"z*\",\"matcher\":\"glob\"}", "w1@h"),
			 0);
	ck_assert_int_eq(is_for("{\"method\":1,\"pattern\":\"w1\",\"matcher\":\"pcre\"}", "w1@h"),
			 1);
	ck_assert_int_eq(is_for("{\"method\":1,\"pattern\":\"1@\",\"matcher\":\"pcre\"}", "w1@h"),
			 0);
	ck_assert_int_eq(is_for("{\"method\":1,\"pattern\":\"w1\",\"matcher\":\"x\"}", "w1@h"), -1);
	ck_assert_int_eq(is_for("{\"method\":1,\"pattern\":5,\"matcher\":\"glob\"}", "w1@h"), -1);
	ck_assert_int_eq(is_for("{\"method\":1,\"pattern\":\"(\",\"matcher\":\"pcre\"}", "w1@h"),
			 -1);
	ck_assert_int_eq(is_for("{\"method\":1,\"destination\":[\"w1@h\"],\"pattern\":\"z\","
				"\"matcher\":\"glob\"}",
				"w1@h"),
			 1);
}
END_TEST

/* The right-hand column is what Python's fnmatch.fnmatchcase says. */
START_TEST(globs_match_as_in_python)
{
	static const struct {
		const char *pattern, *text;
		bool is_match;
	} cases[] = {
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "a/.b", true},
		{"w?@h", "w1@h", true},
		{"w?@h", "w12@h", false},
		{"*@h*", "w1@h", true},
		{"w[12]@h", "w2@h", true},
		{"w[12]@h", "w3@h", false},
		{"w[!12]@h", "w3@h", true},
		{"w[!12]@h", "w1@h", false},
		{"w[0-9]", "w5", true},
		{"w[0-9]", "wx", false},
		{"w[]x]", "w]", true},
		{"w[x", "w[x", true},
		{"w[^1]", "w^", true},
		{"w[^1]", "w2", false},
		{"w[a-]", "w-", true},
		{"\\*", "*", false},
		{"\\*", "\\x", true},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "aXbY", false},
		{"W1", "w1", false},
		{"?", "\xc3\xa4", true},
		{"[\xc3\xa4-\xc3\xbc]", "\xc3\xb6", true},
		{"??", "\xc3\xa4", false},
		{"[[:alpha:]]", "a]", true},
		{"[!]", "[!]", true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(pidbox_glob(cases[i].pattern, strlen(cases[i].pattern), cases[i].text,
					  strlen(cases[i].text)) == cases[i].is_match,
			      "%s %s", cases[i].pattern, cases[i].text);
}
END_TEST

START_TEST(an_evil_pattern_ends_soon)
{
	char stars[1025], text[256];
	struct err err = {0};
	const char *evil = "(?:a|a)*(?:a|a)*(?:a|a)*[^a]";

	memset(stars, '*', sizeof(stars) - 1);
	for (size_t i = 1; i < sizeof(stars) - 1; i += 2)
		stars[i] = 'a';
	stars[1023] = 'b';
	stars[1024] = '\0';
	memset(text, 'a', sizeof(text) - 1);
	text[255] = '\0';
	ck_assert(!pidbox_glob(stars, strlen(stars), text, strlen(text)));
	ck_assert_int_eq(pidbox_pcre(evil, strlen(evil), text, strlen(text), &err), -1);
	ck_assert_int_eq(err.code, ERR_LIMIT);
}
END_TEST

START_TEST(a_too_long_pattern_is_refused)
{
	auto_free char *body = mem_alloc(2200);

	memset(body, 'x', 2200);
	memcpy(body, "{\"method\":1,\"matcher\":\"glob\",\"pattern\":\"", 40);
	memcpy(body + 2100, "\"}", 3); /* with its end */
	ck_assert_int_eq(is_for(body, "w1@h"), -1);
}
END_TEST

/* C-6 */
START_TEST(a_reply_carries_the_ticket_as_it_came)
{
	static const char *const tickets[] = {"7", "\"abc\"", "null", "[1, {\"a\": 2}]", "1.5"};

	for (size_t i = 0; i < sizeof(tickets) / sizeof(tickets[0]); i++) {
		auto_str text = STR_INIT(200);
		auto_str expected = STR_INIT(200);
		json_t *ticket = pyjson_load(tickets[i], strlen(tickets[i]), NULL);
		json_t *headers = pidbox_reply_headers(ticket, 3);

		str_addf(&expected, "{\"ticket\": %s, \"clock\": 3}", tickets[i]);
		pyjson_dump(&text, headers);
		ck_assert_str_eq(text.data, expected.data);
		json_decref(headers);
		json_decref(ticket);
	}
	json_t *headers = pidbox_reply_headers(NULL, 3);

	ck_assert(json_is_null(json_object_get(headers, "ticket")));
	json_decref(headers);
}
END_TEST

/* C-3 */
START_TEST(a_reply_is_an_object_under_the_node_name)
{
	auto_str out = STR_INIT(60);

	ck_assert_int_eq(pidbox_reply_body(&out, "w\"1@h", "{\"ok\": \"pong\"}", 14), 0);
	ck_assert_str_eq(out.data, "{\"w\\\"1@h\": {\"ok\": \"pong\"}}");
	ck_assert_int_eq(
		pidbox_reply_body(&out, "w1@h", "[1111111111111111111111111111111111111]", 39), -1);
}
END_TEST
