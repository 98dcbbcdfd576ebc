/*
 * Bodies of events as Celery's monitors read them, written straight into a buffer. The order of
 * fields is Celery's; `utcoffset` is left out, because readers shift the time by it although
 * timestamps are absolute. Sources: celery/events/dispatcher.py, celery/events/event.py,
 * celery/worker/{heartbeat,strategy,request}.py, celery/app/amqp.py.
 *
 * Every function adds one JSON object, or nothing and returns -1 when there is no room.
 */
#ifndef PROTOCOL_EVENT_H
#define PROTOCOL_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "protocol/value.h"

/* What all events begin with: from event_sender, made once per sender. */
int event_sender(struct str *out, const char *hostname, int pid);

struct event_head {
	struct span sender;
	uint64_t clock;
	int64_t now_us; /* Unix time */
};

/* Texts may be NULL (null) unless said; uuid may not. TIME_UNSET (task_message.h) is null. */
struct event_message {
	const char *uuid, *root_id, *parent_id, *name;
	const char *args, *kwargs; /* Python's repr of them; NULL = "" */
	int64_t retries;
	int64_t eta_us, expires_us;
	const char *queue, *exchange, *routing_key; /* of task-sent only */
};
int event_received(struct str *out, const struct event_head *head, const struct event_message *m);
int event_sent(struct str *out, const struct event_head *head, const struct event_message *m);

int event_started(struct str *out, const struct event_head *head, const char *uuid);
/* `result`: its repr. `runtime_s` < 0: not known. */
int event_succeeded(struct str *out, const struct event_head *head, const char *uuid,
		    struct span result, double runtime_s);
/* `traceback` NULL: there is none, as for unregistered tasks. */
int event_failed(struct str *out, const struct event_head *head, const char *uuid,
		 const char *exception, const char *traceback);
int event_retried(struct str *out, const struct event_head *head, const char *uuid,
		  const char *exception, const char *traceback);
int event_rejected(struct str *out, const struct event_head *head, const char *uuid, bool requeue);
/* `signum` 0: none. */
int event_revoked(struct str *out, const struct event_head *head, const char *uuid, bool terminated,
		  int signum, bool expired);
int event_cancelled(struct str *out, const struct event_head *head, const char *uuid);

struct event_node {
	double freq_s;
	bool is_short; /* without the next three: the answer to the control command `heartbeat` */
	uint64_t active, processed;
	double loadavg[3];
	const char *sw_ident, *sw_ver, *sw_sys;
};
/* `type`: "worker-online", "worker-heartbeat", "worker-offline" */
int event_node(struct str *out, const struct event_head *head, const char *type,
	       const struct event_node *node);

/* JSON texts. */
int event_elect(struct str *out, const struct event_head *head, struct span id, struct span topic,
		struct span action);
int event_elect_ack(struct str *out, const struct event_head *head, struct span id);

#endif
