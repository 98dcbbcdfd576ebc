/* From what happened to its event. */
#include "worker/report/events.h"

#include <string.h>

#include "base/clock.h"
#include "protocol/pyjson.h"
#include "worker/report/events_impl.h"

static struct event_head head_of(struct events *e, const struct str *sender)
{
	return (struct event_head){
		.sender = {sender->data, sender->len},
		.clock = lamport_tick(e->clock),
		.now_us = clock_wall_us(),
	};
}

/* An event about a task begins: it goes into the batch of this turn. */
static struct event_head batch_begin(struct events *e)
{
	if (e->batch_count == 0)
		events_flush_soon(e);
	str_add(&e->batch, e->batch_count == 0 ? "[" : ", ", e->batch_count == 0 ? 1 : 2);
	return head_of(e, &e->sender);
}

static void batch_end(struct events *e, int result)
{
	if (result < 0) {
		/* The event did not fit; the batch is as it was but for the separator. */
		e->batch.is_full = false;
		e->batch.len -= e->batch_count == 0 ? 1 : 2;
		events_drop_large(e);
		return;
	}
	e->batch_count++;
	if (e->batch_count >= EVENTS_BATCH_COUNT || e->batch.len >= EVENTS_BATCH_BYTES)
		events_flush(e);
}

/* Python's repr of the arguments: what the producer made of them, or ours when there is none. What
 * the task's author calls secret is not shown, whoever wrote it down. */
static void fill_reprs(struct events *e, const struct request *r, struct event_message *m)
{
	size_t kwargs_at;

	if (r->message.argsrepr && r->message.kwargsrepr && !task_entry_has_secrets(r->task)) {
		m->args = r->message.argsrepr;
		m->kwargs = r->message.kwargsrepr;
		return;
	}
	str_reset(&e->repr);
	request_args_repr(&e->repr, r);
	str_addc(&e->repr, '\0');
	kwargs_at = e->repr.len;
	request_kwargs_repr(&e->repr, r);
	m->args = e->repr.data;
	m->kwargs = e->repr.data + kwargs_at;
}

void events_received(struct events *e, const struct request *r)
{
	const struct task_message *t = &r->message;
	struct event_message m = {
		.uuid = t->id,
		.name = t->shadow && *t->shadow ? t->shadow : t->task,
		.root_id = t->root_id,
		.parent_id = t->parent_id,
		.retries = t->retries,
		.eta_us = t->eta_us,
		.expires_us = t->expires_us,
	};

	fill_reprs(e, r, &m);
	struct event_head head = batch_begin(e);

	batch_end(e, event_received(&e->batch, &head, &m));
}

void events_started(struct events *e, const struct request *r)
{
	struct event_head head = batch_begin(e);

	batch_end(e, event_started(&e->batch, &head, r->message.id));
}

void events_succeeded(struct events *e, const struct request *r, struct span repr)
{
	struct event_head head = batch_begin(e);

	batch_end(e, event_succeeded(&e->batch, &head, r->message.id, repr, r->outcome.runtime_s));
}

/* Monitors split the traceback of each failure into lines, so there must be one, also where no task
 * code has raised anything: a lost process, a hard time limit, a plain retry. */
static const char *traceback_of(struct events *e, const struct request *r)
{
	const struct outcome *o = &r->outcome;

	if (o->traceback)
		return o->traceback;
	str_reset(&e->repr);
	str_puts(&e->repr, "Traceback (most recent call last):\n");
	if (!o->exc_type)
		str_addf(&e->repr, "celery.exceptions.Retry: Retry in %gs\n", o->countdown_s);
	else if (!o->exc_module || strcmp(o->exc_module, "builtins") == 0)
		str_addf(&e->repr, "%s: %s\n", o->exc_type, o->exc_text ? o->exc_text : "");
	else
		str_addf(&e->repr, "%s.%s: %s\n", o->exc_module, o->exc_type,
			 o->exc_text ? o->exc_text : "");
	return e->repr.data;
}

void events_failed(struct events *e, const struct request *r)
{
	const char *repr = r->outcome.exc_repr ? r->outcome.exc_repr : "";
	struct event_head head = batch_begin(e);

	batch_end(e, event_failed(&e->batch, &head, r->message.id, repr, traceback_of(e, r)));
}

/* The exception is the cause of the retry; without one it is Python's None. */
void events_retried(struct events *e, const struct request *r)
{
	const char *repr = r->outcome.exc_type ? r->outcome.exc_repr : "None";
	struct event_head head = batch_begin(e);

	batch_end(e, event_retried(&e->batch, &head, r->message.id, repr, traceback_of(e, r)));
}

void events_rejected(struct events *e, const struct request *r, bool requeue)
{
	struct event_head head = batch_begin(e);

	batch_end(e, event_rejected(&e->batch, &head, r->message.id, requeue));
}

void events_revoked(struct events *e, const struct request *r, bool terminated, int signum,
		    bool expired)
{
	struct event_head head = batch_begin(e);

	batch_end(e, event_revoked(&e->batch, &head, r->message.id, terminated, signum, expired));
}

void events_cancelled(struct events *e, const struct request *r)
{
	struct event_head head = batch_begin(e);

	batch_end(e, event_cancelled(&e->batch, &head, r->message.id));
}

void events_refused(struct events *e, const char *id, const char *exception)
{
	struct event_head head = batch_begin(e);

	batch_end(e, event_failed(&e->batch, &head, id, exception, NULL));
}

/* Single events */

static void single_end(struct events *e, int result, const char *routing_key)
{
	if (result == 0) {
		events_send_single(e, routing_key);
		return;
	}
	str_reset(&e->single);
	events_drop_large(e);
}

static struct event_head single_begin(struct events *e, const struct str *sender)
{
	str_reset(&e->single);
	return head_of(e, sender);
}

void events_sent(struct events *e, const struct event_message *m)
{
	struct event_head head = single_begin(e, &e->producer);

	single_end(e, event_sent(&e->single, &head, m), "task.sent");
}

static const char *node_key(const char *type)
{
	static const char *const keys[][2] = {
		{"worker-online", "worker.online"},
		{"worker-offline", "worker.offline"},
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(keys[i][0], type) == 0)
			return keys[i][1];
	return "worker.heartbeat";
}

void events_node(struct events *e, const char *type, const struct event_node *node)
{
	if (!e->is_enabled)
		return;
	struct event_head head = single_begin(e, &e->sender);

	single_end(e, event_node(&e->single, &head, type, node), node_key(type));
}

void events_elect(struct events *e, struct span id, struct span topic, struct span action)
{
	if (!e->is_enabled)
		return;
	struct event_head head = single_begin(e, &e->sender);

	single_end(e, event_elect(&e->single, &head, id, topic, action), "worker.elect");
}

void events_elect_ack(struct events *e, struct span id)
{
	if (!e->is_enabled)
		return;
	struct event_head head = single_begin(e, &e->sender);

	single_end(e, event_elect_ack(&e->single, &head, id), "worker.elect.ack");
}
