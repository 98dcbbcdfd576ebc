#include "worker/finish/steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "protocol/canvas.h"
#include "protocol/pyjson.h"
#include "protocol/result.h"
#include "worker/finish/chord.h"
#include "worker/finish/links.h"

static void on_stored(void *ctx, const struct err *err)
{
	struct request *r = ctx;

	if (err)
		log_error("The result of task %s[%s] could not be stored: %s", r->message.task,
			  r->message.id, err->text);
	if (err && r->is_settled)
		r->finish->lost_records++;
	finish_go_on(r->finish, r);
}

/* A late ack waits until the record is safe, and so do errbacks, which may look at it; an early ack
 * has gone out, nothing depends on the rest. */
enum step_result step_store(struct finish *f, struct request *r, const struct finish_record *record)
{
	if (!f->backend)
		return STEP_NEXT;
	if (r->is_settled && state_is_ready(record->state) && !canvas_has_errbacks(&r->message)) {
		record_store(f, r, record, NULL, NULL);
		return STEP_NEXT;
	}
	r->finish = f;
	return record_store(f, r, record, on_stored, r) == 0 ? STEP_WAIT : STEP_NEXT;
}

static void exception_of(const struct outcome *o, struct str *out)
{
	struct span args = {"[]", 2};

	if (o->exc_args)
		args = (struct span){o->exc_args, strlen(o->exc_args)};
	result_exception(out, o->exc_module ? o->exc_module : "builtins",
			 o->exc_type ? o->exc_type : "Exception", args);
}

enum step_result step_store_success(struct finish *f, struct request *r)
{
	struct finish_record record = {
		.state = TASK_SUCCESS,
		.result = {r->outcome.result, r->outcome.result_len},
		.has_date = true,
	};

	return r->policy.ignore_result ? STEP_NEXT : step_store(f, r, &record);
}

static size_t exception_max(const struct finish *f)
{
	return 2 * f->config->worker_max_message_bytes + 65536;
}

static struct finish_record failure_of(const struct request *r, struct str *exception)
{
	exception_of(&r->outcome, exception);
	return (struct finish_record){
		.state = TASK_FAILURE,
		.result = {exception->data, exception->len},
		.traceback = r->outcome.traceback,
		.has_date = true,
	};
}

static enum step_result store_failure_record(struct finish *f, struct request *r)
{
	auto_str exception = STR_INIT(exception_max(f));
	struct finish_record record = failure_of(r, &exception);

	return step_store(f, r, &record);
}

static enum tally_end failure_kind(const struct request *r)
{
	if (r->outcome.kind == OUTCOME_LOST)
		return TALLY_LOST;
	return r->outcome.kind == OUTCOME_TIMEOUT ? TALLY_TIMEOUT : TALLY_FAILED;
}

enum step_result step_store_failure(struct finish *f, struct request *r)
{
	f->counts.failed++;
	finish_tally(f, r, failure_kind(r));
	return r->policy.store_errors ? store_failure_record(f, r) : STEP_NEXT;
}

bool finish_is_left_to_broker(const struct request *r, const struct err *err)
{
	return err && r->finish->is_ending && !r->is_settled;
}

static bool will_run_again(const struct request *r)
{
	return r->outcome.kind == OUTCOME_REJECT && r->outcome.requeue;
}

static void on_part_reported(void *ctx, const struct err *err)
{
	struct request *r = ctx;

	if (finish_is_left_to_broker(r, err)) {
		finish_end(r->finish, r);
		return;
	}
	if (err)
		log_error("The end of task %s[%s] could not be reported to its chord %s: %s",
			  r->message.task, r->message.id, r->message.group, err->text);
	if (err && r->is_settled)
		r->finish->lost_records++;
	finish_go_on(r->finish, r);
}

/* The part that the task is of a chord; also where its result is ignored. */
enum step_result step_report_part(struct finish *f, struct request *r)
{
	const struct task_message *m = &r->message;
	bool is_success = r->outcome.kind == OUTCOME_SUCCESS || r->outcome.kind == OUTCOME_REPEATED,
	     is_revoked = r->outcome.kind == OUTCOME_REVOKED ||
			  (r->outcome.kind == OUTCOME_TERMINATED && r->terminate_signal);
	auto_str exception = STR_INIT(exception_max(f));

	if (!chord_is_reported(f, m) || will_run_again(r) ||
	    (r->outcome.kind == OUTCOME_TERMINATED && !is_revoked))
		return STEP_NEXT;
	if (!is_success)
		exception_of(&r->outcome, &exception);
	const struct chord_part part = {
		.by = m,
		.task_id = m->id,
		.group_id = m->group,
		.index = m->group_index,
		.body = m->chord,
		.state = is_success   ? TASK_SUCCESS
			 : is_revoked ? TASK_REVOKED
				      : TASK_FAILURE,
		.result = is_success ? (struct span){r->outcome.result, r->outcome.result_len}
				     : (struct span){exception.data, exception.len},
	};

