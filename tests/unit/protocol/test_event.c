#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/event.h"
#include "protocol/lamport.h"
#include "protocol/pyjson.h"
#include "protocol/task_message.h"

#define HEAD	"{\"hostname\": \"w1@h\", \"pid\": 7, \"clock\": 42"
#define TAIL(t) ", \"timestamp\": 1795235878.411992, \"type\": \"" t "\"}"

/* Each test runs in a process of its own. */
static struct str out = STR_INIT(1 << 20);
static struct str sender = STR_INIT(4096);

static struct event_head head(void)
{
	ck_assert_int_eq(event_sender(&sender, "w1@h", 7), 0);
	return (struct event_head){
		.sender = {sender.data, sender.len},
		.clock = 42,
		.now_us = 1795235878411992,
	};
}

static struct event_message message(void)
{
	return (struct event_message){
		.uuid = "ac2a",
		.root_id = "root",
		.name = "proj.add",
		.args = "(1, 2)",
		.kwargs = "{'y': 6}",
		.retries = 3,
		.eta_us = TIME_UNSET,
		.expires_us = 1795235878417905,
	};
}

/* C-34 T-157 */
START_TEST(a_received_task_is_told_in_celerys_order_of_fields)
{
	struct event_head h = head();
	struct event_message m = message();

	ck_assert_int_eq(event_received(&out, &h, &m), 0);
	ck_assert_str_eq(out.data,
			 HEAD ", \"uuid\": \"ac2a\", \"name\": \"proj.add\", \"args\": \"(1, 2)\", "
			      "\"kwargs\": \"{'y': 6}\", \"root_id\": \"root\", \"parent_id\": "
			      "null, \"retries\": 3, \"eta\": null, \"expires\": "
			      "\"2026-11-21T04:37:58.417905+00:00\"" TAIL("task-received"));
}
END_TEST

START_TEST(without_reprs_the_arguments_are_empty_texts)
{
	struct event_head h = head();
	struct event_message m = message();

	m.args = m.kwargs = NULL;
	ck_assert_int_eq(event_received(&out, &h, &m), 0);
	ck_assert_ptr_nonnull(strstr(out.data, "\"args\": \"\", \"kwargs\": \"\", "));
}
END_TEST

START_TEST(a_sent_task_names_its_route)
{
	struct event_head h = head();
	struct event_message m = message();

	m.queue = "celery";
	m.exchange = "";
	m.routing_key = "celery";
	ck_assert_int_eq(event_sent(&out, &h, &m), 0);
	ck_assert_str_eq(out.data,
			 HEAD ", \"uuid\": \"ac2a\", \"root_id\": \"root\", \"parent_id\": null, "
			      "\"name\": \"proj.add\", \"args\": \"(1, 2)\", \"kwargs\": \"{'y': "
			      "6}\", \"retries\": 3, \"eta\": null, \"expires\": "
			      "\"2026-11-21T04:37:58.417905+00:00\", \"queue\": \"celery\", "
			      "\"exchange\": \"\", \"routing_key\": \"celery\"" TAIL("task-sent"));
}
END_TEST

/* C-34 */
START_TEST(each_end_has_its_fields)
{
	struct event_head h = head();

	event_started(&out, &h, "u");
	event_succeeded(&out, &h, "u", (struct span){"'a'", 3}, 0.016279);
	event_succeeded(&out, &h, "u", (struct span){"None", 4}, -1);
	event_failed(&out, &h, "u", "KeyError('x')", "Traceback\n");
	event_failed(&out, &h, "u", "NotRegistered('x')", NULL);
	event_retried(&out, &h, "u", "None", "");
	event_rejected(&out, &h, "u", true);
	event_revoked(&out, &h, "u", true, 15, false);
	event_revoked(&out, &h, "u", false, 0, true);
	event_cancelled(&out, &h, "u");
	ck_assert_str_eq(
		out.data,
		HEAD ", \"uuid\": \"u\"" TAIL("task-started") //
		HEAD ", \"uuid\": \"u\", \"result\": \"'a'\", \"runtime\": 0.016279" TAIL(
			"task-succeeded") //
		HEAD ", \"uuid\": \"u\", \"result\": \"None\", \"runtime\": null" TAIL(
			"task-succeeded") //
		HEAD ", \"uuid\": \"u\", \"exception\": \"KeyError('x')\", \"traceback\": "
		     "\"Traceback\\n\"" TAIL("task-failed") //
		HEAD
		", \"uuid\": \"u\", \"exception\": \"NotRegistered('x')\"" TAIL("task-failed") //
		HEAD ", \"uuid\": \"u\", \"exception\": \"None\", \"traceback\": \"\"" TAIL(
			"task-retried")						  //
		HEAD ", \"uuid\": \"u\", \"requeue\": true" TAIL("task-rejected") //
		HEAD ", \"uuid\": \"u\", \"terminated\": true, \"signum\": 15, \"expired\": "
		     "false" TAIL("task-revoked") //
		HEAD ", \"uuid\": \"u\", \"terminated\": false, \"signum\": null, \"expired\": "
		     "true" TAIL("task-revoked") //
		HEAD ", \"uuid\": \"u\"" TAIL("task-cancelled"));
}
END_TEST

