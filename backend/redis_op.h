/*
 * One store or read on its way to Redis: the commands it takes and what their answers mean. A store
 * is a script (one round trip, atomic); where the server refuses scripts, a GET and then MULTI,
 * SETEX, PUBLISH, EXEC as Celery does it. The owner keeps the lists and decides what is sent when.
 */
#ifndef BACKEND_REDIS_OP_H
#define BACKEND_REDIS_OP_H

#include <stdbool.h>
#include <stddef.h>

#include "backend/backend.h"
#include "base/list.h"
#include "transport/redis_conn.h"

struct redis_op;

/* Exactly one follows a redis_op_send that returned 0, unless the connection dies. */
struct redis_op_events {
	void (*stored)(struct redis_op *op); /* or a SUCCESS stood there and was kept */
	void (*found)(struct redis_op *op, const char *record, size_t len); /* NULL: no key */
	void (*refused)(struct redis_op *op, const char *answer);
};

/* A store, or a read when `got` is set. */
struct redis_op {
	struct list_node node;
	const struct redis_op_events *events;
	void *owner;
	char *key;
	char *record;
	size_t len;
	int expires_s; /* 0 = never */
	backend_done_fn *done;
	backend_got_fn *got;
	void *ctx;
	struct redis_conn *conn; /* where it was sent */
	char *refusal;		 /* the first error within a transaction */
};

/* KEYS: key. ARGV: record, seconds (0 = never). Keeps a stored SUCCESS, else sets and publishes. */
extern const char redis_store_script[];

/* What it takes of the memory that is allowed to wait. */
size_t redis_op_cost(const struct redis_op *op);
/* Unlinks and frees; `done` and `got` are not called. */
void redis_op_free(struct redis_op *op);
/* `script_sha` NULL: without scripts. -1 when the connection takes no more now. */
int redis_op_send(struct redis_op *op, struct redis_conn *conn, const char *script_sha);

#endif