	r->finish = f;
	chord_report(f, &part, on_part_reported, r);
	return STEP_WAIT;
}

static void on_chain_failed(struct request *r, const struct err *err)
{
	if (finish_is_left_to_broker(r, err)) {
		finish_end(r->finish, r);
		return;
	}
	if (err)
		log_error("The rest of the chain of task %s[%s] could not be marked as failed: %s",
			  r->message.task, r->message.id, err->text);
	if (err && r->is_settled)
		r->finish->lost_records++;
	finish_go_on(r->finish, r);
}

/* Nobody will run the steps behind this one, and somebody may wait for the last. */
enum step_result step_fail_chain(struct finish *f, struct request *r)
{
	auto_str exception = STR_INIT(exception_max(f));

	if (!r->message.chain.data || will_run_again(r))
		return STEP_NEXT;
	struct finish_record record = failure_of(r, &exception);

	r->finish = f;
	return links_fail_chain(f, r, &record, on_chain_failed) ? STEP_WAIT : STEP_NEXT;
}

static void on_errbacks_sent(struct request *r, const struct err *err)
{
	if (finish_is_left_to_broker(r, err)) {
		finish_end(r->finish, r);
		return;
	}
	if (err)
		log_error("An errback of task %s[%s] could not be sent: %s", r->message.task,
			  r->message.id, err->text);
	finish_go_on(r->finish, r);
}

enum step_result step_send_errbacks(struct finish *f, struct request *r)
{
	if (will_run_again(r))
		return STEP_NEXT;
	r->finish = f;
	return links_after_failure(f, r, on_errbacks_sent) ? STEP_WAIT : STEP_NEXT;
}

static void log_success(const struct request *r, const char *repr)
{
	struct log_ctx ctx = {.task_id = r->message.id, .task_name = r->message.task};
	auto_str label = STR_INIT(4096);
	auto_str runtime = STR_INIT(64);

	request_label(&label, r);
	float_repr(&runtime, r->outcome.runtime_s);
	log_write(LOG_INFO, &ctx, "Task %s succeeded in %ss: %s", label.data, runtime.data, repr);
}

/* Python's repr of the result, as log and events show it; only made when somebody reads it. */
enum step_result step_log_success(struct finish *f, struct request *r)
{
	bool has_log = log_is_on(LOG_INFO), has_events = events_has_tasks(f->events);

	f->counts.succeeded++;
	finish_tally(f, r, TALLY_SUCCEEDED);
	if (!has_log && !has_events)
		return STEP_NEXT;
	str_reset(&f->repr);
	pyjson_repr_text(&f->repr, r->outcome.result, r->outcome.result_len, 1024, 3, false);
	const char *repr = f->repr.data ? f->repr.data : "";

	if (has_log)
		log_success(r, repr);
	if (has_events)
		events_succeeded(f->events, r, (struct span){repr, f->repr.len});
	return STEP_NEXT;
}

static bool is_expected(const struct request *r)
{
	const char *const *name = r->task->decl->throws;

	for (; name && *name; name++)
		if (r->outcome.exc_type && strcmp(*name, r->outcome.exc_type) == 0)
			return true;
	return false;
}

enum step_result step_log_failure(struct finish *f, struct request *r)
{
	const struct outcome *o = &r->outcome;
	struct log_ctx ctx = {.task_id = r->message.id, .task_name = r->message.task};
	const char *repr = o->exc_repr ? o->exc_repr : "";
	auto_str label = STR_INIT(4096);

	(void)f;
	request_label(&label, r);
	if (o->kind == OUTCOME_TIMEOUT)
		log_write(LOG_ERROR, &ctx, "Hard time limit (%gs) exceeded for %s",
			  r->policy.hard_limit_s, label.data);
	else if (o->kind == OUTCOME_LOST)
		log_write(LOG_ERROR, &ctx, "Task handler raised error: %s", repr);
	else if (is_expected(r))
		log_write(LOG_INFO, &ctx, "Task %s raised expected: %s", label.data, repr);
	else
		log_write(LOG_ERROR, &ctx, "Task %s raised unexpected: %s%s%s", label.data, repr,
			  o->traceback ? "\n" : "", o->traceback ? o->traceback : "");
	return STEP_NEXT;
}

/* The message's answer, and its event where there is one. */
static void give_answer(struct finish *f, struct request *r, enum answer how)
{
	bool is_told = how != ANSWER_ACK && !r->is_settled && events_has_tasks(f->events);

	acks_answer(&f->acks, r, how);
	if (is_told)
		events_rejected(f->events, r, how == ANSWER_REQUEUE);
}

