/*
 * One store or read on its way to Redis: the commands it takes and what their answers mean. The
 * owner keeps the lists and decides what is sent when. A store goes one of three ways:
 *
 * PLAIN: SET ... NX and PUBLISH, half the work of a script for the server. Once only, and only for
 * a record that most likely finds no other: if one is there, nothing was stored, and the script
 * decides about the two. What was not answered, or refused, goes by script next time too.
 * SCRIPT: one round trip, atomic. Keeps a stored SUCCESS (a revoke more than that), else sets and
 * publishes. A SUCCESS that is this very record was stored by an earlier send, whose PUBLISH may
 * not have come about: it is published (again). TRANSACTION: where the server refuses scripts, or
 * its Lua cannot read the old record, GET, then MULTI, SETEX, PUBLISH, EXEC as Celery does it; the
 * same rules.
 */
#ifndef BACKEND_REDIS_OP_H
#define BACKEND_REDIS_OP_H

#include <stdbool.h>
#include <stddef.h>

#include "backend/backend.h"
#include "backend/redis_scripts.h"
#include "base/list.h"
#include "transport/redis_conn.h"

struct redis_op;
struct redis_chord;

/* Exactly one follows a redis_op_send that returned 0, unless the connection dies. */
struct redis_op_events {
	void (*stored)(struct redis_op *op); /* or a SUCCESS stood there and was kept */
	void (*taken)(struct redis_op *op);  /* another record stood there: send it again */
	void (*found)(struct redis_op *op, const char *record, size_t len); /* NULL: no key */
	void (*busy)(struct redis_op *op); /* to be sent again after a while */
	void (*refused)(struct redis_op *op, const char *answer);
};

enum redis_way { REDIS_WAY_PLAIN, REDIS_WAY_SCRIPT, REDIS_WAY_TRANSACTION };

/* A store, or a read when `got` is set, or what `chord` says (redis_chord.h). */
struct redis_op {
	struct list_node node;
	const struct redis_op_events *events;
	void *owner;
	struct redis_arg key, record; /* in `bytes`; the key has a NUL behind it */
	struct redis_arg seconds;     /* borrowed; "0" = never */
	enum task_state state;
	bool may_go_plain;  /* may go the way PLAIN, once */
	bool is_revoke;	    /* backend_record.is_revoke */
	bool is_taken;	    /* on that way: SET found a key */
	enum redis_way way; /* that it went last */
	backend_done_fn *done;
	backend_got_fn *got;
	void *ctx;
	struct redis_chord *chord;
	struct redis_conn *conn; /* where it was sent */
	char *refusal;		 /* the first error of several answers */
	char bytes[];
};

/* The key is prefix and id. All other members are left 0 for the owner to set. */
struct redis_op *redis_op_new(const struct redis_arg *prefix, const char *id,
			      const struct redis_arg *record);
/* What it takes of the memory that is allowed to wait. */
size_t redis_op_cost(const struct redis_op *op);
/* Unlinks and frees; `done` and `got` are not called. */
void redis_op_free(struct redis_op *op);
/* `scripts` NULL: the server knows none. -1 when the connection takes no more now. */
int redis_op_send(struct redis_op *op, struct redis_conn *conn,
		  const struct redis_script_names *scripts);

/* For operations of several commands. The callbacks need to do nothing for reply NULL: when a
 * connection dies, the owner takes back all that was on its way. */
int redis_op_command(struct redis_op *op, redis_conn_reply_fn *fn, const struct redis_arg *args,
		     int argc);
/* Remembers an error. */
void redis_op_on_queued(void *ctx, const redisReply *reply);
/* The last of several answers is in. False when one of them was an error; it has been told. */
bool redis_op_all_accepted(struct redis_op *op, const redisReply *last);

#endif
