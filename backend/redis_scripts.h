/* The Lua scripts of the Redis store, and the names under which a server has them. */
#ifndef BACKEND_REDIS_SCRIPTS_H
#define BACKEND_REDIS_SCRIPTS_H

#include "transport/redis_conn.h"

enum redis_script {
	/* KEYS: key. ARGV: record, seconds (0 = never), and a third one for a revoke. */
	REDIS_SCRIPT_STORE,
	/* KEYS: .j .t .s .d, the group, .c. ARGV: member of .d, member, place or "" for a list,
	 * size or 0, seconds of the chord and of the group, of the claim, of the publish, token,
	 * members to answer with. */
	REDIS_SCRIPT_CHORD_PART,
	REDIS_SCRIPT_CHORD_EXTEND, /* KEYS: .c .s. ARGV: token, seconds */
	REDIS_SCRIPT_CHORD_END,	   /* KEYS: .c .j .t .s .d. ARGV: token, seconds, or "" on error */
	REDIS_SCRIPT_CHORD_ADD,	   /* KEYS: .d .t. ARGV: member of .d, seconds */
	REDIS_SCRIPT_COUNT
};

extern const char *const redis_script_text[REDIS_SCRIPT_COUNT];

/* `refusal` NULL: the server has them all. */
typedef void redis_scripts_done_fn(void *ctx, const char *refusal);

struct redis_script_names {
	char sha[REDIS_SCRIPT_COUNT][48];
	/* while they are loaded */
	unsigned loaded;
	struct redis_conn *conn;
	redis_scripts_done_fn *done;
	void *ctx;
};
/* One after the other. When the connection dies meanwhile, `done` does not come. */
void redis_scripts_load(struct redis_script_names *names, struct redis_conn *conn,
			redis_scripts_done_fn *done, void *ctx);

#endif