/* Whoever ran it may have died before its event was sent. */
enum step_result step_tell_repeated(struct finish *f, struct request *r)
{
	auto_str repr = STR_INIT(8192);

	if (!events_has_tasks(f->events))
		return STEP_NEXT;
	pyjson_repr_text(&repr, r->outcome.result, r->outcome.result_len, 1024, 3, false);
	events_succeeded(f->events, r, (struct span){repr.data, repr.len});
	return STEP_NEXT;
}

enum step_result step_tell_failed(struct finish *f, struct request *r)
{
	if (events_has_tasks(f->events))
		events_failed(f->events, r);
	return STEP_NEXT;
}

enum step_result step_tell_rejected(struct finish *f, struct request *r)
{
	return r->outcome.requeue ? STEP_NEXT : step_tell_failed(f, r);
}

enum step_result step_answer_ack(struct finish *f, struct request *r)
{
	acks_answer(&f->acks, r, ANSWER_ACK);
	return STEP_NEXT;
}

enum step_result step_answer_failure(struct finish *f, struct request *r)
{
	give_answer(f, r, r->policy.acks_on_failure ? ANSWER_ACK : ANSWER_REJECT);
	return STEP_NEXT;
}

enum step_result step_answer_timeout(struct finish *f, struct request *r)
{
	give_answer(f, r, r->policy.acks_on_timeout ? ANSWER_ACK : ANSWER_REQUEUE);
	return STEP_NEXT;
}

static size_t publishing_size(const struct request *r)
{
	return r->message.body_len + sizeof(*r);
}

void finish_fail_to_publish(struct request *r, const char *what, const struct err *err)
{
	auto_str text = STR_INIT(1024);

	str_addf(&text, "%s could not be published: %s", what, err->text);
	r->outcome.kind = OUTCOME_FAILURE;
	if (err->code == ERR_UNSUPPORTED)
		outcome_set_exception(&r->outcome, "builtins", "NotImplementedError", text.data);
	else
		outcome_set_exception(&r->outcome, "kombu.exceptions", "OperationalError",
				      text.data);
	r->step = 0;
}

static void on_retry_published(void *ctx, const struct err *err)
{
	struct request *r = ctx;

	r->finish->publishing_bytes -= publishing_size(r);
	if (finish_is_left_to_broker(r, err)) {
		finish_end(r->finish, r);
		return;
	}
	if (err)
		finish_fail_to_publish(r, "the retry", err);
	finish_go_on(r->finish, r);
}

static void on_links_sent(struct request *r, const struct err *err)
{
	if (finish_is_left_to_broker(r, err)) {
		finish_end(r->finish, r);
		return;
	}
	if (err && r->outcome.kind == OUTCOME_REPEATED) {
		log_error("Failed to dispatch chain/callbacks for deduplicated task %s: %s",
			  r->message.id, err->text);
		give_answer(r->finish, r, ANSWER_REQUEUE);
		finish_end(r->finish, r);
		return;
	}
	if (err)
		finish_fail_to_publish(r, "a link or the next step of the chain", err);
	finish_go_on(r->finish, r);
}

/* Before the record, so that its `children` are complete. */
enum step_result step_send_links(struct finish *f, struct request *r)
{
	r->finish = f;
	return links_after_success(f, r, on_links_sent) ? STEP_WAIT : STEP_NEXT;
}

enum step_result step_publish_retry(struct finish *f, struct request *r)
{
	struct err err = {0};

	r->finish = f;
	f->publishing_bytes += publishing_size(r);
	if (publisher_retry(f, r, on_retry_published, r, &err) == 0) {
		/* Not later: the next try may come before the confirm, and its events follow. */
		if (events_has_tasks(f->events))
			events_retried(f->events, r);
		return STEP_WAIT;
	}
	on_retry_published(r, &err);
	return STEP_WAIT; /* the plan went on above */
}

/* Before the publish, unlike Celery: the next try may end elsewhere before the broker's confirm is
 * here, and its record must not be overwritten by RETRY. Nothing waits for this record. */
enum step_result step_store_retry(struct finish *f, struct request *r)
{
	auto_str exception = STR_INIT(exception_max(f));
	struct finish_record record = {.state = TASK_RETRY, .traceback = r->outcome.traceback};

	if (!r->policy.store_errors || !f->backend)
		return STEP_NEXT;
	if (r->outcome.exc_type) {
		exception_of(&r->outcome, &exception);
		record.result = (struct span){exception.data, exception.len};
	}
	record_store(f, r, &record, NULL, NULL);
	return STEP_NEXT;
}

enum step_result step_log_retry(struct finish *f, struct request *r)
{
	struct log_ctx ctx = {.task_id = r->message.id, .task_name = r->message.task};
	const char *repr = r->outcome.exc_type ? r->outcome.exc_repr : NULL;
	char when[40];
	auto_str label = STR_INIT(4096);

