#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "protocol/canvas.h"
#include "protocol/pyjson.h"
#include "worker/consume/consumer.h"
#include "worker/request/shelf.h"

/*
 * One delivery to one decision: a request, or an answer to the broker. A message that cannot run
 * never stops the worker; it is logged in one line and rejected or acked as Celery does, with the
 * deviations of docs/compatibility.md. Mirrors celery/worker/consumer/consumer.py,
 * create_task_handler(), and celery/worker/strategy.py, default().
 */

struct delivery {
	unsigned session;
	uint64_t tag;
};

static void answer(struct consumer *c, struct delivery d, enum answer answer)
{
	acks_answer_delivery(&c->finish.acks, d.session, d.tag, answer);
}

/* JSON text of a list with one string. */
static void text_args(struct str *out, const char *text)
{
	str_addc(out, '[');
	pyjson_dump_str(out, text, strlen(text));
	str_addc(out, ']');
}

/* repr() of an exception with one argument, for the events of what never became a request. */
static void tell_refused(struct consumer *c, const char *id, const char *type, const char *text)
{
	struct outcome o;

	if (!id || !events_has_tasks(c->finish.events))
		return;
	outcome_init(&o, OUTCOME_FAILURE);
	outcome_set_exception(&o, "builtins", type, text);
	events_refused(c->finish.events, id, o.exc_repr);
	outcome_clear(&o);
}

static void store_failure(struct consumer *c, const struct task_message *m, const char *module,
			  const char *type, const char *text)
{
	auto_str args = STR_INIT(65536);

	text_args(&args, text);
	record_store_unrun(&c->finish, m, module, type, (struct span){args.data, args.len});
	tell_refused(c, m->id, type, text);
}

/* What is logged and answered for each kind of message that cannot run. */
static void refuse(struct consumer *c, struct delivery d, enum intake intake,
		   const struct task_message *m, const struct err *why)
{
	switch (intake) {
	case INTAKE_UNKNOWN_MESSAGE:
		c->finish.counts.unknown++;
		log_warning("Received and deleted unknown message.  Wrong destination?!? %s",
			    why->text);
		break;
	case INTAKE_DECODE_ERROR:
		c->finish.counts.invalid++;
		log_critical("Can't decode message body: %s", why->text);
		answer(c, d, ANSWER_ACK);
		return;
	case INTAKE_INVALID_TASK:
	case INTAKE_REFUSED_CONTENT:
	case INTAKE_BAD_KWARGS:
	case INTAKE_ETA_OVERFLOW:
		c->finish.counts.invalid++;
		log_error("Received invalid task message: %s The message has been ignored and "
			  "discarded.",
			  why->text);
		break;
	case INTAKE_OK:
		return;
	}
	answer(c, d, ANSWER_REJECT);
	if (intake == INTAKE_ETA_OVERFLOW)
		store_failure(c, m, "builtins", "OverflowError", "date value out of range");
	if (intake == INTAKE_BAD_KWARGS)
		store_failure(c, m, "celery.exceptions", "InvalidTaskError", why->text);
}

static void refuse_unknown_task(struct consumer *c, struct delivery d, const struct task_message *m)
{
	c->finish.counts.unknown++;
	log_error("Received unregistered task of type '%s'. The message has been ignored and "
		  "discarded. Did you forget to load the plug-in that holds it (-I), or its module "
		  "in task_modules? `smallage check` lists the tasks.",
		  m->task);
	answer(c, d, ANSWER_REJECT);
	if (m->id)
		store_failure(c, m, "celery.exceptions", "NotRegistered", m->task);
}

struct refusal {
	struct consumer *consumer;
	const char *type, *text;
};

static void refuse_step(void *ctx, const struct signature *step)
{
	const struct refusal *refusal = ctx;
	const struct task_message m = {.id = step->task_id, .reply_to = step->reply_to};

	store_failure(refusal->consumer, &m, "builtins", refusal->type, refusal->text);
}

/* Running a task and dropping what is to follow it would be worse than saying no. */
static bool refuse_canvas(struct consumer *c, struct delivery d, const struct task_message *m)
{
	struct err why = {0};
	auto_free char *text = NULL;

	if (canvas_is_empty(m) || canvas_check(m, &why) == 0)
		return false;
	text = mem_printf("%s is not run: %s", m->task, why.text);
	struct refusal refusal = {.consumer = c, .type = "NotImplementedError", .text = text};

	if (why.code != ERR_UNSUPPORTED)
		refusal.type = "ValueError";
	c->finish.counts.invalid++;
	log_error("Task %s[%s] refused: %s", m->task, m->id, text);
	answer(c, d, ANSWER_REJECT);
	store_failure(c, m, "builtins", refusal.type, text);
	canvas_each_step_left(m, refuse_step, &refusal);
	return true;
}

