#include <check.h>
#include <string.h>

#include "base/mem.h"
#include "transport/redis_codec.h"

START_TEST(a_command_is_written_as_hiredis_writes_it)
{
	size_t lens[] = {0, 1, 9, 10, 99, 100, 12345};
	char *data = mem_calloc(1, 12345);

	memset(data, 'x', 12345);
	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		struct redis_arg args[] = {REDIS_ARG("SET"), {data, lens[i]}, REDIS_ARG("\r\n\0")};
		const char *argv[] = {"SET", data, "\r\n\0"};
		size_t argv_len[] = {3, lens[i], 3};
		auto_str out = STR_INIT(100000);
		char *expected = NULL;
		long long len = redisFormatCommandArgv(&expected, 3, argv, argv_len);

		str_puts(&out, "before");
		ck_assert_int_eq(redis_command_write(&out, args, 3), 0);
		ck_assert_uint_eq(out.len, 6 + (size_t)len);
		ck_assert_mem_eq(out.data, "before", 6);
		ck_assert_mem_eq(out.data + 6, expected, (size_t)len);
		redisFreeCommand(expected);
	}
	mem_free_ptr(&data);
}
END_TEST

START_TEST(a_command_has_as_many_arguments_as_it_needs)
{
	size_t count = REDIS_MAX_ARGS;
	struct redis_arg *args = mem_calloc(count + 1, sizeof(*args));
	const char **argv = mem_calloc(count, sizeof(*argv));
	size_t *argv_len = mem_calloc(count, sizeof(*argv_len));
	auto_str out = STR_INIT((size_t)1 << 20), tight = STR_INIT((size_t)64 << 10);
	char *expected = NULL;
	long long len;

	args[0] = REDIS_ARG("HDEL");
	for (size_t i = 1; i <= count; i++)
		args[i] = REDIS_ARG("0123456789abcdef");
	for (size_t i = 0; i < count; i++) {
		argv[i] = args[i].data;
		argv_len[i] = args[i].len;
	}
	len = redisFormatCommandArgv(&expected, (int)count, argv, argv_len);
	ck_assert_int_eq(redis_command_write(&out, args, (int)count), 0);
	ck_assert_uint_eq(out.len, (size_t)len);
	ck_assert_mem_eq(out.data, expected, (size_t)len);
	redisFreeCommand(expected);

	ck_assert_int_eq(redis_command_write(&out, args, (int)count + 1), -1);
	ck_assert_int_eq(redis_command_write(&out, args, 0), -1);
	ck_assert_uint_eq(out.len, (size_t)len);
	ck_assert_int_eq(redis_command_write(&tight, args, (int)count), -1);
	ck_assert_uint_eq(tight.len, 0);
	mem_free_ptr(&args);
	mem_free_ptr(&argv);
	mem_free_ptr(&argv_len);
}
END_TEST

START_TEST(what_does_not_fit_leaves_no_trace)
{
	auto_str out = STR_INIT(100);
	struct redis_arg large = {"", 101}, huge[] = {{"", SIZE_MAX}, {"", SIZE_MAX}};

	ck_assert_int_eq(redis_command_write(&out, &large, 1), -1);
	ck_assert_int_eq(redis_command_write(&out, huge, 2), -1);
	ck_assert_uint_eq(out.len, 0);
	ck_assert_int_eq(redis_command_write(&out, &REDIS_ARG("PING"), 1), 0);
	ck_assert_str_eq(out.data, "*1\r\n$4\r\nPING\r\n");
}
END_TEST

static enum redis_brief brief(const char *data, size_t len, redisReply *ret, size_t *ret_used)
{
	/* Of its very size, so that a sanitizer sees a read behind it. */
	auto_free char *copy = len ? mem_alloc(len) : NULL;

	if (len)
		memcpy(copy, data, len);
	return redis_brief_read(copy, len, ret, ret_used);
}

START_TEST(brief_answers_are_read_once_they_are_whole)
{
	static const struct {
		const char *text;
		int type;
		long long integer;
	} rows[] = {
		{"+OK\r\n", REDIS_REPLY_STATUS, 0},
		{":0\r\n", REDIS_REPLY_INTEGER, 0},
		{":1234567890\r\n", REDIS_REPLY_INTEGER, 1234567890},
		{":999999999999999999\r\n", REDIS_REPLY_INTEGER, 999999999999999999},
		{"$-1\r\n", REDIS_REPLY_NIL, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		size_t len = strlen(rows[i].text), used = 0;
		auto_free char *more = mem_printf("%s:7\r\n", rows[i].text);
		redisReply reply = {0};

		for (size_t part = 1; part < len; part++)
			ck_assert_int_eq(brief(rows[i].text, part, &reply, &used),
					 REDIS_BRIEF_MORE);
		ck_assert_int_eq(brief(more, strlen(more), &reply, &used), REDIS_BRIEF_YES);
		ck_assert_uint_eq(used, len);
		ck_assert_int_eq(reply.type, rows[i].type);
		ck_assert_int_eq(reply.integer, rows[i].integer);
	}
}
END_TEST

START_TEST(everything_else_is_left_to_the_reader)
{
	static const char *const texts[] = {
		"",	      "-ERR no\r\n",	  "+QUEUED\r\n", "+OKAY\r\n",
		"$0\r\n\r\n", "$-2\r\n",	  "*-1\r\n",	 ":9999999999999999999\r\n",
		":-1\r\n",    ":06\r\n",	  ":\r\n",	 ":1x\r\n",
		":1\rx",      "HTTP/1.1 400\r\n",
	};
	redisReply reply = {0};
	size_t used = 0;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		ck_assert_msg(brief(texts[i], strlen(texts[i]), &reply, &used) == REDIS_BRIEF_NO,
			      "'%s'", texts[i]);
}
END_TEST