	f->counts.retried++;
	finish_tally(f, r, TALLY_RETRIED);
	if (!log_is_on(LOG_INFO))
		return STEP_NEXT;
	request_label(&label, r);
	if (r->outcome.eta_us != TIME_UNSET)
		iso8601_format(r->outcome.eta_us, 0, when);
	else
		snprintf(when, sizeof(when), "%gs", r->outcome.countdown_s);
	log_write(LOG_INFO, &ctx, "Task %s retry: Retry %s %s%s%s", label.data,
		  r->outcome.eta_us != TIME_UNSET ? "at" : "in", when, repr ? ": " : "",
		  repr ? repr : "");
	return STEP_NEXT;
}

enum step_result step_log_ignored(struct finish *f, struct request *r)
{
	auto_str label = STR_INIT(4096);

	f->counts.ignored++;
	finish_tally(f, r, TALLY_IGNORED);
	if (!log_is_on(LOG_INFO))
		return STEP_NEXT;
	request_label(&label, r);
	log_info("Task %s ignored", label.data);
	return STEP_NEXT;
}

/* Reject(reason, requeue), as celery.exceptions has it. */
static void set_reject_exception(struct outcome *o)
{
	auto_free char *reason = mem_strdup(o->exc_text ? o->exc_text : "no reason");
	struct str args = STR_INIT(65536);

	outcome_set_exception(o, "celery.exceptions", "Reject", reason);
	str_addc(&args, '[');
	pyjson_dump_str(&args, reason, strlen(reason));
	str_puts(&args, ", false]");
	free(o->exc_args);
	o->exc_args = str_detach(&args);
	free(o->exc_repr);
	o->exc_repr = mem_printf("reject requeue=False: %s", reason);
}

enum step_result step_store_reject(struct finish *f, struct request *r)
{
	struct outcome *o = &r->outcome;
	auto_str label = STR_INIT(4096);

	f->counts.rejected++;
	finish_tally(f, r, TALLY_REJECTED);
	request_label(&label, r);
	log_warning("Task %s reject requeue=%s: %s", label.data, o->requeue ? "True" : "False",
		    o->exc_text ? o->exc_text : "");
	if (o->requeue)
		return STEP_NEXT;
	set_reject_exception(o);
	return r->policy.store_errors ? store_failure_record(f, r) : STEP_NEXT;
}

enum step_result step_answer_reject(struct finish *f, struct request *r)
{
	give_answer(f, r, r->outcome.requeue ? ANSWER_REQUEUE : ANSWER_REJECT);
	return STEP_NEXT;
}

/* The rest of the plan is for a lost process whose task is not to run again. */
enum step_result step_requeue_lost(struct finish *f, struct request *r)
{
	bool retries_used_up = r->policy.retry_on_worker_lost;

	if (!r->policy.acks_late || !r->policy.reject_on_worker_lost || retries_used_up)
		return STEP_NEXT;
	f->counts.requeued++;
	finish_tally(f, r, TALLY_REQUEUED);
	give_answer(f, r, ANSWER_REQUEUE);
	return STEP_END;
}

/* Cancelled by a cold stop: a late-ack message was not answered and goes back to the queue with the
 * connection. One that was terminated by remote control is done with. */
enum step_result step_leave_to_broker(struct finish *f, struct request *r)
{
	if (!r->terminate_signal) {
		finish_tally(f, r, TALLY_CANCELLED);
		if (events_has_tasks(f->events))
			events_cancelled(f->events, r);
	}
	return r->is_settled || r->terminate_signal ? STEP_NEXT : STEP_END;
}

static enum step_result store_terminated(struct finish *f, struct request *r)
{
	struct finish_record record = record_revoked(FINISH_TERMINATED);

	finish_set_revoked(&r->outcome, FINISH_TERMINATED);
	f->counts.revoked++;
	finish_tally(f, r, TALLY_REVOKED);
	if (events_has_tasks(f->events))
		events_revoked(f->events, r, true, r->terminate_signal, false);
	return r->policy.store_errors ? step_store(f, r, &record) : STEP_NEXT;
}

/* Celery's parting word on an early-ack task that a cold stop cut off (contract: tasks.md 4.7, 10
 * h). */
enum step_result step_store_cancelled(struct finish *f, struct request *r)
{
	static const char retry[] = "{\"exc_type\": \"Retry\", \"exc_message\": "
				    "[\"Retry(Retry(...), None, None)\", null, null], "
				    "\"exc_module\": \"celery.exceptions\"}";
	struct finish_record record = {.state = TASK_RETRY, .result = {retry, sizeof(retry) - 1}};

	if (r->terminate_signal)
		return store_terminated(f, r);
	if (r->policy.ignore_result)
		return STEP_NEXT;
	return step_store(f, r, &record);
}
