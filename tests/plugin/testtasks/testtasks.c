/*
 * Tasks for the integration tests, the same as tests/integration/pyworker/testtasks.py: each does
 * one thing that a test wants to see. Not installed.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <smallage/task.h>

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static json_t *soft_limit(struct sm_job *job)
{
	return sm_raise_args(job, "SoftTimeLimitExceeded", json_array());
}

/* Returns its argument: what Python's functions give back after a sleep. */
static json_t *slept(struct sm_job *job, const char *seconds)
{
	if (sm_sleep(job, sm_float(job, seconds)) != 0)
		return soft_limit(job);
	return json_incref(sm_json(job, seconds));
}

static json_t *add(struct sm_job *job)
{
	json_t *x = sm_json(job, "x"), *y = sm_json(job, "y");

	if (json_is_integer(x) && json_is_integer(y))
		return json_integer(json_integer_value(x) + json_integer_value(y));
	if (!json_is_number(x) || !json_is_number(y))
		return sm_raise(job, "TypeError", "unsupported operand type(s) for +");
	return json_real(json_number_value(x) + json_number_value(y));
}

static json_t *noop(struct sm_job *job)
{
	(void)job;
	return json_null();
}

static json_t *echo(struct sm_job *job)
{
	return json_incref(sm_json(job, "value"));
}

static json_t *header(struct sm_job *job)
{
	json_t *value = sm_header(job, sm_str(job, "name"));

	return value ? json_incref(value) : json_null();
}

static json_t *sleep_(struct sm_job *job)
{
	return slept(job, "seconds");
}

static json_t *spin(struct sm_job *job)
{
	double end = now_s() + sm_float(job, "seconds");

	while (now_s() < end)
		if (sm_expired(job))
			return soft_limit(job);
	return json_incref(sm_json(job, "seconds"));
}

static json_t *stubborn(struct sm_job *job)
{
	double end = now_s() + sm_float(job, "seconds");

	while (now_s() < end)
		nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	return json_incref(sm_json(job, "seconds"));
}

static json_t *raise_(struct sm_job *job)
{
	return sm_raise(job, sm_str(job, "type"), "%s", sm_str(job, "text"));
}

static json_t *raise_args(struct sm_job *job)
{
	return sm_raise_args(job, sm_str(job, "type"), json_incref(sm_json(job, "args")));
}

static json_t *crash(struct sm_job *job)
{
	int number = (int)sm_int(job, "signal");

	/* A sanitizer would make an exit of it. */
	signal(number, SIG_DFL);
	kill(getpid(), number);
	sleep(10);
	return json_null();
}

static json_t *exit_(struct sm_job *job)
{
	_exit((int)sm_int(job, "code"));
}

static json_t *retry(struct sm_job *job)
{
	if (sm_retries(job) < sm_int(job, "times"))
		return sm_retry(job, sm_float(job, "countdown"));
	return json_integer(sm_retries(job));
}

static json_t *retry_limited(struct sm_job *job)
{
	return sm_retry(job, sm_float(job, "countdown"));
}

static json_t *retry_raise(struct sm_job *job)
{
	return sm_retry_raise(job, sm_float(job, "countdown"), "ValueError", "again");
}

static json_t *not_yet(struct sm_job *job)
{
	if (sm_retries(job) < sm_int(job, "times"))
		return sm_raise(job, "ConnectionError", "not yet");
	return json_integer(sm_retries(job));
}

static json_t *ignore(struct sm_job *job)
{
	return sm_ignore(job);
}

static json_t *reject(struct sm_job *job)
{
	return sm_reject(job, "no reason", sm_bool(job, "requeue"));
}

static json_t *progress(struct sm_job *job)
{
	int64_t steps = sm_int(job, "steps");

	for (int64_t step = 1; step <= steps; step++) {
		sm_progress(job, step, steps);
		if (sm_sleep(job, sm_float(job, "pause")) != 0)
			return soft_limit(job);
	}
	return json_integer(steps);
}

