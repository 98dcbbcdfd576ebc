#include <check.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pidbox.h"
#include "protocol/pidbox_ask.h"
#include "protocol/pyjson.h"

static int read_answer(struct pidbox_answer *a, struct message *m, const char *body,
		       const char *headers)
{
	json_t *object = pyjson_load(headers, strlen(headers), NULL);

	message_init(m);
	m->content_type = "application/json";
	m->body = mem_strdup(body);
	m->body_len = strlen(body);
	message_headers_set(m, object);
	json_decref(object);
	return pidbox_answer_decode(a, m, NULL);
}

static void forget(struct pidbox_answer *a, struct message *m)
{
	pidbox_answer_clear(a);
	message_clear(m);
}

START_TEST(a_question_is_what_celery_sends)
{
	json_t *arguments = json_pack("{s:i}", "n", 2);
	json_t *destination = json_pack("[s]", "w1@h");
	const struct pidbox_question q = {.method = "pool_grow",
					  .arguments = arguments,
					  .destination = destination,
					  .ticket = "t",
					  .exchange = "reply.celery.pidbox",
					  .routing_key = "k"};
	auto_str out = STR_INIT(1000);

	ck_assert_int_eq(pidbox_ask_body(&out, &q), 0);
	ck_assert_str_eq(out.data,
			 "{\"method\": \"pool_grow\", \"arguments\": {\"n\": 2}, "
			 "\"destination\": [\"w1@h\"], \"pattern\": null, \"matcher\": null, "
			 "\"ticket\": \"t\", \"reply_to\": {\"exchange\": \"reply.celery.pidbox\", "
			 "\"routing_key\": \"k\"}}");
	json_decref(arguments);
	json_decref(destination);
}
END_TEST

START_TEST(a_question_to_all_can_be_read_by_a_node)
{
	const struct pidbox_question q = {
		.method = "ping", .ticket = "t", .exchange = "x", .routing_key = "k"};
	struct pidbox_request r;
	struct message m;
	auto_str out = STR_INIT(1000);

	pidbox_ask_body(&out, &q);
	message_init(&m);
	m.content_type = "application/json";
	m.body = mem_strdup(out.data);
	m.body_len = out.len;
	ck_assert_int_eq(pidbox_decode(&r, &m, NULL), 0);
	ck_assert_int_eq(pidbox_is_for(&r, "w1@h", NULL), 1);
	ck_assert_str_eq(r.routing_key, "k");
	pidbox_clear(&r);
	message_clear(&m);
}
END_TEST

START_TEST(a_question_that_is_too_long_is_none)
{
	const struct pidbox_question q = {
		.method = "ping", .ticket = "t", .exchange = "x", .routing_key = "k"};
	auto_str out = STR_INIT(20);

	ck_assert_int_eq(pidbox_ask_body(&out, &q), -1);
}
END_TEST

START_TEST(an_answer_names_its_node_and_ticket)
{
	struct pidbox_answer a;
	struct message m;

	ck_assert_int_eq(read_answer(&a, &m, "{\"w1@h\": {\"ok\": \"pong\"}}",
				     "{\"ticket\": \"t\", \"clock\": 3}"),
			 0);
	ck_assert_str_eq(a.node, "w1@h");
	ck_assert_str_eq(json_string_value(json_object_get(a.payload, "ok")), "pong");
	ck_assert(pidbox_answer_is_for(&a, "t"));
	ck_assert(!pidbox_answer_is_for(&a, "tt"));
	forget(&a, &m);
}
END_TEST

START_TEST(an_answer_without_a_ticket_is_for_everybody)
{
	struct pidbox_answer a;
	struct message m;

	ck_assert_int_eq(read_answer(&a, &m, "{\"w1@h\": null}", "{}"), 0);
	ck_assert(pidbox_answer_is_for(&a, "t"));
	forget(&a, &m);
	ck_assert_int_eq(read_answer(&a, &m, "{\"w1@h\": null}", "{\"ticket\": 7}"), 0);
	ck_assert(!pidbox_answer_is_for(&a, "t"));
	forget(&a, &m);
}
END_TEST

START_TEST(what_is_no_answer_is_refused)
{
	static const char *const bodies[] = {"", "{", "[]", "{}", "7", "\"text\"", "null"};

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct pidbox_answer a;
		struct message m;

		ck_assert_int_eq(read_answer(&a, &m, bodies[i], "{}"), -1);
		forget(&a, &m);
	}
}
END_TEST
