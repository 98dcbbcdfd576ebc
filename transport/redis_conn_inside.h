/*
 * The parts of a connection to Redis and what they know of each other. Internal to
 * transport/redis_conn*.
 *
 *     redis_conn.c           the life of the object, commands and replies, the watch
 *     redis_conn_greeting.c  login, database, role and name
 */
#ifndef TRANSPORT_REDIS_CONN_INSIDE_H
#define TRANSPORT_REDIS_CONN_INSIDE_H

#include "transport/redis_calls.h"
#include "transport/redis_conn.h"
#include "transport/redis_replies.h"
#include "transport/redis_route.h"
#include "transport/redis_sentinel.h"
#include "transport/stream.h"

enum conn_state {
	CONN_WAITING,	 /* no stream; the timer will connect */
	CONN_ASKING,	 /* no stream; a Sentinel is asked where to connect to */
	CONN_CONNECTING, /* stream opened, not yet connected */
	CONN_GREETING,	 /* AUTH, SELECT, CLIENT SETNAME are under way */
	CONN_UP,	 /* on_up was called */
	CONN_CLOSED,
};

struct redis_conn {
	uv_loop_t *loop;
	const struct redis_conn_events *events;
	void *ctx;
	struct redis_route route;
	struct redis_settings settings;
	size_t max_output, max_reply;
	enum conn_state state;
	struct stream *stream;
	struct redis_replies replies;
	struct redis_calls calls;
	unsigned greetings; /* of these, how many belong to the greeting */
	struct redis_sentinel *question;
	uint64_t asked_ms, moved_ms; /* a Sentinel; and left the server at its word (0 = never) */
	uv_timer_t timer;	     /* to connect again, or to watch */
	unsigned attempt;	     /* failed rounds in a row */
	uint64_t wait_ms;	     /* until the next */
	uint64_t up_since_ms, waiting_since_ms; /* the latter: or idle */
	uint64_t progress_ms;	  /* when last the peer was seen to take a part of a large output */
	bool has_tried, was_good; /* ever; the connection before */
	bool is_watched_closely;  /* the timer runs for an answer */
	char *restart_because;	  /* redis_conn_restart was called */
};

/* redis_conn.c */
/* In any state with a stream. */
int conn_send(struct redis_conn *c, const struct redis_arg *args, int argc, redis_conn_reply_fn *fn,
	      void *ctx);
/* Throws the stream away, hands unanswered commands back, and tries again. */
void conn_lost(struct redis_conn *c, const struct err *why);
const char *conn_label(const struct redis_conn *c);

/* redis_conn_greeting.c */
void conn_greet(struct redis_conn *c);

#endif
