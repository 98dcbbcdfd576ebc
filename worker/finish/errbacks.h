/*
 * Errbacks that are called at once in this worker, as f(request, exc, traceback), and not sent as
 * tasks: those of tasks that declare is_errback. They run in a pool process like any task, but have
 * no message, no record and no events. Source: celery/backends/base.py (_call_task_errbacks).
 * contract: tasks.md 6.9
 */
#ifndef WORKER_FINISH_ERRBACKS_H
#define WORKER_FINISH_ERRBACKS_H

#include "worker/finish/finish.h"

/* What failed, as JSON texts: the request, {"exc_type", ...}, and a text or null. */
struct errback_failure {
	const char *id, *root_id; /* of what the errback sends in its turn: its parent, its root */
	struct span request, exception, traceback;
};

/* False when the signature is to be sent as a task. Else its task is called and `done` follows,
 * from the loop, whatever becomes of it. */
typedef void errback_done_fn(void *ctx);
bool errbacks_call(struct finish *f, const struct signature *errback,
		   const struct errback_failure *failure, errback_done_fn *done, void *ctx);
/* The same for a task that failed here. */
bool errbacks_call_for(struct finish *f, const struct signature *errback, const struct request *r,
		       errback_done_fn *done, void *ctx);
/* pool_events.on_done of such a call. */
void errbacks_ended(struct finish *f, struct request *call, struct outcome *outcome);

#endif
