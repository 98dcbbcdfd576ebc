#include "transport/redis_codec.h"

#include <stdint.h>
#include <string.h>

#define LEN_DIGITS    20 /* of any size_t */
#define LINE_OVERHEAD (LEN_DIGITS + 5)
#define MAX_DIGITS    18 /* any number of so many fits a long long */

static char *put_bytes(char *to, const char *data, size_t len)
{
	memcpy(to, data, len);
	return to + len;
}

/* "$12" and CR LF */
static char *put_length(char *to, char type, size_t number)
{
	char digits[LEN_DIGITS];
	char *first = digits + sizeof(digits);

	do
		*--first = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	*to++ = type;
	to = put_bytes(to, first, (size_t)(digits + sizeof(digits) - first));
	return put_bytes(to, "\r\n", 2);
}

int redis_command_write(struct str *out, const struct redis_arg *args, int argc)
{
	size_t most = LINE_OVERHEAD;
	char *start, *to;

	if (argc < 1 || argc > REDIS_MAX_ARGS)
		return -1;
	for (int i = 0; i < argc; i++) {
		if (args[i].len > out->max || most > out->max)
			return -1;
		most += args[i].len + LINE_OVERHEAD;
	}
	/* Looked at before, because a buffer that was full once takes nothing more. */
	if (out->is_full || most > out->max - out->len)
		return -1;
	start = to = str_reserve(out, most);
	if (to == NULL)
		return -1;
	to = put_length(to, '*', (size_t)argc);
	for (int i = 0; i < argc; i++) {
		to = put_length(to, '$', args[i].len);
		to = put_bytes(to, args[i].data, args[i].len);
		to = put_bytes(to, "\r\n", 2);
	}
	str_commit(out, (size_t)(to - start));
	return 0;
}

static enum redis_brief brief_fixed(const char *data, size_t len, const char *line, size_t line_len,
				    size_t *ret_used)
{
	size_t have = len < line_len ? len : line_len;

	if (memcmp(data, line, have) != 0)
		return REDIS_BRIEF_NO;
	*ret_used = line_len;
	return have == line_len ? REDIS_BRIEF_YES : REDIS_BRIEF_MORE;
}

static enum redis_brief brief_number(const char *data, size_t len, long long *ret_number,
				     size_t *ret_used)
{
	long long number = 0;
	size_t at = 1;

	for (; at < len && at <= MAX_DIGITS && data[at] >= '0' && data[at] <= '9'; at++)
		number = number * 10 + (data[at] - '0');
	if (at == len)
		return REDIS_BRIEF_MORE;
	if (at == 1 || data[at] != '\r' || (data[1] == '0' && at > 2))
		return REDIS_BRIEF_NO;
	if (at + 1 == len)
		return REDIS_BRIEF_MORE;
	if (data[at + 1] != '\n')
		return REDIS_BRIEF_NO;
	*ret_number = number;
	*ret_used = at + 2;
	return REDIS_BRIEF_YES;
}

enum redis_brief redis_brief_read(const char *data, size_t len, redisReply *ret_reply,
				  size_t *ret_used)
{
	redisReply reply = {.type = REDIS_REPLY_NIL};
	enum redis_brief is = REDIS_BRIEF_NO;

	if (len == 0)
		return REDIS_BRIEF_NO;
	if (*data == '+') {
		reply.type = REDIS_REPLY_STATUS;
		reply.str = (char *)(uintptr_t) "OK"; /* not const in hiredis' struct */
		reply.len = 2;
		is = brief_fixed(data, len, "+OK\r\n", 5, ret_used);
	} else if (*data == ':') {
		reply.type = REDIS_REPLY_INTEGER;
		is = brief_number(data, len, &reply.integer, ret_used);
	} else if (*data == '$') {
		is = brief_fixed(data, len, "$-1\r\n", 5, ret_used);
	}
	if (is == REDIS_BRIEF_YES)
		*ret_reply = reply;
	return is;
}
