#include "worker/request/retry.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "worker/request/next_try.h"

#define BACKOFF_MAX_S 600.0 /* celery: retry_backoff_max */

/* Python's own tree of exceptions, as far as tasks name them: child, parent. */
static const char *const builtin_parents[][2] = {
	{"ArithmeticError", "Exception"},
	{"FloatingPointError", "ArithmeticError"},
	{"OverflowError", "ArithmeticError"},
	{"ZeroDivisionError", "ArithmeticError"},
	{"AssertionError", "Exception"},
	{"AttributeError", "Exception"},
	{"BufferError", "Exception"},
	{"EOFError", "Exception"},
	{"ImportError", "Exception"},
	{"ModuleNotFoundError", "ImportError"},
	{"LookupError", "Exception"},
	{"IndexError", "LookupError"},
	{"KeyError", "LookupError"},
	{"MemoryError", "Exception"},
	{"NameError", "Exception"},
	{"OSError", "Exception"},
	{"BlockingIOError", "OSError"},
	{"ChildProcessError", "OSError"},
	{"ConnectionError", "OSError"},
	{"BrokenPipeError", "ConnectionError"},
	{"ConnectionAbortedError", "ConnectionError"},
	{"ConnectionRefusedError", "ConnectionError"},
	{"ConnectionResetError", "ConnectionError"},
	{"FileExistsError", "OSError"},
	{"FileNotFoundError", "OSError"},
	{"InterruptedError", "OSError"},
	{"IsADirectoryError", "OSError"},
	{"NotADirectoryError", "OSError"},
	{"PermissionError", "OSError"},
	{"ProcessLookupError", "OSError"},
	{"TimeoutError", "OSError"},
	{"ReferenceError", "Exception"},
	{"RuntimeError", "Exception"},
	{"NotImplementedError", "RuntimeError"},
	{"RecursionError", "RuntimeError"},
	{"SyntaxError", "Exception"},
	{"SystemError", "Exception"},
	{"TypeError", "Exception"},
	{"ValueError", "Exception"},
	{"UnicodeError", "ValueError"},
	{"UnicodeDecodeError", "UnicodeError"},
	{"UnicodeEncodeError", "UnicodeError"},
};

static const char *builtin_parent(const char *type)
{
	for (size_t i = 0; i < sizeof(builtin_parents) / sizeof(builtin_parents[0]); i++)
		if (strcmp(builtin_parents[i][0], type) == 0)
			return builtin_parents[i][1];
	return NULL;
}

bool exception_is_a(const char *module, const char *type, const char *wanted)
{
	const char *colon = strchr(wanted, ':');

	if (strcmp(wanted, "Exception") == 0)
		return true;
	if (colon)
		return strncmp(module, wanted, (size_t)(colon - wanted)) == 0 &&
		       module[colon - wanted] == '\0' && strcmp(type, colon + 1) == 0;
	if (strcmp(module, "builtins") != 0)
		return strcmp(type, wanted) == 0;
	for (const char *t = type; t; t = builtin_parent(t))
		if (strcmp(t, wanted) == 0)
			return true;
	return false;
}

static bool is_listed(const struct outcome *o, const char *const *names)
{
	for (; names && *names; names++)
		if (exception_is_a(o->exc_module, o->exc_type, *names))
			return true;
	return false;
}

double retry_backoff_s(const struct sm_autoretry *policy, int retries, double random)
{
	double factor = fmax(1.0, floor(policy->backoff));
	double cap = policy->backoff_max_s > 0 ? policy->backoff_max_s : BACKOFF_MAX_S;
	double delay = fmin(cap, ldexp(factor, retries > 1000 ? 1000 : retries));

	if (policy->jitter != SM_NO)
		delay = floor(random * (floor(delay) + 1)); /* uniform integer in [0, delay] */
	return fmax(0, delay);
}

/* A failure that the task wants tried again becomes a retry with the same exception. */
static void apply_autoretry(struct request *r)
{
	const struct sm_autoretry *policy = &r->task->decl->autoretry;
	struct outcome *o = &r->outcome;

	if (o->kind != OUTCOME_FAILURE || !is_listed(o, policy->on) || is_listed(o, policy->except))
		return;
	o->kind = OUTCOME_RETRY;
	o->countdown_s = policy->backoff > 0 ? retry_backoff_s(policy, r->job.retries, drand48())
					     : r->policy.retry_delay_s;
}

static void fail_with_max_retries(struct request *r)
{
	auto_str text = STR_INIT(8192);
	struct next_try next;

	next_try_make(&next, r, 0);
	str_addf(&text, "Can't retry %s[%s] args:", r->message.task, r->message.id);
	request_repr(&text, r, next.message.args, true);
	str_puts(&text, " kwargs:");
	request_repr(&text, r, next.message.kwargs, false);
	next_try_clear(&next);
	outcome_set_exception(&r->outcome, "celery.exceptions", "MaxRetriesExceededError",
			      text.data);
}

void retry_decide(struct request *r)
{
	struct outcome *o = &r->outcome;
	int max = o->max_retries == OUTCOME_TASKS_OWN ? r->policy.max_retries : o->max_retries;
	bool may_retry = max == SM_UNLIMITED || r->message.retries < max;

	apply_autoretry(r);
	if (o->kind == OUTCOME_LOST && r->policy.retry_on_worker_lost && may_retry) {
		o->kind = OUTCOME_RETRY;
		o->countdown_s = r->policy.retry_delay_s;
	}
	if (o->kind != OUTCOME_RETRY)
		return;
	if (may_retry) {
		if (o->countdown_s < 0)
			o->countdown_s = r->policy.retry_delay_s;
		return;
	}
	o->kind = OUTCOME_FAILURE;
	if (!o->exc_type)
		fail_with_max_retries(r);
}
