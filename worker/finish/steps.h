/*
 * The steps that the plans of finish.c are made of. Each does one thing about the end of a request
 * and says how the plan goes on.
 */
#ifndef WORKER_FINISH_STEPS_H
#define WORKER_FINISH_STEPS_H

#include "worker/finish/finish.h"

enum step_result {
	STEP_NEXT, /* go on */
	STEP_WAIT, /* somebody will call finish_go_on or finish_end; may have happened already */
	STEP_END,  /* the rest of the plan does not apply */
};
typedef enum step_result step_fn(struct finish *f, struct request *r);

step_fn step_send_links, step_log_success, step_store_success, step_log_failure, step_store_failure,
	step_fail_chain, step_send_errbacks, step_answer_failure, step_publish_retry,
	step_store_retry, step_log_retry, step_log_ignored, step_store_reject, step_answer_reject,
	step_requeue_lost, step_answer_timeout, step_store_cancelled, step_leave_to_broker,
	step_answer_ack, step_tell_failed, step_tell_rejected, step_await_sends,
	step_send_replacement, step_report_part, step_tell_repeated;

/* Stores for a step, or before a plan; waits for the backend where something depends on it. */
enum step_result step_store(struct finish *f, struct request *r,
			    const struct finish_record *record);

/* What the broker does not take makes a failure of the outcome; its plan begins anew. */
void finish_fail_to_publish(struct request *r, const char *what, const struct err *err);
/* At the end of the worker: a message that has no answer yet comes again, and what could not be
 * brought to its end here is done then. */
bool finish_is_left_to_broker(const struct request *r, const struct err *err);

/* finish.c: TaskRevokedError. */
void finish_set_revoked(struct outcome *o, enum finish_reason reason);
/* finish.c: carries on with the plan; ends it early. The request may be gone afterwards. */
void finish_go_on(struct finish *f, struct request *r);
void finish_end(struct finish *f, struct request *r);

#endif
