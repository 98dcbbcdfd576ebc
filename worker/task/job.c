/* Mirrors celery/app/trace.py, build_tracer(): everything that can come out of a body becomes an
 * outcome. */
#include "worker/task/job.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/text.h"
#include "protocol/params.h"
#include "protocol/pyjson.h"
#include "worker/task/job_state.h"

void job_fault_set(const struct sm_job *job, const char *type, const char *fmt, ...)
{
	struct job_fault *fault = &job->state->fault;
	va_list ap;

	if (fault->type)
		return;
	va_start(ap, fmt);
	fault->type = type;
	fault->text = job_text(fmt, ap);
	va_end(ap);
}

/* Valid UTF-8, lone surrogates allowed: pyjson keeps them as three bytes ED A0..BF xx. */
static bool is_text(const char *data, size_t len)
{
	size_t from = 0;

	for (size_t i = 0; i + 2 < len; i++) {
		if (data[i] != '\xed' || (data[i + 1] & '\xe0') != '\xa0')
			continue;
		if (!utf8_is_valid(data + from, i - from))
			return false;
		i += 2;
		from = i + 1;
	}
	return utf8_is_valid(data + from, len - from);
}

static const char *container_fault(const json_t *value, unsigned depth)
{
	const char *fault = NULL;
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_array(value)) {
		json_array_foreach (value, i, item)
			if ((fault = job_value_fault(item, depth + 1)))
				return fault;
		return NULL;
	}
	if (pyjson_tag(value, NULL) == PYJSON_NUMBER)
		return NULL;
	for (void *it = json_object_iter((json_t *)(uintptr_t)value); it;
	     it = json_object_iter_next((json_t *)(uintptr_t)value, it)) {
		key = json_object_iter_key(it);
		if (!is_text(key, strlen(key)))
			return "ValueError('a key is not valid UTF-8')";
		if ((fault = job_value_fault(json_object_iter_value(it), depth + 1)))
			return fault;
	}
	return NULL;
}

const char *job_value_fault(const json_t *value, unsigned depth)
{
	if (depth > PYJSON_MAX_DEPTH)
		return "ValueError('Circular reference detected')";
	if (json_is_string(value) && !is_text(json_string_value(value), json_string_length(value)))
		return "ValueError('a string is not valid UTF-8')";
	if (json_is_array(value) || json_is_object(value))
		return container_fault(value, depth);
	return NULL;
}

/* Classes that task authors know by their bare name but that are not Python builtins. */
static const struct {
	const char *type, *module;
} known_types[] = {
	{"SoftTimeLimitExceeded", "billiard.exceptions"},
	{"TimeLimitExceeded", "billiard.exceptions"},
	{"WorkerLostError", "billiard.exceptions"},
	{"MaxRetriesExceededError", "celery.exceptions"},
	{"Reject", "celery.exceptions"},
	{"Ignore", "celery.exceptions"},
	{"Retry", "celery.exceptions"},
};

static const char *module_of(const char *type)
{
	for (size_t i = 0; i < sizeof(known_types) / sizeof(known_types[0]); i++)
		if (strcmp(type, known_types[i].type) == 0)
			return known_types[i].module;
	return "builtins";
}

/* Begins as Python's does, because clients with tblib look for that line. */
static void set_traceback(struct outcome *ret, const char *task_name)
{
	bool is_builtin = strcmp(ret->exc_module, "builtins") == 0;

	free(ret->traceback);
	ret->traceback =
		mem_printf("Traceback (most recent call last):\n  Task %s, in smallage\n"
			   "%s%s%s%s%s\n",
			   task_name, is_builtin ? "" : ret->exc_module, is_builtin ? "" : ".",
			   ret->exc_type, *ret->exc_text ? ": " : "", ret->exc_text);
}

static void fail(struct outcome *ret, const char *task_name, const char *module, const char *type,
		 const char *text)
{
	ret->kind = OUTCOME_FAILURE;
	outcome_set_exception(ret, module, type, text);
	set_traceback(ret, task_name);
}

/* An argument without a JSON form is replaced by its repr. contract: tasks.md 5.2 */
static void clean_args(json_t *args)
{
	json_t *item;
	size_t i;

	json_array_foreach (args, i, item) {
		auto_str repr = {0};

		if (!job_value_fault(item, 0))
			continue;
		str_init(&repr, STR_MAX_DEFAULT);
		if (json_is_string(item))
			str_addf(&repr, "'%s'", json_string_value(item));
		else
			str_addf(&repr, "<%s object>", json_is_array(item) ? "list" : "dict");
		json_array_set_new(args, i, outcome_string(repr.data));
	}
}

static void set_raised(struct outcome *ret, const char *task_name, const struct job_end *end)
{
	const char *colon = strchr(end->type, ':');
	const char *type = colon ? colon + 1 : end->type;
	auto_free char *module = colon ? mem_dup(end->type, (size_t)(colon - end->type))
				       : mem_strdup(module_of(end->type));

	clean_args(end->args);
	outcome_set_exception_args(ret, module, type, end->args);
	set_traceback(ret, task_name);
}

static void finish_result(struct outcome *ret, const char *task_name, const json_t *result)
{
	const char *fault = job_value_fault(result, 0);
	auto_str out = {0};

	if (fault) {
		fail(ret, task_name, "kombu.exceptions", "EncodeError", fault);
		return;
	}
	str_init(&out, STR_MAX_DEFAULT);
	if (pyjson_dump(&out, result) != 0) {
		fail(ret, task_name, "kombu.exceptions", "EncodeError",
		     "MemoryError('the result is too large')");
		return;
	}
	ret->kind = OUTCOME_SUCCESS;
	ret->result_len = out.len;
	ret->result = str_detach(&out);
}