static json_t *big(struct sm_job *job)
{
	size_t size = (size_t)sm_int(job, "size");
	char *text = malloc(size + 1);
	json_t *result;

	if (!text)
		return sm_raise(job, "MemoryError", "%zu", size);
	memset(text, 'x', size);
	result = json_stringn_nocheck(text, size);
	free(text);
	return result;
}

static json_t *soft(struct sm_job *job)
{
	return json_string(sm_sleep(job, sm_float(job, "seconds")) == 0 ? "slept" : "caught");
}

static json_t *fail(struct sm_job *job)
{
	return sm_raise(job, "ValueError", "no ack");
}

static json_t *leak(struct sm_job *job)
{
	/* Chained, so that it counts as memory in use and not as lost. */
	static _Thread_local void *kept;
	size_t size = ((size_t)sm_int(job, "mib") << 20) + sizeof(void *);
	void **block = malloc(size);

	if (!block)
		return sm_raise(job, "MemoryError", "%zu", size);
	memset(block, 'x', size);
	*block = kept;
	kept = block;
	return json_integer(getpid());
}

/* In a cluster also which worker, and when. */
static int write_line(const char *path, char mark, const char *text)
{
	const char *node = getenv("CHAOS_NODE");
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	int rc = -1;

	if (fd >= 0 && node)
		rc = dprintf(fd, "%c %s %s %.3f\n", mark, text, node, now_s());
	else if (fd >= 0)
		rc = dprintf(fd, "%c %s\n", mark, text);

	if (fd >= 0)
		close(fd);
	return rc < 0 ? -1 : 0;
}

/* "S text", the pause, "E text". */
static json_t *append_text(struct sm_job *job, const char *text)
{
	const char *path = sm_str(job, "path");

	if (write_line(path, 'S', text) != 0)
		return sm_raise(job, "OSError", "%s", path);
	if (sm_sleep(job, sm_float(job, "pause")) != 0)
		return soft_limit(job);
	if (write_line(path, 'E', text) != 0)
		return sm_raise(job, "OSError", "%s", path);
	return json_string(text);
}

static json_t *append(struct sm_job *job)
{
	return append_text(job, sm_str(job, "text"));
}

/* As append, once per try; all but the last fail. */
static json_t *append_tries(struct sm_job *job)
{
	char text[100];

	snprintf(text, sizeof(text), "%s:%d", sm_str(job, "text"), sm_retries(job));
	json_t *done = append_text(job, text);

	if (!done)
		return NULL;
	json_decref(done);
	return not_yet(job);
}

/* The ids of what it sends. */
static json_t *send_all(struct sm_job *job)
{
	json_t *ids = json_array(), *signature;
	size_t i;

	json_array_foreach (sm_json(job, "sigs"), i, signature) {
		const char *id = sm_send(job, json_incref(signature));

		if (!id) {
			json_decref(ids);
			return NULL;
		}
		json_array_append_new(ids, json_string(id));
	}
	return ids;
}

/* What it does once all is sent. */
static json_t *send_and(struct sm_job *job)
{
	const char *end = sm_str(job, "end");
	json_t *ids = send_all(job);

	if (!ids)
		return NULL;
	json_decref(ids);
	if (strcmp(end, "fail") == 0)
		return sm_raise(job, "ValueError", "after sending");
	if (strcmp(end, "retry") == 0 && sm_retries(job) == 0)
		return sm_retry(job, 0);
	if (strcmp(end, "ignore") == 0)
		return sm_ignore(job);
	if (strcmp(end, "progress") == 0) {
		sm_progress(job, 1, 2);
		sm_sleep(job, 1);
	}
	if (strcmp(end, "die") == 0)
		kill(getpid(), SIGKILL);
	return json_string(end);
}

static json_t *replace(struct sm_job *job)
{
	return sm_replace(job, json_incref(sm_json(job, "sig")));
}

