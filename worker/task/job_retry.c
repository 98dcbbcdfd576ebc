/* The task API: retries. What they change travels as a signature of the task itself. Mirrors
 * celery/app/task.py, retry() and signature_from_request(). */
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "protocol/signature.h"
#include "worker/task/job_state.h"

/* Of apply_async's options those that a retry may set. */
static const char *const options_known[] = {
	"expires",  "time_limit",    "soft_time_limit", "shadow",   "headers",	"queue",
	"exchange", "exchange_type", "routing_key",	"priority", "reply_to", "ignore_result",
	"link",	    "link_error",    "delivery_mode",
};

static bool is_known(const char *name)
{
	for (size_t i = 0; i < sizeof(options_known) / sizeof(*options_known); i++)
		if (strcmp(name, options_known[i]) == 0)
			return true;
	return false;
}

struct again {
	json_t *args, *kwargs, *options; /* NULL = as before */
	double countdown_s;
	int64_t eta_us;
	int max_retries;
};

static json_t *wrong(struct sm_job *job, const char *name)
{
	return sm_raise(job, "TypeError", "sm_retry_with: unusable '%s'", name);
}

static int take_limit(struct sm_job *job, struct again *a, const json_t *value)
{
	json_int_t n = json_integer_value(value);

	if (json_is_null(value))
		return 0;
	if (!json_is_integer(value) || n < SM_UNLIMITED || n > INT32_MAX) {
		wrong(job, "max_retries");
		return -1;
	}
	a->max_retries = (int)n;
	return 0;
}

/* One of what the caller has given. -1 after raising. */
static int take(struct sm_job *job, struct again *a, const char *name, json_t *value)
{
	if (strcmp(name, "max_retries") == 0)
		return take_limit(job, a, value);
	if (json_is_null(value))
		return 0;
	if (strcmp(name, "args") == 0 && json_is_array(value))
		a->args = json_incref(value);
	else if (strcmp(name, "kwargs") == 0 && json_is_object(value))
		a->kwargs = json_copy(value);
	else if (strcmp(name, "countdown") == 0 && json_is_number(value))
		a->countdown_s = json_number_value(value);
	else if (is_known(name) || strcmp(name, "eta") == 0)
		json_object_set(a->options, name, value);
	else {
		wrong(job, name);
		return -1;
	}
	return 0;
}

static json_t *load(struct span json)
{
	return pyjson_load(json.data, json.len, NULL);
}

static void fill_arguments(struct sm_job *job, struct again *a)
{
	json_t *args, *kwargs;

	if (!a->args == !a->kwargs)
		return;
	args = load(job->run->args);
	kwargs = load(job->run->kwargs);
	params_call_again(job->run->task->params, &a->args, &a->kwargs, args, kwargs);
	json_decref(args);
	json_decref(kwargs);
}

/* As text; NULL when nothing changes, or after raising. */
static char *changes_of(struct sm_job *job, struct again *a)
{
	json_t *signature = json_pack("{s:s, s:O*, s:O*, s:O}", "task", job->run->task->name,
				      "args", a->args, "kwargs", a->kwargs, "options", a->options);
	const char *fault = job_value_fault(signature, 0);
	auto_str out = STR_INIT(STR_MAX_DEFAULT);
	struct signature read;
	struct err err = {0};
	char *text = NULL;

	if (fault) {
		sm_raise(job, "kombu.exceptions:EncodeError", "%s", fault);
	} else if (signature_read(&read, signature, &err) < 0) {
		sm_raise(job, "ValueError", "%s", err.text);
	} else {
		a->eta_us = read.eta_us;
		json_object_del(a->options, "eta");
		if ((a->args || a->kwargs || json_object_size(a->options) > 0) &&
		    pyjson_dump(&out, signature) == 0)
			text = str_detach(&out);
	}
	json_decref(signature);
	return text;
}

static void end_with(struct sm_job *job, struct again *a, const char *type, json_t *exc_args)
{
	char *changes = changes_of(job, a);
	struct job_end *end;

	if (job->state->end.is_set) {
		free(changes);
		return;
	}
	end = job_end_begin(job, OUTCOME_RETRY);
	end->countdown_s = a->countdown_s;
	end->eta_us = a->eta_us;
	end->max_retries = a->max_retries;
	end->signature = changes;
	if (!type)
		return;
	end->type = mem_strdup(type);
	end->args = json_is_array(exc_args) ? json_incref(exc_args) : json_array();
}

json_t *sm_retry_with(struct sm_job *job, json_t *options, const char *type, json_t *exc_args)
{
	struct again a = {.options = json_object(),
			  .countdown_s = -1,
			  .eta_us = TIME_UNSET,
			  .max_retries = OUTCOME_TASKS_OWN};
	const char *name;
	json_t *value;

	job_end_clear(&job->state->end);
	json_object_foreach (options, name, value)
		if (take(job, &a, name, value) != 0)
			break;
	if (!job->state->end.is_set) {
		fill_arguments(job, &a);
		end_with(job, &a, type, exc_args);
	}
	json_decref(a.args);
	json_decref(a.kwargs);
	json_decref(a.options);
	json_decref(options);
	json_decref(exc_args);
	return NULL;
}