/* A message that comes again because a connection broke: its execution may still run here (then it
 * takes the new delivery over) or may have ended here (then only the answer was lost). A retry can
 * also come as a second message, when the confirm of the first was lost. */
static bool adopt(struct consumer *c, struct delivery d, const struct task_message *m)
{
	enum answer how = ANSWER_ACK;
	struct request *r = requests_find(&c->requests, m->id, m->retries);

	bool is_same_session =
		r && r->session == d.session && broker_is_held(c->broker, r->session, r->tag);

	if (is_same_session && m->retries > 0) {
		log_info("Task %s[%s]: a second copy of its retry is dropped", m->task, m->id);
		answer(c, d, ANSWER_ACK);
		return true;
	}
	/* One of this session means that the producer sent it twice, and twice it runs. */
	if (r && !is_same_session) {
		requests_adopt(&c->requests, r, d.session, d.tag);
		r->has_record = true; /* another worker may have had it in between */
		c->adopted++;
		log_info("Task %s[%s] is still running here: its new delivery is taken over",
			 m->task, m->id);
		if (r->is_settled)
			answer(c, d, ANSWER_ACK);
		return true;
	}
	if (!acks_has_ended(&c->finish.acks, m->id, m->retries, &how))
		return false;
	log_info("Task %s[%s] has ended here already: %s without running it again", m->task, m->id,
		 how == ANSWER_ACK ? "acked" : "rejected");
	answer(c, d, how);
	return true;
}

void deliver_admit(struct consumer *c, struct request *r)
{
	int64_t now = clock_wall_us();

	r->received_us = now;
	/* Stamps alone are looked at before the start only, as in Celery. */
	if ((r->message.expires_us != TIME_UNSET || revoked_has(&c->revoked, r->message.id)) &&
	    revoke_check(c, r))
		return;
	if (events_has_tasks(c->finish.events))
		events_received(c->finish.events, r);
	if (r->message.eta_us != TIME_UNSET && r->message.eta_us > now) {
		requests_move(&c->requests, r, REQUEST_WAITING_ETA);
		shelf_put(&c->requests, r);
		c->eta_streak++;
		eta_arm(&c->eta);
		qos_update(c);
		return;
	}
	if (c->eta_streak > 0) {
		c->eta_streak = 0;
		qos_update(c);
	}
	pump_add(c, r);
	pump_run(c);
}

static void take_on(struct consumer *c, struct delivery d, struct task_message *m,
		    const struct task_entry *task)
{
	if ((m->is_redelivered || m->retries > 0) && adopt(c, d, m))
		return;
	if (refuse_canvas(c, d, m))
		return;
	struct request *r = request_new(&c->requests, m, task, c->config);

	r->session = d.session;
	r->tag = d.tag;
	c->received++;
	tally_of(&c->finish.tallies, task)->received++;
	if (c->autoscale.pool)
		autoscale_received(&c->autoscale);
	if (log_is_on(LOG_INFO)) {
		struct log_ctx ctx = {.task_id = r->message.id, .task_name = r->message.task};
		auto_str label = STR_INIT(4096);

		request_label(&label, r);
		log_write(LOG_INFO, &ctx, "Task %s received", label.data);
	}
	if (!repeat_check(c, r))
		deliver_admit(c, r);
}

void deliver_message(struct consumer *c, struct message *message, unsigned session, uint64_t tag)
{
	struct delivery d = {.session = session, .tag = tag};
	struct task_message m;
	struct err err = {0};

	task_message_init(&m);
	enum intake intake = task_message_head(&m, message, &c->intake, &err);
	const struct task_entry *task =
		intake == INTAKE_OK ? registry_find(c->registry, m.task) : NULL;

	if (intake == INTAKE_OK && !task) {
		refuse_unknown_task(c, d, &m);
	} else {
		if (intake == INTAKE_OK)
			intake = task_message_decode(&m, message, &c->intake, &err);
		if (intake == INTAKE_OK)
			take_on(c, d, &m, task);
		else
			refuse(c, d, intake, &m, &err);
	}
	task_message_clear(&m);
}
