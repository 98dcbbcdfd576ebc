/*
 * The events dispatcher: collects the events of a turn of the loop and publishes them to celeryev,
 * those about tasks as one `task.multi`. Nothing is lost and nothing overtakes while the broker is
 * away: publishes are confirmed, what happens between two connections is kept until the next one.
 * Above a bound events are dropped and counted, never tasks held back.
 *
 * Groups as Celery has them: without -E only worker events are sent, and enable_events adds those
 * of tasks; with -E there is no filter, and neither command changes anything.
 *
 * Sources: celery/events/dispatcher.py, celery/worker/consumer/events.py.
 */
#ifndef WORKER_REPORT_EVENTS_H
#define WORKER_REPORT_EVENTS_H

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

#include "base/list.h"
#include "protocol/event.h"
#include "protocol/lamport.h"
#include "transport/broker.h"
#include "worker/config/config.h"
#include "worker/request/request.h"

#define EVENTS_WAITING_MAX ((size_t)16 << 20) /* bytes that wait for the broker */

struct events {
	const struct config *config;
	struct lamport *clock;
	struct broker *broker; /* NULL while there is no connection */
	struct exchange_def exchange;
	json_t *headers, *producer_headers; /* hostname */
	struct str sender;		    /* of this worker */
	struct str producer;		    /* "gen<pid>@host": of the messages it sends */
	bool has_tasks;			    /* task events are sent; for events_has_tasks */
	bool has_sent;			    /* task_send_sent_event */
	bool is_enabled;		    /* there is something to send at all */
	bool has_filter;		    /* else: -E */
	bool has_task_group;		    /* in the filter */
	struct str batch; /* events about tasks, since the last flush: "[{...}, {...}" */
	unsigned batch_count;
	struct str single;	/* scratch */
	struct str repr;	/* scratch */
	struct list_node held;	/* of struct packet: waits for a connection */
	size_t waiting_bytes;	/* held, or not confirmed */
	uint64_t sent, dropped; /* events */
	bool is_dropping;	/* said in the log */
	uv_prepare_t prepare;	/* the end of the turn */
	uv_timer_t timer;	/* or a little later, when one went out just now */
	uint64_t flushed_ms;
};

void events_init(struct events *e, uv_loop_t *loop, const struct config *config,
		 struct lamport *clock);
void events_close(struct events *e); /* its handles; before the loop ends */
/* Once the broker is gone. */
void events_clear(struct events *e);

/* A connection stands: what was held goes out first. */
void events_up(struct events *e, struct broker *broker);
void events_down(struct events *e);
/* Publishes now what this turn has collected. */
void events_flush(struct events *e);

/* Adds group `task` to the filter, or takes it out. False: it was so already. */
bool events_enable(struct events *e);
bool events_disable(struct events *e);

/* The hot path pays this one branch when nobody wants events. `e` may be NULL. */
static inline bool events_has_tasks(const struct events *e)
{
	return e && e->has_tasks;
}
static inline bool events_has_sent(const struct events *e)
{
	return e && e->has_sent;
}

/* Task events: to be called only when events_has_tasks. */
void events_received(struct events *e, const struct request *r);
void events_started(struct events *e, const struct request *r);
/* `repr`: Python's repr of the result. */
void events_succeeded(struct events *e, const struct request *r, struct span repr);
/* Exception and traceback are those of the request's outcome. */
void events_failed(struct events *e, const struct request *r);
void events_retried(struct events *e, const struct request *r);
void events_rejected(struct events *e, const struct request *r, bool requeue);
void events_revoked(struct events *e, const struct request *r, bool terminated, int signum,
		    bool expired);
void events_cancelled(struct events *e, const struct request *r);
/* For a message that never became a request: `exception` is its repr. */
void events_refused(struct events *e, const char *id, const char *exception);

/* A message that we sent ourselves; to be called only when events_has_sent. */
void events_sent(struct events *e, const struct event_message *m);

/* Worker events: nothing happens when the dispatcher is not enabled. */
void events_node(struct events *e, const char *type, const struct event_node *node);
void events_elect(struct events *e, struct span id, struct span topic, struct span action);
void events_elect_ack(struct events *e, struct span id);

#endif
