/*
 * The tasks of compositions, the same as tests/integration/pyworker/canvastasks.py: each gives back
 * its tag and what it was called with, so that a result tells its whole descent. Not installed.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <smallage/task.h>

/* Seconds. Celery stores RETRY when the next try is on its way already: another worker must not be
 * quicker. */
#define SOON 1.0

/* [tag, value] */
static json_t *mark(struct sm_job *job)
{
	return json_pack("[O, O]", sm_json(job, "tag"), sm_json(job, "value"));
}

static json_t *nap(struct sm_job *job)
{
	if (sm_sleep(job, sm_float(job, "seconds")) != 0)
		return sm_raise_args(job, "SoftTimeLimitExceeded", json_array());
	return mark(job);
}

static json_t *size(struct sm_job *job)
{
	return json_integer((json_int_t)json_array_size(sm_json(job, "value")));
}

/* Another number each time. */
static json_t *draw(struct sm_job *job)
{
	struct timespec t;

	sm_sleep(job, 0.02);
	clock_gettime(CLOCK_MONOTONIC, &t);
	return json_integer((json_int_t)t.tv_sec * 1000000000 + t.tv_nsec);
}

/* To the file that tells what left no record; a line is one write. */
static void write_line(const char *line)
{
	const char *path = getenv("CANVAS_JOURNAL");
	int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;

	if (fd < 0)
		return;
	dprintf(fd, "%s\n", line);
	close(fd);
}

/* Writes down what it was called with. */
static json_t *tell(struct sm_job *job)
{
	char *values = json_dumps(sm_json(job, "value"), JSON_ENCODE_ANY);

	if (!values)
		return sm_raise(job, "ValueError", "value");
	write_line(sm_printf(job, "told %s %s", sm_str(job, "text"), values));
	free(values);
	return json_incref(sm_json(job, "tag"));
}

static json_t *fail(struct sm_job *job)
{
	return sm_raise_args(job, "ValueError", json_pack("[s, O]", "failed", sm_json(job, "tag")));
}

static json_t *again(struct sm_job *job)
{
	if (sm_retries(job) < sm_int(job, "times"))
		return sm_retry(job, SOON);
	return json_pack("[O, O, i]", sm_json(job, "tag"), sm_json(job, "value"), sm_retries(job));
}

static json_t *give_up(struct sm_job *job)
{
	return sm_retry_raise(job, SOON, "ValueError", "gave up");
}

static json_t *skip(struct sm_job *job)
{
	return sm_ignore(job);
}

static json_t *turn_down(struct sm_job *job)
{
	return sm_reject(job, "no reason", false);
}

/* Sends what it is given as JSON. */
static json_t *send(struct sm_job *job)
{
	if (!sm_send(job, json_incref(sm_json(job, "sig"))))
		return NULL;
	return mark(job);
}

/* Replaces itself. */
static json_t *swap(struct sm_job *job)
{
	return sm_replace(job, json_incref(sm_json(job, "sig")));
}

/* Adds to the chord that it is part of. */
static json_t *grow(struct sm_job *job)
{
	if (!sm_add_to_chord(job, json_incref(sm_json(job, "sig"))))
		return NULL;
	return mark(job);
}

/* An errback of the new style: called in the worker of the task that failed. */
static json_t *note_failure(struct sm_job *job)
{
	const json_t *exc = sm_json(job, "exc");
	const char *id = json_string_value(json_object_get(sm_json(job, "request"), "id"));
	char *args = json_dumps(json_object_get(exc, "exc_message"), JSON_ENCODE_ANY);

	write_line(sm_printf(job, "%s %s %s", id ? id : "",
			     json_string_value(json_object_get(exc, "exc_type")),
			     args ? args : ""));
	free(args);
	return json_null();
}

/* An errback of the old style: a task of its own. */
static json_t *note_error(struct sm_job *job)
{
	return json_pack("[s, O]", "error", sm_json(job, "tag"));
}

#define VALUE "value = None, tag = \"\""
#define TASK(id, parameters, ...)                                                                  \
	static const struct sm_task id##_task = {                                                  \
		.name = "canvastasks." #id, .signature = parameters, .run = __VA_ARGS__}

TASK(mark, VALUE, mark);
TASK(quiet, VALUE, mark, .ignore_result = SM_YES);
TASK(nap, VALUE ", seconds: float = 0.02", nap);
TASK(size, VALUE, size);
TASK(draw, VALUE, draw);
TASK(tell, VALUE ", text: str = \"\"", tell);
TASK(fail, VALUE, fail);
TASK(again, VALUE ", times: int = 1", again, .max_retries = SM_UNLIMITED);
TASK(give_up, VALUE, give_up, .max_retries = 1);
TASK(skip, VALUE, skip);
TASK(turn_down, VALUE, turn_down);
TASK(send, VALUE ", sig = None", send);
TASK(swap, VALUE ", sig = None", swap);
TASK(grow, VALUE ", sig = None", grow);
TASK(note_failure, "request, exc, traceback", note_failure, .is_errback = true);
TASK(note_error, "id, *, tag = \"\"", note_error);

SM_PLUGIN(.name = "canvastasks", .version = "1",
	  .tasks = SM_TASKS(&mark_task, &quiet_task, &nap_task, &size_task, &draw_task, &tell_task,
			    &fail_task, &again_task, &give_up_task, &skip_task, &turn_down_task,
			    &send_task, &swap_task, &grow_task, &note_failure_task,
			    &note_error_task));
