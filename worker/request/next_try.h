/* The message of a task's next try: same id and workflow, one retry more, due later, and what
 * sm_retry_with changes. Source: celery/app/task.py (signature_from_request). */
#ifndef WORKER_REQUEST_NEXT_TRY_H
#define WORKER_REQUEST_NEXT_TRY_H

#include "protocol/signature.h"
#include "worker/request/request.h"

struct next_try {
	struct task_message message; /* borrows its texts from the request and from below */
	struct signature how;	     /* its routing, where the task has changed it */
	bool has_route;
	json_t *changes;
	struct str texts[8];
};

void next_try_make(struct next_try *n, const struct request *r, int64_t now_us);
void next_try_clear(struct next_try *n);

#endif
