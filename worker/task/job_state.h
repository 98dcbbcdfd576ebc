/*
 * What stands behind struct sm_job: shared by the files that implement the task API (job.c runs,
 * job_args.c reads arguments, job_end.c ends, job_live.c does things on the way). Accessors get a
 * const job, so all that changes lies behind a pointer.
 */
#ifndef WORKER_TASK_JOB_STATE_H
#define WORKER_TASK_JOB_STATE_H

#include <smallage/task.h>
#include <stdarg.h>

#include "base/str.h"
#include "protocol/task_message.h"
#include "worker/task/job.h"

/* How the body wants to end. Filled by sm_raise and its like; the last one counts. */
struct job_end {
	bool is_set;
	enum outcome_kind kind;
	char *type;   /* "ValueError" or "mod:Type"; NULL = no exception */
	json_t *args; /* list, NULL when type is */
	double countdown_s;
	char *reason;
	bool requeue;
	char *signature; /* JSON text: of a replacement, or what a retry changes */
	size_t signature_len;
	int64_t eta_us;	 /* of a retry; TIME_UNSET = by its countdown */
	int max_retries; /* of a retry; OUTCOME_TASKS_OWN = the task's */
};

/* A mistake noticed in an accessor, which cannot fail: turns the outcome into a failure. */
struct job_fault {
	const char *type; /* NULL = none; static */
	char *text;
};

/* Some forty answers of one run are counted. */
#define JOB_ANSWERS_MAX 2048

struct job_cleanup;

struct job_state {
	struct job_end end;
	struct job_fault fault;
	struct job_cleanup *cleanups; /* last in, first out */
	json_t *custom_headers;	      /* parsed when first asked for */
	bool is_custom_read;
	json_t *request;    /* made when first asked for */
	struct str answers; /* lines, see request/tally.h */
};

struct sm_job {
	const struct job_run_args *run;
	const struct job_host *host;
	json_t *bound; /* name -> value, in order of declaration */
	struct job_state *state;
};

/* Notes a mistake; the first one counts. */
void job_fault_set(const struct sm_job *job, const char *type, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
char *job_text(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
void job_end_clear(struct job_end *end);
struct job_end *job_end_begin(struct sm_job *job, enum outcome_kind kind);
void job_cleanup_run(struct job_state *state);
/* Calls a task as a function, within this run. `args` is a list. NULL after raising; then the body
 * is to end. */
json_t *job_call(struct sm_job *job, const struct task_entry *task, const json_t *args);
/* NULL, or the repr of the Python exception that tells why the value has no JSON form. */
const char *job_value_fault(const json_t *value, unsigned depth);

#endif
