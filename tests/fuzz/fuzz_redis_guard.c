/* Any bytes of a server, cut anywhere, through the guard into hiredis' reader as redis_conn does.
 */
#include <hiredis/hiredis.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/redis_guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t step = size > 0 ? data[0] % 64 + 1 : 1;
	redisReader *reader = redisReaderCreate();
	struct redis_guard guard;
	void *reply = NULL;

	redis_guard_init(&guard, 4096);
	for (size_t at = 1; at < size; at += step) {
		size_t len = size - at < step ? size - at : step;

		if (redis_guard_feed(&guard, (const char *)data + at, len, NULL) < 0)
			break;
		redisReaderFeed(reader, (const char *)data + at, len);
		while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL)
			freeReplyObject(reply);
	}
	redisReaderFree(reader);
	return 0;
}
