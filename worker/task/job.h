/*
 * The executing side: one run of a task function. Implements include/smallage/task.h. Runs in a
 * pool child or pool thread, never in the master's loop.
 */
#ifndef WORKER_TASK_JOB_H
#define WORKER_TASK_JOB_H

#include <stdatomic.h>
#include <stdint.h>

#include "protocol/message.h"
#include "worker/task/outcome.h"
#include "worker/task/registry.h"

/* What one run needs; all borrowed for the time of job_run. */
struct job_run_args {
	const struct task_entry *task;
	const char *id;
	int retries, max_retries;
	bool is_redelivered;
	struct span args, kwargs;   /* JSON texts, checked to be valid */
	struct span custom_headers; /* JSON text of an object; .data NULL = none */
	struct span callbacks, errbacks, chain, chord; /* likewise; lists and a signature */
	struct span request;		 /* by job_request_put; .data NULL = nothing is known */
	const _Atomic uint32_t *expired; /* not 0 once the soft limit passed for this run */
};

/* JOB_CLEAN_BACKEND sends no signature, but asks for what celery.backend_cleanup does. */
enum job_send { JOB_SEND, JOB_ADD_TO_CHORD, JOB_CLEAN_BACKEND };
enum job_send_result { JOB_SENT, JOB_SEND_TOO_LARGE, JOB_SEND_EXPIRED };

struct job_host {
	/* Leaves the process as a frame; `meta` is JSON text. */
	void (*update_state)(void *ctx, const char *state, const char *meta, size_t len);
	/* A signature as JSON text. Waits while too much is on its way, until the soft limit. NULL:
	 * nothing can be sent. */
	enum job_send_result (*send)(void *ctx, enum job_send how, const char *signature,
				     size_t len);
	const char *hostname;			  /* of the worker; may be NULL */
	const struct registry *registry;	  /* for tasks that call tasks; may be NULL */
	const char *(*setting)(const char *name); /* merged configuration; "" when unset */
	const char *const *template_dirs;	  /* searched in order, NULL-terminated */
	void *ctx;
};

/* Binds, runs, catches everything; fills `ret` (initialized by the callee). */
void job_run(const struct job_run_args *run, const struct job_host *host, struct outcome *ret);

#endif
