#include <check.h>
#include <string.h>

#include "transport/redis_guard.h"

/* Feeds the text whole and byte by byte; both must agree. */
static enum err_code feed(const char *text, size_t len)
{
	struct redis_guard whole, bytes;
	struct err a = {0}, b = {0};

	redis_guard_init(&whole, 1000);
	redis_guard_init(&bytes, 1000);
	redis_guard_feed(&whole, text, len, &a);
	for (size_t i = 0; i < len && b.code == ERR_NONE; i++)
		redis_guard_feed(&bytes, text + i, 1, &b);
	ck_assert_int_eq(a.code, b.code);
	return a.code;
}

#define assert_feed(text, code) ck_assert_int_eq(feed((text), sizeof(text) - 1), (code))

/* C-52 */
START_TEST(the_alert_of_a_server_with_tls_is_known)
{
	struct redis_guard guard;
	struct err err = {0};

	redis_guard_init(&guard, 1000);
	ck_assert_int_eq(redis_guard_feed(&guard, "\x15\x03\x01", 3, &err), -1);
	ck_assert(strstr(err.text, "use rediss://") != NULL);
}
END_TEST

START_TEST(what_redis_says_passes)
{
	assert_feed("+OK\r\n:12\r\n-ERR no\r\n$-1\r\n*-1\r\n", ERR_NONE);
	assert_feed("$5\r\nab\ncd\r\n+OK\r\n", ERR_NONE);
	assert_feed("$0\r\n\r\n:1\r\n", ERR_NONE);
	assert_feed("*2\r\n$3\r\n$9\n\r\n*1\r\n:3\r\n", ERR_NONE);
	assert_feed("$7\r\n*999999\r\n+", ERR_NONE);
}
END_TEST

START_TEST(what_is_no_redis_is_refused)
{
	assert_feed("HTTP/1.1 400 Bad Request\r\n", ERR_PROTOCOL);
	assert_feed("+OK\r\n\r\n", ERR_PROTOCOL);
	assert_feed("\n", ERR_PROTOCOL);
	assert_feed("\0", ERR_PROTOCOL);
	assert_feed("$abc\r\n", ERR_PROTOCOL);
	assert_feed("$-2\r\n", ERR_PROTOCOL);
	assert_feed("$\r\n", ERR_PROTOCOL);
	assert_feed("*99999999999999999999999999999999\r\n", ERR_PROTOCOL);
	assert_feed("%2\r\n", ERR_PROTOCOL);
}
END_TEST

START_TEST(what_is_too_much_is_refused)
{
	char line[70000];

	assert_feed("$1000\r\n", ERR_NONE);
	assert_feed("$1001\r\n", ERR_LIMIT);
	assert_feed("$9223372036854775807\r\n", ERR_LIMIT);
	assert_feed("*65536\r\n", ERR_NONE);
	assert_feed("*1000000000\r\n", ERR_LIMIT);
	assert_feed("*1\r\n*1000000000\r\n", ERR_LIMIT);
	memset(line, 'x', sizeof(line));
	line[0] = '+';
	ck_assert_int_eq(feed(line, sizeof(line)), ERR_LIMIT);
}
END_TEST
