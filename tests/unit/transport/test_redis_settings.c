#include "transport/redis_settings.h"

#include <check.h>
#include <string.h>

#include "base/mem.h"

START_TEST(options_are_read_under_kombus_names)
{
	struct redis_settings s, copy;
	struct err err = {0};

	redis_settings_init(&s);
	ck_assert_double_eq(s.answer_timeout_s, 15);
	ck_assert_double_eq(s.health_check_interval_s, 25);
	ck_assert_int_eq(redis_settings_read(&s, NULL, &err), 0);
	ck_assert_int_eq(redis_settings_read(
				 &s,
				 "{\"socket_timeout\": 7.5, \"socket_connect_timeout\": 2,"
				 " \"health_check_interval\": 0, \"socket_keepalive\": false,"
				 " \"socket_keepalive_options\": {\"4\": 20, \"TCP_KEEPCNT\": 3},"
				 " \"client_name\": \"me\", \"master_name\": \"m\", "
				 "\"min_other_sentinels\": 2,"
				 " \"sentinel_kwargs\": {\"username\": \"u\", \"password\": \"p\","
				 "   \"socket_timeout\": 0.1, \"decode_responses\": true},"
				 " \"visibility_timeout\": 3, \"max_connections\": null}",
				 &err),
			 0);
	redis_settings_copy(&copy, &s);
	redis_settings_clear(&s);
	ck_assert_ptr_null(s.client_name);
	ck_assert_double_eq(copy.answer_timeout_s, 7.5);
	ck_assert_double_eq(copy.connect_timeout_s, 2);
	ck_assert_double_eq(copy.health_check_interval_s, 0);
	ck_assert(copy.keepalive.is_off);
	ck_assert_int_eq(copy.keepalive.idle_s, 20);
	ck_assert_int_eq(copy.keepalive.count, 3);
	ck_assert_int_eq(copy.keepalive.interval_s, 0);
	ck_assert_str_eq(copy.client_name, "me");
	ck_assert_str_eq(copy.master_name, "m");
	ck_assert_uint_eq(copy.min_other_sentinels, 2);
	ck_assert_str_eq(copy.sentinel_user, "u");
	ck_assert_str_eq(copy.sentinel_password, "p");
	ck_assert_double_eq(copy.sentinel_answer_timeout_s, 1);
	redis_settings_clear(&copy);
}
END_TEST

START_TEST(null_says_nothing)
{
	struct redis_settings s;

	redis_settings_init(&s);
	ck_assert_int_eq(
		redis_settings_read(&s,
				    "{\"socket_timeout\": null, \"socket_keepalive\": null,"
				    " \"client_name\": null, \"sentinel_kwargs\": null,"
				    " \"socket_keepalive_options\": null}",
				    NULL),
		0);
	ck_assert_double_eq(s.answer_timeout_s, 15);
	ck_assert(!s.keepalive.is_off);
	ck_assert_ptr_null(s.client_name);
}
END_TEST

START_TEST(an_error_names_the_key)
{
	static const char *const bad[][2] = {
		{"{\"socket_timeout\": \"soon\"}", "socket_timeout is no number"},
		{"{\"health_check_interval\": -1}", "health_check_interval is no number"},
		{"{\"socket_keepalive\": 7}", "socket_keepalive is neither"},
		{"{\"socket_keepalive_options\": {\"TCP_USER_TIMEOUT\": 7}}",
		 "socket_keepalive_options knows TCP_KEEPIDLE"},
		{"{\"socket_keepalive_options\": {\"5\": 0}}", "no number from 1 to 32767"},
		{"{\"master_name\": 5}", "master_name is no text"},
		{"{\"sentinel_kwargs\": {\"password\": [\"s3cret\"]}}",
		 "sentinel_kwargs password is no text"},
		{"{\"sentinel_kwargs\": 3}", "sentinel_kwargs is no mapping"},
		{"{\"sentinel_fanout_compat\": true}", "upgrade them"},
		{"{\"credential_provider\": \"my.Provider\"}", "write user and password into the"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct redis_settings s;
		struct err err = {0};

		redis_settings_init(&s);
		ck_assert_int_eq(redis_settings_read(&s, bad[i][0], &err), -1);
		ck_assert_msg(strstr(err.text, bad[i][1]) != NULL, "%s: %s", bad[i][0], err.text);
		ck_assert_ptr_null(strstr(err.text, "s3cret"));
		redis_settings_clear(&s);
	}
}
END_TEST

START_TEST(a_url_says_some_of_it_too)
{
	struct redis_settings s;
	struct url url = {0};

	redis_settings_init(&s);
	ck_assert_int_eq(url_parse(&url,
				   "redis://h/0?socket_timeout=3&socket_keepalive=no"
				   "&health_check_interval=9.5&client_name=x",
				   NULL),
			 0);
	ck_assert_int_eq(redis_settings_read_query(&s, &url, NULL), 0);
	ck_assert_double_eq(s.answer_timeout_s, 3);
	ck_assert_double_eq(s.health_check_interval_s, 9.5);
	ck_assert(s.keepalive.is_off);
	ck_assert_str_eq(s.client_name, "x");
	redis_settings_clear(&s);
	url_clear(&url);
}
END_TEST
