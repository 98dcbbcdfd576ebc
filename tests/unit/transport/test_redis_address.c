#include "transport/redis_address.h"

#include <check.h>
#include <string.h>

START_TEST(an_address_has_its_parts)
{
	struct redis_address a = {0};

	ck_assert_int_eq(redis_address_parse(&a, "redis://me:p%2Fw@h:7/3", NULL), 0);
	ck_assert_str_eq(a.host, "h");
	ck_assert_int_eq(a.port, 7);
	ck_assert_int_eq(a.db, 3);
	ck_assert_str_eq(a.user, "me");
	ck_assert_str_eq(a.password, "p/w");
	ck_assert_str_eq(a.label, "h:7/3");
	redis_address_clear(&a);
}
END_TEST

/* A '/' in a password that is not escaped ends the server's name there. */
START_TEST(bad_addresses_are_refused_without_showing_secrets)
{
	static const char *const bad[][2] = {
		{"redis://me:12/secret@h:6379/0", "percent-encoded"},
		{"redis://me/secret@h", "percent-encoded"},
		{"redis+socket:///run/r?virtual_host=secret", "no database number"},
		{"redis://h/1000001", "no database number"},
		{"valkeys://:secret@h", "valkeys:// is no Redis: use redis://, rediss:// (TLS)"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct redis_address a = {0};
		struct err err = {0};

		ck_assert_msg(redis_address_parse(&a, bad[i][0], &err) != 0, "%s", bad[i][0]);
		ck_assert_msg(strstr(err.text, bad[i][1]) != NULL, "%s: %s", bad[i][0], err.text);
		ck_assert_msg(strstr(err.text, "secret") == NULL, "%s: %s", bad[i][0], err.text);
		redis_address_clear(&a);
	}
}
END_TEST