static void take_signature(struct outcome *ret, struct job_end *end)
{
	if (ret->kind == OUTCOME_REPLACED) {
		ret->result = end->signature;
		ret->result_len = end->signature_len;
	} else {
		ret->changes = end->signature;
	}
	end->signature = NULL;
}

static void finish(const struct sm_job *job, struct outcome *ret, const json_t *result)
{
	const char *name = job->run->task->name;
	struct job_end *end = &job->state->end;
	auto_free char *text = NULL;

	if (job->state->fault.type) {
		fail(ret, name, "builtins", job->state->fault.type, job->state->fault.text);
	} else if (result && end->is_set) {
		text = mem_printf("%s returned a result with an exception set", name);
		fail(ret, name, "builtins", "SystemError", text);
	} else if (result) {
		finish_result(ret, name, result);
	} else if (!end->is_set) {
		text = mem_printf("%s returned NULL without setting an exception", name);
		fail(ret, name, "builtins", "SystemError", text);
	} else {
		ret->kind = end->kind;
		ret->countdown_s = end->countdown_s;
		ret->requeue = end->requeue;
		ret->eta_us = end->eta_us;
		ret->max_retries = end->max_retries;
		take_signature(ret, end);
		if (end->type)
			set_raised(ret, name, end);
		else
			ret->exc_text = mem_strdup(end->reason);
	}
}

/* NULL after filling `ret` when the call does not fit the signature. */
static json_t *bind(const struct job_run_args *run, struct outcome *ret)
{
	struct err err = {0};
	json_t *args = pyjson_load(run->args.data, run->args.len, &err);
	json_t *kwargs = pyjson_load(run->kwargs.data, run->kwargs.len, &err);
	const char *dot = strrchr(run->task->name, '.');
	json_t *bound = NULL;

	if (args && kwargs) {
		bound = params_bind(run->task->params, dot ? dot + 1 : run->task->name, args,
				    kwargs, &err);
		if (!bound)
			fail(ret, run->task->name, "builtins", "TypeError", err.text);
	} else {
		fail(ret, run->task->name, "builtins", "ValueError", err.text);
	}
	json_decref(args);
	json_decref(kwargs);
	return bound;
}

static void state_clear(const struct sm_job *job)
{
	struct job_state *state = job->state;

	job_cleanup_run(state);
	job_end_clear(&state->end);
	free(state->fault.text);
	json_decref(state->custom_headers);
	json_decref(state->request);
	str_clear(&state->answers);
	json_decref(job->bound);
}

/* What a called body raised, its caller raises. It has no message of its own that could come again.
 * Mirrors celery/app/task.py, retry() of a task that was called directly. */
static void pass_on(struct sm_job *job, const struct sm_job *called)
{
	struct job_end *end = &called->state->end;
	const struct job_fault *fault = &called->state->fault;
	const char *name = called->run->task->name;

	if (fault->type) {
		sm_raise(job, fault->type, "%s", fault->text);
	} else if (!end->is_set) {
		sm_raise(job, "SystemError", "%s returned NULL without setting an exception", name);
	} else if (end->kind == OUTCOME_REPLACED) {
		sm_raise(job, "RuntimeError", "%s was called by %s and cannot be replaced", name,
			 job->run->task->name);
	} else if (end->kind == OUTCOME_RETRY && !end->type) {
		sm_raise_args(job, "celery.exceptions:Retry",
			      json_pack("[s]", "Task can be retried"));
	} else {
		job_end_clear(&job->state->end);
		job->state->end = *end;
		*end = (struct job_end){0};
		if (job->state->end.kind == OUTCOME_RETRY)
			job->state->end.kind = OUTCOME_FAILURE;
	}
}

json_t *job_call(struct sm_job *job, const struct task_entry *task, const json_t *args)
{
	struct job_run_args run = {.task = task,
				   .id = job->run->id,
				   .args = {"[]", 2},
				   .kwargs = {"{}", 2},
				   .expired = job->run->expired};
	struct job_state state = {.answers = STR_INIT(JOB_ANSWERS_MAX)};
	struct sm_job called = {.run = &run, .host = job->host, .state = &state};
	const char *dot = strrchr(task->name, '.');
	json_t *kwargs = json_object(), *result = NULL;
	struct err err = {0};

	job_end_clear(&state.end);
	called.bound = params_bind(task->params, dot ? dot + 1 : task->name, args, kwargs, &err);
	if (called.bound)
		result = task->decl->run(&called);
	else
		sm_raise(&called, "TypeError", "%s", err.text);
	if (!result || state.end.is_set || state.fault.type) {
		json_decref(result);
		result = NULL;
		pass_on(job, &called);
	}
	str_add(&job->state->answers, state.answers.data, state.answers.len);
	state_clear(&called);
	json_decref(kwargs);
	return result;
}

void job_run(const struct job_run_args *run, const struct job_host *host, struct outcome *ret)
{
	struct job_state state = {.answers = STR_INIT(JOB_ANSWERS_MAX)};
	struct sm_job job = {.run = run, .host = host, .state = &state};
	int64_t begin_us = clock_mono_us();
	json_t *result;

	job_end_clear(&state.end);
	outcome_init(ret, OUTCOME_FAILURE);
	job.bound = bind(run, ret);
	if (job.bound) {
		result = run->task->decl->run(&job);
		finish(&job, ret, result);
		json_decref(result);
	}
	if (state.answers.len > 0)
		ret->answers = str_detach(&state.answers);
	state_clear(&job);
	ret->runtime_s = (double)(clock_mono_us() - begin_us) / 1e6;
}
