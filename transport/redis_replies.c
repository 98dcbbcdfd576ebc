#include "transport/redis_replies.h"

#include <stdbool.h>
#include <string.h>

#include "transport/redis_codec.h"

#define AROUND_BYTES                                                                               \
	((size_t)1 << 20) /* headers of an array's elements, the next reply's begin                \
			   */

void redis_replies_reset(struct redis_replies *r, size_t most)
{
	redis_replies_clear(r);
	r->most = most ? most : REDIS_REPLY_BYTES;
	r->reader = redisReaderCreate();
	redis_guard_init(&r->guard, r->most);
}

void redis_replies_clear(struct redis_replies *r)
{
	if (r->reader)
		redisReaderFree(r->reader);
	memset(r, 0, sizeof(*r));
}

/* Between two answers, with no byte of the next. Asking for an answer then would make it look as if
 * one had begun. */
static bool reader_is_empty(const redisReader *reader)
{
	return reader->ridx < 0 && reader->pos == reader->len;
}

/* The way of all answers that are not brief. */
static int long_feed(struct redis_replies *r, const char *data, size_t len, redis_replies_fn *give,
		     void *ctx, struct err *err)
{
	if (redis_guard_feed(&r->guard, data, len, err) < 0)
		return -1;
	r->unfinished += len;
	if (r->unfinished > r->most + AROUND_BYTES)
		return err_set(err, ERR_LIMIT, "answer of more than %zu bytes", r->most);
	if (redisReaderFeed(r->reader, data, len) != REDIS_OK)
		return err_set(err, ERR_PROTOCOL, "%.100s", r->reader->errstr);
	do {
		void *reply = NULL;
		int rc;

		if (redisReaderGetReply(r->reader, &reply) != REDIS_OK)
			return err_set(err, ERR_PROTOCOL, "%.100s", r->reader->errstr);
		if (reply == NULL)
			return 0;
		r->unfinished = 0;
		rc = give(ctx, reply, err);
		freeReplyObject(reply);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
	} while (!reader_is_empty(r->reader));
	return 0;
}

/* Brief answers are taken off the front as long as there are any; hiredis reads on from the first
 * that is not, up to the end of these bytes. */
int redis_replies_feed(struct redis_replies *r, const char *data, size_t len, size_t *ret_used,
		       redis_replies_fn *give, void *ctx, struct err *err)
{
	enum redis_brief is = reader_is_empty(r->reader) ? REDIS_BRIEF_YES : REDIS_BRIEF_NO;
	size_t at = 0, used = 0;
	redisReply reply;

	*ret_used = len;
	while (is == REDIS_BRIEF_YES && at < len) {
		int rc;

		is = redis_brief_read(data + at, len - at, &reply, &used);
		if (is != REDIS_BRIEF_YES)
			break;
		at += used;
		rc = give(ctx, &reply, err);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
	}
	if (is == REDIS_BRIEF_NO)
		return long_feed(r, data + at, len - at, give, ctx, err);
	*ret_used = at;
	return 0;
}
