/* The task API: arguments and the request. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/text.h"
#include "protocol/pyjson.h"
#include "worker/task/job_request.h"
#include "worker/task/job_state.h"

/* Bound value of a parameter; NULL after noting that the signature does not declare it. */
static json_t *find(const struct sm_job *job, const char *name)
{
	json_t *value = json_object_get(job->bound, name);
	const char *signature = job->run->task->decl->signature;

	if (value)
		return value;
	/* With **extra any name may or may not have been passed. */
	if (signature && strstr(signature, "**"))
		return json_null();
	job_fault_set(job, "SystemError", "%s asks for '%s', which its signature does not declare",
		      job->run->task->name, name);
	return NULL;
}

static void wrong_type(const struct sm_job *job, const char *name, const char *accessor)
{
	job_fault_set(job, "SystemError", "%s reads '%s' with %s, which is not of that type",
		      job->run->task->name, name, accessor);
}

int64_t sm_int(const struct sm_job *job, const char *name)
{
	json_t *value = find(job, name);
	const char *token;

	if (json_is_integer(value))
		return json_integer_value(value);
	if (json_is_boolean(value))
		return json_is_true(value);
	if (!value || json_is_null(value))
		return 0;
	if (pyjson_tag(value, &token) == PYJSON_NUMBER && !strpbrk(token, ".eENI"))
		job_fault_set(job, "OverflowError", "int too large to convert to 64 bits: '%s'",
			      name);
	else
		wrong_type(job, name, "sm_int");
	return 0;
}

double sm_float(const struct sm_job *job, const char *name)
{
	json_t *value = find(job, name);
	const char *text = NULL;
	enum pyjson_tag tag;

	if (json_is_number(value))
		return json_number_value(value);
	if (json_is_boolean(value))
		return json_is_true(value) ? 1 : 0;
	if (!value || json_is_null(value))
		return 0;
	tag = pyjson_tag(value, &text);
	if (tag == PYJSON_NUMBER || tag == PYJSON_DECIMAL)
		return strtod(text, NULL);
	wrong_type(job, name, "sm_float");
	return 0;
}

bool sm_bool(const struct sm_job *job, const char *name)
{
	json_t *value = find(job, name);

	if (value && !json_is_boolean(value) && !json_is_null(value))
		wrong_type(job, name, "sm_bool");
	return json_is_true(value);
}

const char *sm_str(const struct sm_job *job, const char *name)
{
	json_t *value = find(job, name);
	const char *text = NULL;

	if (json_is_string(value))
		return json_string_value(value);
	if (json_is_null(value))
		return NULL;
	if (value && pyjson_tag(value, &text) != PYJSON_PLAIN && text)
		return text;
	if (value)
		wrong_type(job, name, "sm_str");
	/* A mistaken author's body still runs to its end: give it something to read. */
	return "";
}

const char *sm_text(struct sm_job *job, const char *name)
{
	json_t *value = find(job, name);
	const char *text = NULL;
	auto_str out = {0};

	if (!value)
		return "";
	if (json_is_null(value))
		return NULL;
	if (json_is_string(value))
		return json_string_value(value);
	if (pyjson_tag(value, &text) != PYJSON_PLAIN && text)
		return text;
	str_init(&out, STR_MAX_DEFAULT);
	if (json_is_real(value))
		float_repr(&out, json_real_value(value));
	else
		(void)pyjson_repr(&out, value, STR_MAX_DEFAULT, PYJSON_MAX_DEPTH, false);
	return sm_printf(job, "%s", out.data ? out.data : "");
}

json_t *sm_json(const struct sm_job *job, const char *name)
{
	json_t *value = find(job, name);

	return value ? value : json_null();
}

json_t *sm_args(const struct sm_job *job)
{
	return job->bound;
}

bool sm_is_none(const struct sm_job *job, const char *name)
{
	return json_is_null(find(job, name));
}

const char *sm_id(const struct sm_job *job)
{
	return job->run->id;
}

const char *sm_name(const struct sm_job *job)
{
	return job->run->task->name;
}

int sm_retries(const struct sm_job *job)
{
	return job->run->retries;
}

int sm_max_retries(const struct sm_job *job)
{
	return job->run->max_retries;
}

bool sm_is_redelivered(const struct sm_job *job)
{
	return job->run->is_redelivered;
}

/* NULL when there are none. */
static json_t *custom_headers(const struct sm_job *job)
{
	struct job_state *state = job->state;
	struct span text = job->run->custom_headers;

	if (!state->is_custom_read && text.data)
		state->custom_headers = pyjson_load(text.data, text.len, NULL);
	state->is_custom_read = true;
	return state->custom_headers;
}

json_t *sm_header(const struct sm_job *job, const char *name)
{
	return json_object_get(custom_headers(job), name);
}

json_t *sm_request(struct sm_job *job)
{
	const struct job_run_args *run = job->run;
	struct task_message m;

	if (job->state->request)
		return job->state->request;
	if (job_request_get(&m, run->request) != 0)
		task_message_init(&m);
	if (!m.task)
		m.task = run->task->name;
	m.id = run->id;
	m.retries = run->retries;
	m.is_redelivered = run->is_redelivered;
	m.args = run->args;
	m.kwargs = run->kwargs;
	m.callbacks = run->callbacks;
	m.errbacks = run->errbacks;
	m.chain = run->chain;
	m.chord = run->chord;
	job->state->request = job_request_json(&m, job->host->hostname);
	if (custom_headers(job))
		json_object_set(job->state->request, "headers", custom_headers(job));
	return job->state->request;
}

const char *sm_setting(const struct sm_job *job, const char *name)
{
	const char *value = job->host->setting ? job->host->setting(name) : NULL;

	return value ? value : "";
}
