/*
 * The Lua scripts of the Redis broker. A script is sent by its digest; the first call on a
 * connection, and the one after a NOSCRIPT, carries its text and so loads it. Those that are seldom
 * called always carry it.
 *
 * Each begins with a command that a server at its memory limit allows, so that taking, answering
 * and staying alive go on there: what follows the first write of a script is not refused.
 */
#ifndef TRANSPORT_REDIS_SCRIPT_H
#define TRANSPORT_REDIS_SCRIPT_H

#include <stdbool.h>

#include "transport/redis_conn.h"

enum redis_script {
	/* Pops messages and records each as unacked, in one step.
	 * KEYS: unacked, index, nodes, a list per queue for what is set aside, the lists of the
	 * queues by step. ARGV: our id, epoch, first number, most messages, most bytes, most bytes
	 * of one, "1" = in turns, number of queues, and for each what closes its records.
	 * Answer: {{queue, bytes, ...} set aside, queue, message, queue, message, ...}, or nil when
	 * the registry does not know us by this epoch (a script of a connection that was given up
	 * may run late). */
	REDIS_SCRIPT_TAKE,
	/* KEYS: unacked, index. ARGV: most bytes, fields. Answer: records (nil: none, and its
	 * entry in the index is gone) up to those bytes, at least one. */
	REDIS_SCRIPT_READ,
	/* KEYS: unacked, index, lists. ARGV: for each list a field, a message, and "R" to be served
	 * next or "L" to be served last; a field that is to go to more lists stands there once for
	 * each, one after the other. Answer: how many were there. */
	REDIS_SCRIPT_PUT_BACK,
	/* KEYS: unacked, index, aside list. ARGV: field, message. Answer: 1 if it was there. */
	REDIS_SCRIPT_SET_ASIDE,
	/* KEYS: index. ARGV: fields. Answer: how many are there; they are as of now. */
	REDIS_SCRIPT_RENEW,
	/* We are alive. A node that others took for dead does not come back under its name.
	 * KEYS: nodes. ARGV: our id, a number that grows, most entries. Answer: {1 if we were on
	 * it, 1 if we were taken for dead, id, number, ...} */
	REDIS_SCRIPT_LIVE,
	/* Takes a node for dead, if its number is still that ("": if it has none). KEYS: nodes.
	 * ARGV: id, number. */
	REDIS_SCRIPT_BURY,
	/* KEYS: mutex, index. ARGV: token, ms to hold it, visibility timeout in seconds, most
	 * entries (0 = 1000 of the oldest). Answer: nil while another holds it, else fields. */
	REDIS_SCRIPT_EXPIRED,
	/* KEYS: mutex. ARGV: token. */
	REDIS_SCRIPT_UNLOCK,
	/* KEYS: bindings of an exchange, deadlines. ARGV: member, exchange, lifetime in ms. */
	REDIS_SCRIPT_BIND,
	/* KEYS: bindings of an exchange, those that last, deadlines, lists of the queue. ARGV:
	 * member, exchange. */
	REDIS_SCRIPT_UNBIND,
	/* KEYS: the number of the last batch, a list per message. ARGV: number of this one, seconds
	 * to remember it, messages. Answer: 0, or {index of a message, error, ...}; a batch that
	 * was done before is not done again. */
	REDIS_SCRIPT_PUBLISH,
	/* KEYS: bindings of an exchange, a list. ARGV: member, message, ms to live. Answer: 1 if it
	 * is bound, 0 if it is not, -1 if there are too many others to look at. */
	REDIS_SCRIPT_REPLY,
	/* As REPLY without bindings: KEYS: a list. ARGV: message, ms to live if the list is new or
	 * has so already. */
	REDIS_SCRIPT_POST,
	/* KEYS: a list, bindings of its exchange, those that last. ARGV: member, ms; "1" = in any
	 * case. Unbinds and deletes it when it has no longer than those ms to live. */
	REDIS_SCRIPT_REAP,
	/* KEYS: bindings of an exchange. ARGV: most. Answer: all of them, or how many there are. */
	REDIS_SCRIPT_TABLE,
	REDIS_SCRIPT_COUNT,
};

/* Of one exchange; more are not looked at. */
#define REDIS_TABLE_MOST 50000
/* What is put before the id of a node that was taken for dead. */
#define REDIS_NODE_DEAD "dead:"
/* The epoch of a node is the upper part of its number. */
#define REDIS_NODE_EPOCH 4294967296.0

struct redis_scripts {
	char digest[REDIS_SCRIPT_COUNT][41];
	bool needs_text[REDIS_SCRIPT_COUNT];
};

void redis_scripts_init(struct redis_scripts *s);
/* A new connection: another server may be behind it. */
void redis_scripts_reset(struct redis_scripts *s);
/* Asks for the bindings in this set: REDIS_SCRIPT_TABLE. */
int redis_script_ask_table(struct redis_scripts *s, struct redis_conn *conn, const char *key,
			   redis_conn_reply_fn *fn, void *ctx);
/* As redis_conn_command; args[0] and args[1] are filled in, the number of keys and so on follow. */
int redis_script_call(struct redis_scripts *s, struct redis_conn *conn, enum redis_script script,
		      struct redis_arg *args, int argc, redis_conn_reply_fn *fn, void *ctx);
/* The answer is NOSCRIPT: nothing was done, and the next call carries the text. */
bool redis_script_is_gone(struct redis_scripts *s, enum redis_script script,
			  const redisReply *reply);

#endif
