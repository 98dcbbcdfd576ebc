/*
 * What goes over a Redis connection ten thousand times a second, without an allocation: commands
 * are written where they leave from, and the answers that say hardly more than "done" are read in
 * place. All other answers are hiredis' business. Pure.
 */
#ifndef TRANSPORT_REDIS_CODEC_H
#define TRANSPORT_REDIS_CODEC_H

#include <hiredis/hiredis.h>

#include "base/str.h"

struct redis_arg {
	const char *data;
	size_t len;
};
#define REDIS_ARG(literal)                                                                         \
	((struct redis_arg){                                                                       \
		.data = (literal),                                                                 \
		.len = sizeof(literal) - 1,                                                        \
	})
/* Variadic commands go up to here (a server takes a million); longer lists are to be split, for a
 * server does nothing else meanwhile. */
#define REDIS_MAX_ARGS 16384

/* Appends a command of 1 to REDIS_MAX_ARGS; -1 when it does not fit (nothing was added). */
int redis_command_write(struct str *out, const struct redis_arg *args, int argc);

enum redis_brief {
	REDIS_BRIEF_NO,	  /* some other answer */
	REDIS_BRIEF_MORE, /* may become one with the next bytes */
	REDIS_BRIEF_YES,
};
/* The answer at the front of the bytes, when it is "+OK", ":" and a number, or "$-1". Its members
 * are good for reading only: nothing of it is to be freed. */
enum redis_brief redis_brief_read(const char *data, size_t len, redisReply *ret_reply,
				  size_t *ret_used);

#endif
