/*
 * Bytes of a Redis server become replies: brief ones in place (redis_codec.h), all others by
 * hiredis behind the guard. Pure.
 */
#ifndef TRANSPORT_REDIS_REPLIES_H
#define TRANSPORT_REDIS_REPLIES_H

#include <hiredis/hiredis.h>
#include <stddef.h>

#include "base/err.h"
#include "transport/redis_guard.h"

#define REDIS_REPLY_BYTES ((size_t)64 << 20) /* where the caller says nothing */

struct redis_replies {
	redisReader *reader;
	struct redis_guard guard;
	size_t most;	   /* bytes of a reply */
	size_t unfinished; /* of the one at hand */
};

/* A reply, borrowed until return. 0: go on; 1: stop, the rest of the bytes is of no use; -1 with
 * `err`. */
typedef int redis_replies_fn(void *ctx, const redisReply *reply, struct err *err);

/* For a new connection; also after an earlier one. All zero before the first time. `most`: bytes of
 * one reply; 0 = REDIS_REPLY_BYTES. */
void redis_replies_reset(struct redis_replies *r, size_t most);
/* Gives every reply that is whole. `ret_used`: how many bytes were taken; the rest is to be fed
 * again with more behind it. -1: the connection is to be thrown away. */
int redis_replies_feed(struct redis_replies *r, const char *data, size_t len, size_t *ret_used,
		       redis_replies_fn *give, void *ctx, struct err *err);
void redis_replies_clear(struct redis_replies *r);

#endif
