#include <check.h>
#include <signal.h>
#include <string.h>

#include "protocol/pyjson.h"
#include "worker/control/python.h"

static json_t *json(const char *text)
{
	json_t *value = text ? pyjson_load(text, strlen(text), NULL) : NULL;

	ck_assert(!text || value);
	return value;
}

/* C-22 */
START_TEST(a_signal_is_a_name_or_a_number)
{
	static const struct {
		const char *value;
		int number;
		const char *error;
	} rows[] = {
		{NULL, SIGTERM, NULL},
		{"null", SIGTERM, NULL},
		{"\"\"", SIGTERM, NULL},
		{"0", SIGTERM, NULL},
		{"false", SIGTERM, NULL},
		{"\"TERM\"", SIGTERM, NULL},
		{"\"SIGTERM\"", SIGTERM, NULL},
		{"15", SIGTERM, NULL},
		{"9", SIGKILL, NULL},
		{"\"KILL\"", SIGKILL, NULL},
		{"\"SIGUSR1\"", SIGUSR1, NULL},
		{"\"CLD\"", SIGCHLD, NULL},
		{"\"RTMAX\"", 64, NULL},
		{"true", 1, NULL},
		{"99", 99, NULL},
		{"\"SIGBAD\"", 0, "AttributeError(\"module 'signal' has no attribute 'SIGBAD'\")"},
		{"\"BAD\"", 0, "AttributeError(\"module 'signal' has no attribute 'SIGBAD'\")"},
		{"\"term\"", 0, "TypeError('signal name must be uppercase string.')"},
		{"\"Term\"", 0, "TypeError('signal name must be uppercase string.')"},
		{"\"15\"", 0, "TypeError('signal name must be uppercase string.')"},
		{"15.0", 0, "TypeError('signal name must be uppercase string.')"},
		{"[9]", 0, "TypeError('signal name must be uppercase string.')"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct control_error error = {STR_INIT(4096)};
		json_auto_t *value = json(rows[i].value);
		int number;
		bool is_good = python_signal(value, &number, &error);

		ck_assert_msg(is_good == !rows[i].error, "%s", rows[i].value);
		if (is_good)
			ck_assert_int_eq(number, rows[i].number);
		else
			ck_assert_str_eq(error.text.data, rows[i].error);
		str_clear(&error.text);
	}
}
END_TEST

/* C-24 */
START_TEST(a_rate_is_read_as_celery_reads_it)
{
	static const struct {
		const char *value;
		double rate;
		const char *error;
	} rows[] = {
		{"null", 0, NULL},
		{"0", 0, NULL},
		{"\"\"", 0, NULL},
		{"\"0\"", 0, NULL},
		{"\"200\"", 200, NULL},
		{"5", 5, NULL},
		{"2.5", 2.5, NULL},
		{"\"12/m\"", 0.2, NULL},
		{"\"1.5/h\"", 1.5 / 3600, NULL},
		{"\"10/\"", 10, NULL},
		{"\" 10 /s\"", 10, NULL},
		{"true", 1, NULL},
		{"\"inf\"", 0, NULL},
		{"\"10/x\"", 0, "KeyError('x')"},
		{"\"abc/x\"", 0, "KeyError('x')"},
		{"\"1/s/s\"", 0, "KeyError('s/s')"},
		{"\"10/S\"", 0, "KeyError('S')"},
		{"\"abc\"", 0,
		 "Invalid rate limit string: ValueError(\"could not convert string to float: "
		 "'abc'\")"},
		{"\"/s\"", 0,
		 "Invalid rate limit string: ValueError(\"could not convert string to float: "
		 "''\")"},
		{"\"0x10\"", 0,
		 "Invalid rate limit string: ValueError(\"could not convert string to float: "
		 "'0x10'\")"},
		{"\"-1/s\"", 0,
		 "Invalid rate limit string: ValueError('a rate limit cannot be negative')"},
		{"\"nan\"", 0,
		 "Invalid rate limit string: ValueError('a rate limit cannot be negative')"},
		{"[1]", 0,
		 "TypeError(\"float() argument must be a string or a real number, not 'list'\")"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct control_error error = {STR_INIT(4096)};
		json_auto_t *value = json(rows[i].value);
		double rate;
		bool is_good = python_rate(value, &rate, &error);

		ck_assert_msg(is_good == !rows[i].error, "%s", rows[i].value);
		if (is_good)
			ck_assert_double_eq_tol(rate, rows[i].rate, 1e-9);
		else
			ck_assert_str_eq(error.text.data, rows[i].error);
		str_clear(&error.text);
	}
}
END_TEST

/* T-92 */
START_TEST(a_set_is_shown_as_python_shows_it)
{
	static const struct {
		const char *value, *expected;
	} rows[] = {
		{"[]", "set()"},
		{"[\"a\"]", "{'a'}"},
		{"[\"a\", \"b\", \"a\"]", "{'a', 'b'}"},
		{"[\"it's\", 1, 1.0, true, null]", "{\"it's\", 1, None}"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		auto_str out = STR_INIT(4096);
		json_t *set = python_set(json(rows[i].value));

		python_put_set(&out, set);
		ck_assert_str_eq(out.data, rows[i].expected);
		json_decref(set);
	}
}
END_TEST
