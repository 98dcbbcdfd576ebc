/*
 * Watches the bytes of a Redis server before the reply reader gets them: the reader allocates what
 * an array header announces and buffers whatever a bulk header announces, so both are checked here
 * first. Pure; knows RESP2 only, because RESP3 is never asked for.
 */
#ifndef TRANSPORT_REDIS_GUARD_H
#define TRANSPORT_REDIS_GUARD_H

#include <stddef.h>

#include "base/err.h"

#define REDIS_GUARD_MAX_ELEMENTS   65536
#define REDIS_GUARD_MAX_LINE_BYTES ((size_t)64 * 1024)

struct redis_guard {
	size_t max_bulk_bytes;
	size_t line_len; /* bytes of the line at hand */
	size_t skip;	 /* bytes of a bulk string still to come, its CR LF included */
	char type;	 /* first byte of the line */
	char digits[24];
	size_t digit_count;
};

void redis_guard_init(struct redis_guard *g, size_t max_bulk_bytes);
/* The next bytes of the stream. ERR_PROTOCOL or ERR_LIMIT: the connection is to be thrown away. */
int redis_guard_feed(struct redis_guard *g, const char *data, size_t len, struct err *err);

#endif
