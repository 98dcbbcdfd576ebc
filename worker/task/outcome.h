/*
 * How an execution ended. A value: filled by the pool, read by request/ and finish/, freed by
 * outcome_clear. Texts are owned, NULL when not of this kind.
 */
#ifndef WORKER_TASK_OUTCOME_H
#define WORKER_TASK_OUTCOME_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum outcome_kind {
	OUTCOME_SUCCESS, /* result */
	OUTCOME_FAILURE, /* exc_*, traceback */
	OUTCOME_RETRY,	 /* sm_retry: countdown_s; exc_* when one was given */
	OUTCOME_IGNORE,
	OUTCOME_REJECT,	    /* requeue; exc_text = reason */
	OUTCOME_REPLACED,   /* result = the signature that takes the task's place */
	OUTCOME_LOST,	    /* the process died: exc_* = WorkerLostError */
	OUTCOME_TIMEOUT,    /* hard time limit: exc_* = TimeLimitExceeded */
	OUTCOME_TERMINATED, /* killed on our own demand (cold stop, revoke) */
	OUTCOME_REVOKED,    /* it did not run, or was killed by remote control: exc_* */
	OUTCOME_REPEATED,   /* not run: it has succeeded before; result */
	OUTCOME_KIND_COUNT
};

#define OUTCOME_TASKS_OWN INT_MIN /* of max_retries: what the task declares */

struct outcome {
	enum outcome_kind kind;
	char *result; /* JSON text */
	size_t result_len;
	char *exc_module; /* "builtins" */
	char *exc_type;	  /* "ValueError" */
	char *exc_args;	  /* JSON text of a list */
	char *exc_text;	  /* str(exc) */
	char *exc_repr;	  /* repr(exc): ValueError('x') */
	char *traceback;  /* "Traceback (most recent call last):\n..." or NULL */
	char *answers;	  /* of any kind: what sm_answered noted, see request/tally.h */
	char *changes;	  /* of a retry: JSON text of a signature, what is not as before; or NULL */
	double countdown_s; /* < 0 = the task's default */
	int64_t eta_us;	    /* of a retry; TIME_UNSET = by countdown_s */
	int max_retries;    /* of a retry; SM_UNLIMITED = no limit */
	bool requeue;
	double runtime_s;
};

void outcome_init(struct outcome *o, enum outcome_kind kind);
/* A failure with one text argument (args = [text], or [] when text is NULL). */
void outcome_set_exception(struct outcome *o, const char *module, const char *type,
			   const char *text);
/* The same with any arguments: a list, borrowed. Sets all exc_* texts. */
void outcome_set_exception_args(struct outcome *o, const char *module, const char *type,
				const json_t *args);
/* A JSON string of any text; bytes that are not UTF-8 (a server's reply) become U+FFFD. */
json_t *outcome_string(const char *text);
void outcome_clear(struct outcome *o);

#endif