static json_t *grow(struct sm_job *job)
{
	const char *id = sm_add_to_chord(job, json_incref(sm_json(job, "sig")));

	return id ? json_incref(sm_json(job, "value")) : NULL;
}

/* A line about what failed; without a path it fails itself. */
static json_t *on_error(struct sm_job *job)
{
	json_t *exc = sm_json(job, "exc");
	const char *path = sm_str(job, "path");
	char *args = json_dumps(json_object_get(exc, "exc_message"), 0);
	char line[300];

	snprintf(line, sizeof(line), "%s %s %s %d",
		 json_string_value(json_object_get(sm_json(job, "request"), "id")),
		 json_string_value(json_object_get(exc, "exc_type")), args,
		 !sm_is_none(job, "traceback"));
	free(args);
	if (!path || write_line(path, 'X', line) != 0)
		return sm_raise(job, "OSError", "%s", line);
	return json_null();
}

static json_t *again(struct sm_job *job)
{
	const char *text = sm_str(job, "text");

	if (sm_retries(job) < sm_int(job, "times"))
		return sm_retry_with(job, json_incref(sm_json(job, "options")),
				     text ? "ValueError" : NULL,
				     text ? json_pack("[s]", text) : NULL);
	return json_pack("[iOO]", sm_retries(job), sm_json(job, "note"),
			 json_object_get(sm_request(job), "timelimit"));
}

static json_t *request(struct sm_job *job)
{
	return json_incref(sm_request(job));
}

static json_t *nothing(struct sm_job *job)
{
	(void)job;
	return NULL;
}

#define TASK(id, called, parameters, ...)                                                          \
	static const struct sm_task id##_task = {                                                  \
		.name = "testtasks." called, .signature = parameters, .run = __VA_ARGS__}

TASK(add, "add", "x, y", add);
TASK(noop, "noop", "", noop);
TASK(echo, "echo", "value = None, **extra", echo);
TASK(header, "header", "name: str", header);
TASK(sleep, "sleep", "seconds: float", sleep_);
TASK(spin, "spin", "seconds: float", spin);
TASK(stubborn, "stubborn", "seconds: float", stubborn);
TASK(limited, "limited", "seconds: float", sleep_, .soft_time_limit_s = 1);
TASK(raise, "raise_", "type: str, text: str", raise_);
TASK(raise_args, "raise_args", "type: str, args: list", raise_args);
TASK(crash, "crash", "signal: int", crash);
TASK(crash_retried, "crash_retried", "signal: int", crash, .retry_delay_s = 60);
TASK(exit, "exit_", "code: int", exit_);
TASK(retry, "retry", "times: int = 1, countdown: float = 0", retry, .max_retries = SM_UNLIMITED);
TASK(retry_secret, "retry_secret", "token: str, countdown: float = 0", retry_limited,
     .secrets = SM_NAMES("token"));
TASK(retry_ignored, "retry_ignored", "times: int = 1, countdown: float = 0", retry,
     .max_retries = SM_UNLIMITED, .ignore_result = SM_YES);
TASK(retry_limited, "retry_limited", "countdown: float = 0", retry_limited);
TASK(retry_raise, "retry_raise", "countdown: float = 0", retry_raise);
TASK(autoretry_fixed, "autoretry_fixed", "times: int = 1", not_yet, .max_retries = 2,
     .retry_delay_s = 0.2, .autoretry = {.on = SM_NAMES("ConnectionError")});
TASK(autoretry_backoff, "autoretry_backoff", "times: int = 1", not_yet, .max_retries = 5,
     .autoretry = {
	     .on = SM_NAMES("ConnectionError"), .backoff = 1, .backoff_max_s = 4, .jitter = SM_NO});
TASK(autoretry_jitter, "autoretry_jitter", "times: int = 1", not_yet, .max_retries = 9,
     .autoretry = {.on = SM_NAMES("ConnectionError"), .backoff = 1});
