/* Any bytes of a server, cut anywhere, through the guard into hiredis' reader as redis_conn does:
 * the verdict does not depend on the cuts, and neither the replies nor what the reader keeps of
 * them pass the guard's maxima. An answer that is read in place is what the reader makes of it. */
#include <hiredis/hiredis.h>

#include "tests/fuzz/fuzz.h"
#include "transport/redis_codec.h"
#include "transport/redis_guard.h"

#define BULK_MAX 100

static void check_reply(const redisReply *reply, int depth)
{
	size_t max = reply->type == REDIS_REPLY_STRING ? BULK_MAX : REDIS_GUARD_MAX_LINE_BYTES;

	fuzz_check(depth < 16);
	if (reply->type != REDIS_REPLY_ARRAY) {
		fuzz_check(reply->len <= max);
		return;
	}
	fuzz_check(reply->elements <= REDIS_GUARD_MAX_ELEMENTS);
	for (size_t i = 0; i < reply->elements; i++)
		check_reply(reply->element[i], depth + 1);
}

static void read_replies(redisReader *reader)
{
	void *reply = NULL;

	while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL) {
		check_reply(reply, 0);
		freeReplyObject(reply);
	}
}

static void check_brief(const char *data, size_t len)
{
	redisReader *reader = redisReaderCreate();
	redisReply brief = {0}, *reply;
	void *read = NULL;
	size_t used = len;
	enum redis_brief is = redis_brief_read(data, len, &brief, &used);

	fuzz_check(used <= len || is == REDIS_BRIEF_MORE);
	if (is != REDIS_BRIEF_NO) {
		redisReaderFeed(reader, data, is == REDIS_BRIEF_YES ? used : len);
		fuzz_check(redisReaderGetReply(reader, &read) == REDIS_OK);
		fuzz_check((read != NULL) == (is == REDIS_BRIEF_YES));
	}
	if (read) {
		reply = read;
		fuzz_check(reply->type == brief.type && reply->integer == brief.integer);
		fuzz_check(reply->len == brief.len);
		fuzz_check(brief.len == 0 || memcmp(reply->str, brief.str, brief.len) == 0);
		fuzz_check(reader->pos == reader->len);
		freeReplyObject(reply);
	}
	redisReaderFree(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t step = size > 0 ? data[0] % 64 + 1 : 1;
	redisReader *reader = redisReaderCreate();
	struct redis_guard guard, whole;
	struct err err = {0}, same = {0};

	redis_guard_init(&guard, BULK_MAX);
	redis_guard_init(&whole, BULK_MAX);
	if (size > 1)
		check_brief((const char *)data + 1, size - 1);
	if (size > 1)
		(void)redis_guard_feed(&whole, (const char *)data + 1, size - 1, &same);
	for (size_t at = 1; at < size && err.code == ERR_NONE; at += step) {
		size_t len = size - at < step ? size - at : step;

		if (redis_guard_feed(&guard, (const char *)data + at, len, &err) < 0)
			break;
		redisReaderFeed(reader, (const char *)data + at, len);
		read_replies(reader);
		if (!reader->err)
			fuzz_check(reader->len - reader->pos <= REDIS_GUARD_MAX_LINE_BYTES + step);
	}
	fuzz_check(err.code == same.code && strcmp(err.text, same.text) == 0);
	fuzz_check_one_line(err.text);
	redisReaderFree(reader);
	return 0;
}
