/*
 * What a task may ask about its own message besides the arguments: from master to slot as bytes, to
 * task code as an object with the names of Python's Task.request. Source: celery/app/task.py
 * (Context). Pure.
 */
#ifndef WORKER_TASK_JOB_REQUEST_H
#define WORKER_TASK_JOB_REQUEST_H

#include <jansson.h>

#include "base/str.h"
#include "protocol/task_message.h"

/* Of the message's fields those that travel; its spans do so on their own. */
int job_request_put(struct str *out, const struct task_message *m);
/* Initializes `m` and lends it texts out of `bytes`. -1 when they make no sense: task code runs
 * where they lie. */
int job_request_get(struct task_message *m, struct span bytes);
/* A new object. `hostname` may be NULL. */
json_t *job_request_json(const struct task_message *m, const char *hostname);

#endif
