/* A plug-in whose tasks behave and misbehave on demand, for the tests of the pool. */
#ifndef TESTS_UNIT_WORKER_POOL_TASKS_H
#define TESTS_UNIT_WORKER_POOL_TASKS_H

#include <check.h>
#include <signal.h>
#include <smallage/task.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

static _Thread_local int starts;

static inline void plugin_start(const char *(*setting)(const char *name))
{
	ck_assert_str_eq(setting("nothing"), "");
	starts++;
}

static inline json_t *run_echo(struct sm_job *job)
{
	return json_incref(sm_json(job, "value"));
}

static inline json_t *run_starts(struct sm_job *job)
{
	(void)job;
	return json_integer(starts);
}

static inline json_t *run_pid(struct sm_job *job)
{
	(void)job;
	return json_integer(getpid());
}

static inline json_t *run_sleep(struct sm_job *job)
{
	if (sm_sleep(job, sm_float(job, "seconds")) != 0)
		return sm_raise(job, "SoftTimeLimitExceeded", "%s", "");
	return json_string("slept");
}

/* As a blocking call of a library would, with no eye on the flag. */
static inline json_t *run_nanosleep(struct sm_job *job)
{
	double seconds = sm_float(job, "seconds");
	struct timespec t = {.tv_sec = (time_t)seconds};

	t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
	if (nanosleep(&t, NULL) != 0 && sm_expired(job))
		return json_string("interrupted");
	return json_string("slept");
}

static inline json_t *run_spin(struct sm_job *job)
{
	int64_t until_us = clock_mono_us() + (int64_t)(sm_float(job, "seconds") * 1e6);

	while (clock_mono_us() < until_us)
		continue;
	return json_true();
}

static inline json_t *run_abort(struct sm_job *job)
{
	(void)job;
	signal(SIGABRT, SIG_DFL);
	abort();
}

static inline json_t *run_exit(struct sm_job *job)
{
	_exit((int)sm_int(job, "code"));
}

static inline json_t *run_raise(struct sm_job *job)
{
	return sm_raise(job, sm_str(job, "type"), "%s", "oh no");
}

static inline json_t *run_big(struct sm_job *job)
{
	size_t size = (size_t)sm_int(job, "size");
	char *text = sm_alloc(job, size + 1);

	memset(text, 'x', size);
	return json_string(text);
}

static inline json_t *run_length(struct sm_job *job)
{
	return json_integer((json_int_t)strlen(sm_str(job, "value")));
}

static inline json_t *run_progress(struct sm_job *job)
{
	sm_progress(job, 1, 2);
	sm_progress(job, 2, 2);
	return json_true();
}

static inline json_t *run_send(struct sm_job *job)
{
	int64_t times = sm_int(job, "times"), size = sm_int(job, "size");
	char *text = sm_alloc(job, (size_t)size + 1);

	memset(text, 'x', (size_t)size);
	for (int64_t i = 0; i < times; i++)
		if (!sm_send(job, sm_signature("t.echo", json_pack("[s]", text), NULL)))
			return NULL;
	return json_integer(times);
}

#define TASK(NAME, SIGNATURE)                                                                      \
	static const struct sm_task NAME##_task = {                                                \
		.name = "t." #NAME, .signature = SIGNATURE, .run = run_##NAME}
TASK(echo, "value: any = None");
TASK(starts, "");
TASK(pid, "");
TASK(sleep, "seconds: number");
TASK(nanosleep, "seconds: number");
TASK(spin, "seconds: number");
TASK(abort, "");
TASK(exit, "code: int");
TASK(raise, "type: str");
TASK(big, "size: int");
TASK(length, "value: str");
TASK(progress, "");
TASK(send, "times: int = 1, size: int = 0");

static const struct sm_plugin test_plugin = {
	.abi = SM_ABI,
	.task_size = sizeof(struct sm_task),
	.name = "test",
	.start = plugin_start,
	.tasks = SM_TASKS(&echo_task, &starts_task, &pid_task, &sleep_task, &nanosleep_task,
			  &spin_task, &abort_task, &exit_task, &raise_task, &big_task, &length_task,
			  &progress_task, &send_task),
};

#endif
