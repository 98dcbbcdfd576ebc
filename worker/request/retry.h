/*
 * Turns an outcome into what it means under the task's retry rules: a failure that is to be tried
 * again becomes a retry, a retry beyond the limit becomes a failure. Sources: celery/app/task.py
 * (retry), celery/app/autoretry.py, celery/utils/time.py (get_exponential_backoff_interval).
 */
#ifndef WORKER_REQUEST_RETRY_H
#define WORKER_REQUEST_RETRY_H

#include "worker/request/request.h"

/* Rewrites r->outcome; afterwards OUTCOME_RETRY means "publish it again", countdown_s set. */
void retry_decide(struct request *r);
/* Seconds until the next try under a back-off policy; `random` in [0, 1). Pure. */
double retry_backoff_s(const struct sm_autoretry *policy, int retries, double random);
/* True if Python's `except wanted` would catch an exception of this class. */
bool exception_is_a(const char *module, const char *type, const char *wanted);

#endif
