#include "transport/redis_route.h"

#include <check.h>
#include <string.h>

static void route_init(struct redis_route *r, struct redis_settings *s, const char *urls)
{
	struct err err = {0};

	memset(r, 0, sizeof(*r));
	ck_assert_msg(redis_route_init(r, urls, s, &err) == 0, "%s", err.text);
}

START_TEST(the_servers_of_a_list_have_their_turns)
{
	struct redis_settings s;
	struct redis_route r;

	redis_settings_init(&s);
	route_init(&r, &s, "redis://a/1; redis+socket:///b?virtual_host=2 ;redis://:pw@c:7/3");
	ck_assert(redis_route_has_replicas(&r));
	ck_assert_str_eq(redis_route_label(&r), "a:6379/1");
	ck_assert(!redis_route_is_last(&r));
	redis_route_advance(&r);
	ck_assert_str_eq(redis_route_label(&r), "/b db 2");
	redis_route_advance(&r);
	ck_assert(redis_route_is_last(&r));
	ck_assert_str_eq(redis_route_server(&r)->password, "pw");
	ck_assert_int_eq(redis_route_server(&r)->db, 3);
	redis_route_advance(&r);
	ck_assert_str_eq(redis_route_label(&r), "a:6379/1");
	redis_route_advance(&r);
	redis_route_rewind(&r);
	ck_assert_str_eq(redis_route_label(&r), "a:6379/1");
	redis_route_clear(&r);

	route_init(&r, &s, "redis://a");
	ck_assert(redis_route_is_last(&r) && !redis_route_has_replicas(&r));
	redis_route_clear(&r);
}
END_TEST

/* As kombu's _sentinel_managed_pool: login and database of the first URL are the master's. */
START_TEST(a_sentinel_url_describes_the_master)
{
	struct redis_settings s;
	struct redis_route r;

	redis_settings_init(&s);
	ck_assert_int_eq(redis_settings_read(&s,
					     "{\"master_name\": \"m\", \"sentinel_kwargs\": "
					     "{\"password\": \"for-sentinels\"}}",
					     NULL),
			 0);
	route_init(&r, &s, "sentinel://me:pw@a/3;sentinel://:other@b:7/4");
	ck_assert_str_eq(redis_route_label(&r), "m/3");
	ck_assert_int_eq(r.items[0].port, 26379);
	ck_assert_int_eq(r.items[1].port, 7);
	for (int i = 0; i < 2; i++) {
		ck_assert_ptr_null(r.items[i].user);
		ck_assert_str_eq(r.items[i].password, "for-sentinels");
	}
	redis_route_found(&r, "m", "10.1.2.3", 6380, 1);
	ck_assert_str_eq(redis_route_label(&r), "m at 10.1.2.3:6380/3");
	ck_assert(redis_route_is_at(&r, "10.1.2.3", 6380));
	ck_assert(!redis_route_is_at(&r, "10.1.2.3", 6381));
	ck_assert_str_eq(redis_route_server(&r)->host, "10.1.2.3");
	ck_assert_int_eq(redis_route_server(&r)->port, 6380);
	ck_assert_int_eq(redis_route_server(&r)->db, 3);
	ck_assert_str_eq(redis_route_server(&r)->user, "me");
	ck_assert_str_eq(redis_route_server(&r)->password, "pw");
	ck_assert_uint_eq(r.index, 1);
	redis_route_rewind(&r);
	ck_assert_uint_eq(r.index, 1);
	redis_route_clear(&r);
	redis_settings_clear(&s);
}
END_TEST

START_TEST(what_cannot_be_is_refused_without_showing_secrets)
{
	static const char *const bad[][2] = {
		{"", "empty"},
		{" ; ", "empty"},
		{"sentinel://:s3cret@a", "master_name"},
		{"redis://:s3cret@a;sentinel://b", "all begin with sentinel://"},
		{"redis://:s3cret@a;b:6379", "each server is written redis://host:port/db"},
		{"redis://:s3cret@a/0?socket_timeout=x", "socket_timeout is no number"},
		{"redis+sentinel://:s3cret@a/0", "sentinel://"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct redis_route r = {0};
		struct redis_settings s;
		struct err err = {0};

		redis_settings_init(&s);
		ck_assert_int_eq(redis_route_init(&r, bad[i][0], &s, &err), -1);
		ck_assert_msg(strstr(err.text, bad[i][1]) != NULL, "%s: %s", bad[i][0], err.text);
		ck_assert_ptr_null(strstr(err.text, "s3cret"));
		redis_route_clear(&r);
		redis_settings_clear(&s);
	}
}
END_TEST