TASK(ignore, "ignore", "", ignore);
TASK(reject, "reject", "requeue: bool = False", reject, .acks_late = SM_YES);
TASK(early_reject, "early_reject", "requeue: bool = False", reject);
TASK(progress, "progress", "steps: int, pause: float = 0", progress);
TASK(big, "big", "size: int", big);
TASK(soft, "soft", "seconds: float", soft);
TASK(late, "late", "seconds: float = 0", sleep_, .acks_late = SM_YES);
TASK(late_requeue, "late_requeue", "seconds: float = 0", sleep_, .acks_late = SM_YES,
     .reject_on_worker_lost = SM_YES);
TASK(late_nofail, "late_nofail", "", fail, .acks_late = SM_YES, .acks_on_failure = SM_NO);
TASK(late_timeout, "late_timeout", "seconds: float", sleep_, .acks_late = SM_YES,
     .acks_on_timeout = SM_NO);
TASK(ignored, "ignored", "value = None", echo, .ignore_result = SM_YES);
TASK(tracked, "tracked", "seconds: float = 0", sleep_, .track_started = SM_YES);
TASK(leak, "leak", "mib: int", leak);
TASK(append, "append", "path: str, text: str, pause: float = 0", append, .acks_late = SM_YES,
     .reject_on_worker_lost = SM_YES);
TASK(append_early, "append_early", "path: str, text: str, pause: float = 0", append);
TASK(append_tries, "append_tries", "path: str, text: str, pause: float = 0, times: int = 1",
     append_tries, .acks_late = SM_YES, .reject_on_worker_lost = SM_YES, .retry_delay_s = 0.05,
     .autoretry = {.on = SM_NAMES("ConnectionError")});
TASK(append_tries_early, "append_tries_early",
     "path: str, text: str, pause: float = 0, times: int = 1", append_tries, .retry_delay_s = 0.05,
     .autoretry = {.on = SM_NAMES("ConnectionError")});
TASK(send_all, "send_all", "sigs: list", send_all);
TASK(send_and, "send_and", "end: str, sigs: list", send_and);
TASK(send_late, "send_late", "end: str, sigs: list", send_and, .acks_late = SM_YES,
     .reject_on_worker_lost = SM_YES);
TASK(replace, "replace", "sig: dict", replace);
TASK(grow, "grow", "value, sig: dict", grow);
TASK(on_error, "on_error", "request, exc, traceback, path = None", on_error, .is_errback = true);
TASK(again, "again", "options: dict, times: int = 1, text: str | None = None, note = None", again);
TASK(request, "request", "*args, **kwargs", request);
TASK(nothing, "nothing", "", nothing);
TASK(paced, "paced", "value = None", echo, .rate_limit = "2/s");
TASK(hourly, "hourly", "value = None", echo, .rate_limit = "1/h");

SM_PLUGIN(.name = "testtasks", .version = "1",
	  .tasks = SM_TASKS(&add_task, &noop_task, &echo_task, &header_task, &sleep_task,
			    &spin_task, &stubborn_task, &limited_task, &raise_task,
			    &raise_args_task, &crash_task, &crash_retried_task, &exit_task,
			    &retry_task, &retry_secret_task, &retry_ignored_task,
			    &retry_limited_task, &retry_raise_task, &autoretry_fixed_task,
			    &autoretry_backoff_task, &autoretry_jitter_task, &ignore_task,
			    &reject_task, &early_reject_task, &progress_task, &big_task, &soft_task,
			    &late_task, &late_requeue_task, &late_nofail_task, &late_timeout_task,
			    &ignored_task, &tracked_task, &leak_task, &append_task,
			    &append_early_task, &append_tries_task, &append_tries_early_task,
			    &send_all_task, &send_and_task, &send_late_task, &again_task,
			    &replace_task, &grow_task, &on_error_task, &request_task, &nothing_task,
			    &paced_task, &hourly_task));
