#include "worker/task/builtin.h"

#include <string.h>

#include "base/text.h"
#include "protocol/pyjson.h"
#include "worker/task/job_state.h"

static json_t *not_iterable(struct sm_job *job, const json_t *value)
{
	return sm_raise(job, "TypeError", "'%s' object is not iterable", pyjson_type_name(value));
}

/* The task of this worker that a signature, or a name, names. NULL after raising. */
static const struct task_entry *local_task(struct sm_job *job, const json_t *signature)
{
	const char *name = json_string_value(signature);
	const struct task_entry *task;

	if (json_is_object(signature))
		name = json_string_value(json_object_get(signature, "task"));
	task = name && job->host->registry ? registry_find(job->host->registry, name) : NULL;
	if (!task)
		sm_raise(job, "celery.exceptions:NotRegistered", "%s", name ? name : "");
	return task;
}

/* All items in this process, one after the other, as in a loop of Python. */
static json_t *call_each(struct sm_job *job, bool is_spread)
{
	const struct task_entry *task = local_task(job, sm_json(job, "task"));
	json_t *items = sm_json(job, "it"), *results = json_array();
	json_t *item, *result = NULL;
	size_t i;

	if (task && !json_is_array(items))
		not_iterable(job, items);
	json_array_foreach (task ? items : NULL, i, item) {
		json_t *args = is_spread ? json_incref(item) : json_pack("[O]", item);

		if (sm_expired(job))
			result = sm_raise_args(job, "SoftTimeLimitExceeded", json_array());
		else if (json_is_array(args))
			result = job_call(job, task, args);
		else
			result = sm_raise(job, "TypeError",
					  "%s() argument after * must be an iterable, not %s",
					  task->name, pyjson_type_name(item));
		json_decref(args);
		if (!result)
			break;
		json_array_append_new(results, result);
	}
	if (!job->state->end.is_set)
		return results;
	json_decref(results);
	return NULL;
}

static json_t *map(struct sm_job *job)
{
	return call_each(job, false);
}

static json_t *starmap(struct sm_job *job)
{
	return call_each(job, true);
}

/* The result tuple of the group: [[id, null], [[[id, null], null], ...]]. */
static json_t *chunks(struct sm_job *job)
{
	const struct task_entry *task = local_task(job, sm_json(job, "task"));
	json_t *group, *members, *member, *tuples;
	const char *id;
	size_t i;

	if (!task)
		return NULL;
	if (!json_is_array(sm_json(job, "it")))
		return not_iterable(job, sm_json(job, "it"));
	if (sm_int(job, "n") < 1)
		return sm_raise(job, "ValueError", "n must be at least 1");
	group = sm_chunks(task->name, json_incref(sm_json(job, "it")), (size_t)sm_int(job, "n"));
	members = json_object_get(json_object_get(group, "kwargs"), "tasks");
	tuples = json_array();
	json_array_foreach (members, i, member) {
		char fresh[37];

		uuid4(fresh);
		sm_set(member, "task_id", json_string(fresh));
		json_array_append_new(tuples, json_pack("[[sn]n]", fresh));
	}
	id = sm_send(job, group);
	if (id)
		return json_pack("[[sn]o]", id, tuples);
	json_decref(tuples);
	return NULL;
}

/* What a task that replaced itself with a group comes out as. */
static json_t *accumulate(struct sm_job *job)
{
	json_t *args = sm_json(job, "args"), *index = sm_json(job, "index");
	json_int_t at = json_integer_value(index), count = (json_int_t)json_array_size(args);

	if (json_is_null(index))
		return json_incref(args);
	if (!json_is_integer(index))
		return sm_raise(job, "TypeError",
				"tuple indices must be integers or slices, not %s",
				pyjson_type_name(index));
	if (at < 0)
		at += count;
	if (at < 0 || at >= count)
		return sm_raise(job, "IndexError", "tuple index out of range");
	return json_incref(json_array_get(args, (size_t)at));
}

/* Old results of files and tables; Redis lets them go by itself. */
static json_t *backend_cleanup(struct sm_job *job)
{
	if (job->host->send)
		job->host->send(job->host->ctx, JOB_CLEAN_BACKEND, "{}", 2);
	return json_null();
}

static json_t *chain(struct sm_job *job)
{
	return sm_raise(job, "NotImplementedError", "chain is not a real task");
}

static const struct sm_task map_task = {.name = "celery.map", .signature = "task, it", .run = map};
static const struct sm_task starmap_task = {
	.name = "celery.starmap", .signature = "task, it", .run = starmap};
static const struct sm_task chunks_task = {
	.name = "celery.chunks", .signature = "task, it, n: int", .run = chunks};
static const struct sm_task accumulate_task = {.name = "celery.accumulate",
					       .signature = "*args, index = None, **kwargs",
					       .run = accumulate};
static const struct sm_task backend_cleanup_task = {
	.name = "celery.backend_cleanup", .signature = "", .run = backend_cleanup};
static const struct sm_task chain_task = {
	.name = "celery.chain", .signature = "*args, **kwargs", .run = chain};

const struct sm_plugin builtin_plugin = {
	.abi = SM_ABI,
	.task_size = sizeof(struct sm_task),
	.name = "celery",
	.version = SMALLAGE_VERSION,
	.tasks = SM_TASKS(&map_task, &starmap_task, &chunks_task, &accumulate_task,
			  &backend_cleanup_task, &chain_task),
};