START_TEST(times_are_decimal_fractions)
{
	static const struct {
		double runtime_s;
		const char *text;
	} cases[] = {
		{0, "\"runtime\": 0.0,"},
		{1.5, "\"runtime\": 1.5,"},
		{1e-9, "\"runtime\": 0.000000001,"},
		{3600.25, "\"runtime\": 3600.25,"},
		{10, "\"runtime\": 10.0,"},
	};
	struct event_head h = head();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		str_reset(&out);
		event_succeeded(&out, &h, "u", (struct span){"1", 1}, cases[i].runtime_s);
		ck_assert_msg(strstr(out.data, cases[i].text) != NULL, "%s", out.data);
	}
	str_reset(&out);
	h.now_us = 1795235878000000;
	event_started(&out, &h, "u");
	ck_assert_ptr_nonnull(strstr(out.data, "\"timestamp\": 1795235878.0,"));
}
END_TEST

/* The quick way and the escapes must agree wherever the first strange byte stands. */
START_TEST(texts_are_escaped_as_python_does)
{
	static const char *const strange[] = {"\"",   "\\", "\n", "\t",	  "\x01",
					      "\x7f", "ż",  "😀",  "\xff", "\""};
	struct event_head h = head();

	for (size_t at = 0; at < 40; at++)
		for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
			auto_str text = STR_INIT(4096);
			auto_str expected = STR_INIT(4096);

			for (size_t k = 0; k < at; k++)
				str_addc(&text, (char)('a' + k % 26));
			str_puts(&text, strange[i]);
			str_puts(&text, "and so on, for a while");
			str_puts(&expected, "\"uuid\": ");
			pyjson_dump_str(&expected, text.data, text.len);
			str_puts(&expected, ", \"timestamp\"");
			str_reset(&out);
			ck_assert_int_eq(event_started(&out, &h, text.data), 0);
			ck_assert_msg(strstr(out.data, expected.data) != NULL, "%s\n%s", out.data,
				      expected.data);
		}
}
END_TEST

START_TEST(what_does_not_fit_adds_nothing)
{
	struct event_head h = head();
	struct event_message m = message();
	struct event_node node = {.sw_ident = "i", .sw_ver = "v", .sw_sys = "s"};

	for (size_t max = 0; max < 2000; max += 7) {
		auto_str small = STR_INIT(max);

		str_puts(&small, "[");
		small.is_full = false;
		size_t len = small.len;

		if (event_received(&small, &h, &m) < 0)
			ck_assert_uint_eq(small.len, len);
		small.is_full = false;
		len = small.len;
		if (event_node(&small, &h, "worker-online", &node) < 0)
			ck_assert_uint_eq(small.len, len);
	}
}
END_TEST

/* C-33 */
START_TEST(a_heartbeat_has_all_fields_and_the_short_one_few)
{
	struct event_head h = head();
	struct event_node node = {
		.freq_s = 2,
		.active = 3,
		.processed = 12345,
		.loadavg = {1.2001, 0.65, 0},
		.sw_ident = "smallage",
		.sw_ver = "1.2",
		.sw_sys = "Linux",
	};

	event_node(&out, &h, "worker-heartbeat", &node);
	ck_assert_str_eq(out.data,
			 HEAD ", \"freq\": 2.0, \"active\": 3, \"processed\": 12345, \"loadavg\": "
			      "[1.21, 0.65, 0.0], \"sw_ident\": \"smallage\", \"sw_ver\": "
			      "\"1.2\", \"sw_sys\": \"Linux\"" TAIL("worker-heartbeat"));
	str_reset(&out);
	node.freq_s = 5;
	node.is_short = true;
	event_node(&out, &h, "worker-heartbeat", &node);
	ck_assert_str_eq(out.data, HEAD ", \"freq\": 5, \"sw_ident\": \"smallage\", \"sw_ver\": "
					"\"1.2\", \"sw_sys\": \"Linux\"" TAIL("worker-heartbeat"));
}
END_TEST

START_TEST(elections_carry_any_json)
{
	struct event_head h = head();
	struct span id = {"\"e1\"", 4}, topic = {"\"task\"", 6}, action = {"{\"a\": [1]}", 10};

	event_elect(&out, &h, id, topic, action);
	event_elect_ack(&out, &h, id);
	ck_assert_str_eq(out.data,
			 HEAD ", \"id\": \"e1\", \"topic\": \"task\", \"action\": {\"a\": [1]}, "
			      "\"cver\": 1" TAIL("worker-elect") //
			 HEAD ", \"id\": \"e1\"" TAIL("worker-elect-ack"));
}
END_TEST

START_TEST(the_clock_is_always_ahead_of_what_it_has_heard)
{
	struct lamport clock = {0};

	ck_assert_uint_eq(lamport_tick(&clock), 1);
	ck_assert_uint_eq(lamport_merge(&clock, 100), 101);
	ck_assert_uint_eq(lamport_merge(&clock, 5), 102);
	ck_assert_uint_eq(lamport_merge(&clock, UINT64_MAX), 103); /* not believed */
}
END_TEST
