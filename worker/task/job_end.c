/* The task API: how a body ends. Each of these notes what was asked for and returns NULL. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "worker/task/job_state.h"

char *job_text(const char *fmt, va_list ap)
{
	char *text = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	return text;
}

void job_end_clear(struct job_end *end)
{
	free(end->type);
	free(end->reason);
	free(end->signature);
	json_decref(end->args);
	*end = (struct job_end){
		.countdown_s = -1, .eta_us = TIME_UNSET, .max_retries = OUTCOME_TASKS_OWN};
}

struct job_end *job_end_begin(struct sm_job *job, enum outcome_kind kind)
{
	struct job_end *end = &job->state->end;

	job_end_clear(end);
	end->is_set = true;
	end->kind = kind;
	return end;
}

/* The exceptions with meaning may also be raised by name, as Python code does.
 * contract: tasks.md 4.10 */
static enum outcome_kind kind_of(const char *type)
{
	if (strcmp(type, "Ignore") == 0 || strcmp(type, "celery.exceptions:Ignore") == 0)
		return OUTCOME_IGNORE;
	if (strcmp(type, "Reject") == 0 || strcmp(type, "celery.exceptions:Reject") == 0)
		return OUTCOME_REJECT;
	if (strcmp(type, "Retry") == 0 || strcmp(type, "celery.exceptions:Retry") == 0)
		return OUTCOME_RETRY;
	return OUTCOME_FAILURE;
}

/* Of an exception with this text, or with none. */
static json_t *text_args(const char *text)
{
	json_t *args = json_array();

	if (*text)
		json_array_append_new(args, outcome_string(text));
	return args;
}

json_t *sm_raise(struct sm_job *job, const char *type, const char *fmt, ...)
{
	enum outcome_kind kind = kind_of(type);
	struct job_end *end = job_end_begin(job, kind);
	auto_free char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = job_text(fmt, ap);
	va_end(ap);
	if (kind == OUTCOME_FAILURE) {
		end->type = mem_strdup(type);
		end->args = text_args(text);
	} else if (kind == OUTCOME_REJECT && *text) {
		end->reason = mem_strdup(text);
	}
	return NULL;
}

json_t *sm_raise_args(struct sm_job *job, const char *type, json_t *args)
{
	struct job_end *end = job_end_begin(job, OUTCOME_FAILURE);

	end->type = mem_strdup(type);
	if (json_is_array(args)) {
		end->args = args;
	} else {
		end->args = json_array();
		if (args)
			json_array_append_new(end->args, args);
	}
	return NULL;
}

json_t *sm_retry(struct sm_job *job, double countdown_s)
{
	job_end_begin(job, OUTCOME_RETRY)->countdown_s = countdown_s;
	return NULL;
}

json_t *sm_retry_raise(struct sm_job *job, double countdown_s, const char *type, const char *fmt,
		       ...)
{
	struct job_end *end = job_end_begin(job, OUTCOME_RETRY);
	auto_free char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = job_text(fmt, ap);
	va_end(ap);
	end->countdown_s = countdown_s;
	end->type = mem_strdup(type);
	end->args = text_args(text);
	return NULL;
}

json_t *sm_ignore(struct sm_job *job)
{
	job_end_begin(job, OUTCOME_IGNORE);
	return NULL;
}

json_t *sm_reject(struct sm_job *job, const char *reason, bool requeue)
{
	struct job_end *end = job_end_begin(job, OUTCOME_REJECT);

	end->reason = mem_strdup(reason);
	end->requeue = requeue;
	return NULL;
}
