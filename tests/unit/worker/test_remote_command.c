#include <check.h>
#include <string.h>

#include "protocol/pyjson.h"
#include "worker/remote_command.h"
#include "worker/remote_print.h"

/* The arguments as JSON, or the text of the error. */
static const char *typed(struct str *out, enum remote_group group, int argc,
			 const char *const *argv)
{
	struct err err = {0};
	const struct remote_command *command = remote_command_find(group, argv[0], &err);
	json_t *arguments = NULL;

	str_reset(out);
	if (command)
		arguments = remote_arguments(command, argc - 1,
					     (char *const *)(uintptr_t)(argv + 1), &err);
	if (arguments)
		pyjson_dump(out, arguments);
	else
		str_puts(out, err.text);
	json_decref(arguments);
	return out->data;
}

#define TYPED(group, ...)                                                                          \
	typed(&out, group, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)),          \
	      (const char *[]){__VA_ARGS__})

START_TEST(arguments_have_the_types_of_the_command)
{
	auto_str out = STR_INIT(4096);

	ck_assert_str_eq(TYPED(REMOTE_CONTROL, "pool_grow", "2"), "{\"n\": 2}");
	ck_assert_str_eq(TYPED(REMOTE_CONTROL, "pool_grow"), "{}");
	ck_assert_str_eq(TYPED(REMOTE_CONTROL, "time_limit", "t", "1", "2.5"),
			 "{\"task_name\": \"t\", \"soft\": 1.0, \"hard\": 2.5}");
	ck_assert_str_eq(TYPED(REMOTE_CONTROL, "rate_limit", "t", "10"),
			 "{\"task_name\": \"t\", \"rate_limit\": \"10\"}");
	ck_assert_str_eq(TYPED(REMOTE_CONTROL, "terminate", "KILL", "a", "b"),
			 "{\"signal\": \"KILL\", \"task_id\": [\"a\", \"b\"]}");
	ck_assert_str_eq(TYPED(REMOTE_INSPECT, "registered"), "{\"taskinfoitems\": []}");
	ck_assert_str_eq(TYPED(REMOTE_INSPECT, "conf", "TRUE"), "{\"with_defaults\": true}");
	ck_assert_str_eq(TYPED(REMOTE_INSPECT, "conf", "off"), "{\"with_defaults\": false}");
}
END_TEST

START_TEST(wrong_arguments_are_told)
{
	auto_str out = STR_INIT(4096);

	ck_assert_str_eq(TYPED(REMOTE_CONTROL, "pool_grow", "2x"),
			 "pool_grow: n must be a whole number, not '2x'");
	ck_assert_str_eq(TYPED(REMOTE_CONTROL, "pool_grow", "99999999999999999999"),
			 "pool_grow: n must be a whole number, not '99999999999999999999'");
	ck_assert_str_eq(TYPED(REMOTE_CONTROL, "time_limit", "t", "0x10"),
			 "time_limit: soft must be a number, not '0x10'");
	ck_assert_str_eq(TYPED(REMOTE_CONTROL, "time_limit", "t", "inf"),
			 "time_limit: soft must be a number, not 'inf'");
	ck_assert_str_eq(TYPED(REMOTE_CONTROL, "cancel_consumer", "\xff"),
			 "cancel_consumer: queue must be UTF-8 text, not '\xff'");
	ck_assert_str_eq(TYPED(REMOTE_CONTROL, "revoke", "\xff"),
			 "revoke: an argument is not UTF-8");
	ck_assert_str_eq(TYPED(REMOTE_CONTROL, "revoke"), "revoke takes ID...");
	ck_assert_str_eq(TYPED(REMOTE_CONTROL, "add_consumer", "a", "b", "c", "d", "e"),
			 "add_consumer takes QUEUE [EXCHANGE [TYPE [ROUTING_KEY]]]");
	ck_assert_str_eq(TYPED(REMOTE_INSPECT, "stats", "x"), "stats takes no arguments");
}
END_TEST

START_TEST(the_nearest_command_is_named)
{
	auto_str out = STR_INIT(4096);

	ck_assert_str_eq(TYPED(REMOTE_INSPECT, "statz"),
			 "unknown command 'statz'; did you mean 'stats'?");
	ck_assert_str_eq(TYPED(REMOTE_INSPECT, "revoke"),
			 "revoke is a control command: smallage control revoke");
	ck_assert_str_eq(TYPED(REMOTE_INSPECT, ""),
			 "unknown command ''; `smallage inspect --list` names them all");
}
END_TEST

static const char *shown(struct str *out, const char *payload)
{
	json_t *value = pyjson_load(payload, strlen(payload), NULL);

	str_reset(out);
	remote_print(out, "n@h", value);
	json_decref(value);
	return out->data;
}

START_TEST(answers_are_shown_as_celery_shows_them)
{
	auto_str out = STR_INIT(4096);

	ck_assert_str_eq(shown(&out, "{\"ok\": \"pong\"}"), "->  n@h: OK\n        pong\n");
	ck_assert_str_eq(shown(&out, "{\"error\": \"a\\nb\"}"),
			 "->  n@h: ERROR\n        a\n        b\n");
	ck_assert_str_eq(shown(&out, "[]"), "->  n@h: OK\n    - empty -\n");
	ck_assert_str_eq(shown(&out, "[\"a\", {\"b\": null}]"),
			 "->  n@h: OK\n    * a\n    * {'b': None}\n");
	ck_assert_str_eq(shown(&out, "{\"b\": 1.0, \"a\": [], \"c\": [true]}"),
			 "->  n@h: OK\n    {\n        \"a\": [],\n        \"b\": 1.0,\n"
			 "        \"c\": [\n            true\n        ]\n    }\n");
	ck_assert_str_eq(shown(&out, "[{\"it's\": [\"\\b\", {}]}]"),
			 "->  n@h: OK\n    * {\"it's\": ['\\x08', {}]}\n");
	ck_assert_str_eq(shown(&out, "null"), "->  n@h: OK\n    None\n");
	ck_assert_str_eq(shown(&out, "\"\\u001b[2J\""), "->  n@h: OK\n    ?[2J\n");
}
END_TEST
