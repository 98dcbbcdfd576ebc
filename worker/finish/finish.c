#include "worker/finish/finish.h"

#include "base/log.h"
#include "base/mem.h"
#include "protocol/pyjson.h"
#include "protocol/result.h"
#include "worker/finish/steps.h"
#include "worker/request/retry.h"

/* The order of Celery, per kind of outcome (docs/ARCHITECTURE.md says why it is not uniform). */
static step_fn *const finish_plan[OUTCOME_KIND_COUNT][10] = {
	[OUTCOME_SUCCESS] = {step_await_sends, step_send_links, step_store_success,
			     step_report_part, step_log_success, step_answer_ack},
	[OUTCOME_FAILURE] = {step_await_sends, step_store_failure, step_report_part,
			     step_fail_chain, step_send_errbacks, step_log_failure,
			     step_answer_failure, step_tell_failed},
	[OUTCOME_RETRY] = {step_await_sends, step_store_retry, step_publish_retry, step_log_retry,
			   step_answer_ack},
	[OUTCOME_IGNORE] = {step_await_sends, step_log_ignored, step_answer_ack},
	[OUTCOME_REJECT] = {step_await_sends, step_store_reject, step_report_part, step_fail_chain,
			    step_send_errbacks, step_tell_rejected, step_answer_reject},
	[OUTCOME_REPLACED] = {step_await_sends, step_send_replacement, step_log_ignored,
			      step_answer_ack},
	[OUTCOME_LOST] = {step_await_sends, step_requeue_lost, step_store_failure, step_report_part,
			  step_fail_chain, step_send_errbacks, step_log_failure, step_answer_ack,
			  step_tell_failed},
	[OUTCOME_TIMEOUT] = {step_await_sends, step_store_failure, step_report_part,
			     step_fail_chain, step_send_errbacks, step_log_failure,
			     step_tell_failed, step_answer_timeout},
	[OUTCOME_TERMINATED] = {step_await_sends, step_leave_to_broker, step_store_cancelled,
				step_report_part, step_answer_ack},
	[OUTCOME_REVOKED] = {step_report_part, step_answer_ack},
	[OUTCOME_REPEATED] = {step_send_links, step_tell_repeated, step_report_part,
			      step_answer_ack},
};

void finish_tally(struct finish *f, const struct request *r, enum tally_end end)
{
	tally_of(&f->tallies, r->task)->ends[end]++;
}

void finish_end(struct finish *f, struct request *r)
{
	request_free(f->requests, r);
	if (f->on_finished)
		f->on_finished(f->ctx);
}

void finish_go_on(struct finish *f, struct request *r)
{
	for (;;) {
		step_fn *step = finish_plan[r->outcome.kind][r->step];

		if (!step)
			break;
		r->step++;
		enum step_result result = step(f, r);

		if (result == STEP_WAIT)
			return;
		if (result == STEP_END)
			break;
	}
	finish_end(f, r);
}

/* A result that cannot be stored is a failure to all who hear of it: log, events, links, chords. */
static void refuse_result(struct finish *f, struct request *r)
{
	struct err err = {0};

	if (r->outcome.kind != OUTCOME_SUCCESS || record_check(f, r, &err) == 0)
		return;
	r->outcome.kind = OUTCOME_FAILURE;
	outcome_set_exception(&r->outcome, "kombu.exceptions", "EncodeError", err.text);
}

void finish_apply(struct finish *f, struct request *r, struct outcome *outcome)
{
	outcome_clear(&r->outcome);
	r->outcome = *outcome;
	outcome_init(outcome, OUTCOME_IGNORE);
	requests_move(f->requests, r, REQUEST_FINISHING);
	histogram_observe(&tally_of(&f->tallies, r->task)->run, r->outcome.runtime_s);
	if (r->outcome.answers)
		tally_answers(&f->tallies, r->outcome.answers);
	r->step = 0;
	if (r->outcome.kind != OUTCOME_TERMINATED)
		retry_decide(r);
	refuse_result(f, r);
	finish_go_on(f, r);
}

void finish_set_revoked(struct outcome *o, enum finish_reason reason)
{
	static const char *const texts[] = {
		[FINISH_EXPIRED] = "expired",
		[FINISH_REVOKED] = "revoked",
		[FINISH_TERMINATED] = "terminated",
	};

	outcome_set_exception(o, "celery.exceptions", "TaskRevokedError", texts[reason]);
}

void finish_revoked(struct finish *f, struct request *r, enum finish_reason reason, const char *by)
{
	struct finish_record record = record_revoked(reason);
	auto_str label = STR_INIT(4096);

	request_label(&label, r);
	log_info("Discarding revoked task: %s%s", label.data, by ? by : "");
	f->counts.revoked++;
	finish_tally(f, r, TALLY_REVOKED);
	if (events_has_tasks(f->events))
		events_revoked(f->events, r, false, 0, reason == FINISH_EXPIRED);
	requests_move(f->requests, r, REQUEST_FINISHING);
	r->outcome.kind = OUTCOME_REVOKED;
	finish_set_revoked(&r->outcome, reason);
	r->step = 0;
	if (!r->policy.store_errors || step_store(f, r, &record) == STEP_NEXT)
		finish_go_on(f, r);
}

void finish_repeated(struct finish *f, struct request *r, struct span result, bool has_children)
{
	auto_str label = STR_INIT(4096);

	request_label(&label, r);
	log_info("Task %s Task already completed successfully.", label.data);
	f->acks.skipped++;
	outcome_clear(&r->outcome);
	outcome_init(&r->outcome, OUTCOME_REPEATED);
	r->outcome.result = mem_dup(result.data, result.len);
	r->outcome.result_len = result.len;
	requests_move(f->requests, r, REQUEST_FINISHING);
	r->step = has_children ? 1 : 0; /* its links were sent then */
	finish_go_on(f, r);
}

/* States on the way are dropped while too much waits for the backend: a task may report without
 * end, and its result will replace them. */
static bool may_store_state(const struct finish *f, const struct request *r)
{
	return f->backend && !r->policy.ignore_result && !backend_is_full(f->backend);
}

void finish_store_started(struct finish *f, struct request *r)
{
	auto_str result = STR_INIT(4096);

	if (!may_store_state(f, r))
		return;
	str_addf(&result, "{\"pid\": %d, \"hostname\": ", (int)r->pid);
	pyjson_dump_str(&result, f->config->node_name, strlen(f->config->node_name));
	str_addc(&result, '}');
	struct finish_record record = {.state = TASK_STARTED, .result = {result.data, result.len}};

	record_store(f, r, &record, NULL, NULL);
}

void finish_store_state(struct finish *f, struct request *r, const char *state, const char *meta,
			size_t len)
{
	struct finish_record record = {
		.state = state_parse(state),
		.custom_state = state,
		.result = {meta, len},
	};

	if (may_store_state(f, r))
		record_store(f, r, &record, NULL, NULL);
}
