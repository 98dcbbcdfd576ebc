/* Tasks that a running task sends, and the one that takes its place. They go out at once; the end
 * of the task waits until the broker has them (step_await_sends). */
#ifndef WORKER_FINISH_SENDS_H
#define WORKER_FINISH_SENDS_H

#include "worker/finish/finish.h"

/* pool_events.on_send. */
void sends_take(struct finish *f, struct request *r, enum job_send how, const char *signature,
		size_t len);

#endif
