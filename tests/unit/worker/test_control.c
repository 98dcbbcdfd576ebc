#include <check.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "worker/control/control.h"

static char node[] = "w1@h";
static const struct config config = {.node_name = node};

static struct lamport clock_of_test;

static void control_make(struct control *c)
{
	memset(c, 0, sizeof(*c));
	c->config = &config;
	c->clock = &clock_of_test;
}

static void handle(struct control *c, const char *body, struct control_reply *reply)
{
	struct message m;

	message_init(&m);
	m.content_type = "application/json";
	m.body = mem_strdup(body);
	m.body_len = strlen(body);
	control_handle(c, &m, reply);
	message_clear(&m);
}

static void expect(const char *method, const char *arguments, const char *payload)
{
	struct control c;
	struct str out = STR_INIT(CONTROL_MAX_REPLY);
	json_t *name = pyjson_load(method, strlen(method), NULL);
	json_t *object = arguments ? pyjson_load(arguments, strlen(arguments), NULL) : NULL;

	control_make(&c);
	ck_assert(control_call(&c, name, object, &out));
	ck_assert_str_eq(out.data, payload);
	str_clear(&out);
	json_decref(name);
	json_decref(object);
}

START_TEST(a_ping_is_answered_where_it_says)
{
	struct control c;
	struct control_reply reply;

	control_make(&c);
	handle(&c,
	       "{\"method\":\"ping\",\"arguments\":{},\"ticket\":7,"
	       "\"reply_to\":{\"exchange\":\"e\",\"routing_key\":\"k\"}}",
	       &reply);
	ck_assert_str_eq(reply.exchange, "e");
	ck_assert_str_eq(reply.routing_key, "k");
	ck_assert_str_eq(reply.body.data, "{\"w1@h\": {\"ok\": \"pong\"}}");
	ck_assert_int_eq(json_integer_value(json_object_get(reply.headers, "ticket")), 7);
	ck_assert_int_eq(json_integer_value(json_object_get(reply.headers, "clock")), 2);
	control_reply_clear(&reply);
}
END_TEST

START_TEST(the_clock_of_replies_passes_that_of_requests)
{
	struct control c;
	struct control_reply reply;
	int64_t last = 0;

	control_make(&c);
	for (int i = 0; i < 3; i++) {
		handle(&c,
		       "{\"method\":\"ping\",\"reply_to\":{\"exchange\":\"e\",\"routing_key\":"
		       "\"k\"}}",
		       &reply);
		ck_assert_int_gt(json_integer_value(json_object_get(reply.headers, "clock")), last);
		last = json_integer_value(json_object_get(reply.headers, "clock"));
		control_reply_clear(&reply);
	}
}
END_TEST

/* C-6 */
START_TEST(a_cast_is_not_answered)
{
	struct control c;
	struct control_reply reply;

	control_make(&c);
	handle(&c, "{\"method\":\"ping\",\"ticket\":7}", &reply);
	ck_assert_ptr_null(reply.exchange);
	control_reply_clear(&reply);
}
END_TEST

START_TEST(a_request_for_others_or_without_sense_is_not_answered)
{
	static const char *const bodies[] = {
		"{\"method\":\"ping\",\"destination\":[\"other@h\"],"
		"\"reply_to\":{\"exchange\":\"e\",\"routing_key\":\"k\"}}",
		"{\"method\":\"ping\",\"pattern\":\"w\",\"matcher\":\"nosuch\","
		"\"reply_to\":{\"exchange\":\"e\",\"routing_key\":\"k\"}}",
		"{\"method\":\"ping\",\"reply_to\":{\"exchange\":\"e\"}}",
		"[1,2]",
		"{{{",
	};
	struct control c;
	struct control_reply reply;

	control_make(&c);
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		handle(&c, bodies[i], &reply);
		ck_assert_ptr_null(reply.exchange);
		control_reply_clear(&reply);
	}
}
END_TEST

/* C-8 */
START_TEST(an_unknown_method_is_a_key_error)
{
	expect("\"nosuch\"", NULL, "{\"error\": \"KeyError('nosuch')\"}");
	expect("\"it's\"", NULL, "{\"error\": \"KeyError(\\\"it's\\\")\"}");
	expect("null", NULL, "{\"error\": \"KeyError(None)\"}");
	expect("5", NULL, "{\"error\": \"KeyError(5)\"}");
	expect("true", NULL, "{\"error\": \"KeyError(True)\"}");
}
END_TEST

START_TEST(arguments_are_bound_as_python_binds_them)
{
	expect("\"ping\"", "{\"bogus\": 1}", "{\"ok\": \"pong\"}");
	expect("\"ping\"", "{\"state\": 1}",
	       "{\"error\": \"TypeError(\\\"ping() got multiple values for argument "
	       "'state'\\\")\"}");
}
END_TEST
