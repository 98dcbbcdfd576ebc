/*
 * One connection to a Redis server that comes back by itself: pipelined commands over a stream,
 * with hiredis as a reader only. AUTH, SELECT and CLIENT SETNAME are done before it counts as up.
 * What was not answered when the connection died is handed back (reply NULL), in the order it was
 * sent: the caller decides what to send again.
 *
 * The URL may be a fail-over list "a;b;c": a server that is out of reach, or a replica, is passed
 * over at once. With sentinel://a;sentinel://b the master is where the Sentinels say; they are
 * asked before each attempt and, while connected, every 10 s (sooner when the master leaves
 * commands unanswered): who is not the master any more is left.
 *
 * Reconnects for ever: the first time at once, then after 0.1 s, doubling to 2 s (to 26 s where the
 * login or the database was refused). A server that leaves commands unanswered for socket_timeout
 * (15 s) is taken for dead; an idle one is asked every health_check_interval (25 s).
 *
 * Threads: loop thread only. Calls never block. Callbacks come from the loop, never from inside a
 * call.
 */
#ifndef TRANSPORT_REDIS_CONN_H
#define TRANSPORT_REDIS_CONN_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/err.h"
#include "transport/redis_codec.h"
#include "transport/redis_settings.h"

struct redis_conn;

struct redis_conn_events {
	void (*on_up)(void *ctx);
	/* Lost, or an attempt failed; each time. No secrets in `why`. */
	void (*on_down)(void *ctx, const struct err *why);
	/* redis_conn_close has finished. */
	void (*on_closed)(void *ctx);
	/* What a subscriber is sent unasked: "message" or "pmessage", an array of three or four.
	 * NULL on a connection that subscribes to nothing. A (P)SUBSCRIBE of one name is answered
	 * as any command is. */
	void (*on_push)(void *ctx, const redisReply *message);
	/* Last chance to add commands before they are written: once in a turn of the loop after
	 * redis_conn_wake or a command, while the connection is up. May be NULL. */
	void (*on_flush)(void *ctx);
};

struct redis_conn_options {
	uv_loop_t *loop;
	/* As redis_address.h knows them; "a;b;c" = fail-over list. */
	const char *url;
	const struct redis_settings *settings; /* NULL = the defaults */
	/* Where settings and URL say nothing: */
	const char *client_name; /* for CLIENT LIST; NULL = none; no spaces */
	double connect_timeout_s;
	size_t max_output; /* bytes of commands that may wait to be written */
	size_t max_reply;  /* bytes of one answer; 0 = 64 MiB */
	const struct redis_conn_events *events;
	void *ctx;
};

/* `reply` NULL: the connection died before the answer came. Borrowed until return. */
typedef void redis_conn_reply_fn(void *ctx, const redisReply *reply);

struct redis_conn *redis_conn_open(const struct redis_conn_options *options, struct err *err);
/* Where it goes, for people: "host:port/db", "/path db", "master at host:port/db". Good until the
 * next turn of the loop. */
const char *redis_conn_host(const struct redis_conn *c);
bool redis_conn_has_tls(const struct redis_conn *c);
/* Inside on_down: seconds until the next attempt. */
double redis_conn_retry_in_s(const struct redis_conn *c);
/* Queues a command of 1 to REDIS_MAX_ARGS, copying it; all of one turn of the loop leave in one
 * write. -1 when it is not up or its output is full; the callback does not come then. */
int redis_conn_command(struct redis_conn *c, const struct redis_arg *args, int argc,
		       redis_conn_reply_fn *fn, void *ctx);
/* on_flush will be called in this turn of the loop (or the next, from a prepare callback). */
void redis_conn_wake(struct redis_conn *c);
/* Throws the connection away and connects again (a fail-over made this server a replica). */
void redis_conn_restart(struct redis_conn *c, const char *reason);
/* Unanswered commands are dropped without a callback; on_closed follows. */
void redis_conn_close(struct redis_conn *c);

#endif
