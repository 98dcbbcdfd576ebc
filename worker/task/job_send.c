/* The task API: tasks that a body sends, or that take its place. The master applies the signatures;
 * here they get the id that is returned. Mirrors celery/app/task.py, replace(), add_to_chord(). */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/text.h"
#include "protocol/pyjson.h"
#include "protocol/signature.h"
#include "worker/task/job_state.h"

/* What the id of a whole signature is the id of: a chain's last step, a chord's body. NULL when
 * there is nothing to run. */
static json_t *carrier_of(json_t *signature)
{
	for (unsigned depth = 0; depth < PYJSON_MAX_DEPTH; depth++) {
		const char *type = json_string_value(json_object_get(signature, "subtask_type"));
		json_t *kwargs = json_object_get(signature, "kwargs");
		json_t *steps = json_object_get(kwargs, "tasks");

		if (type && strcmp(type, "chord") == 0)
			signature = json_object_get(kwargs, "body");
		else if (type && strcmp(type, "chain") == 0 &&
			 !json_object_get(json_object_get(signature, "options"), "task_id"))
			signature = json_array_get(steps, json_array_size(steps) - 1);
		else
			return json_is_object(signature) ? signature : NULL;
	}
	return NULL;
}

static json_t *unusable(struct sm_job *job, json_t *signature, const char *why)
{
	json_decref(signature);
	return sm_raise(job, "ValueError", "%s", why);
}

static int dump(struct sm_job *job, struct str *out, json_t *signature)
{
	const char *fault = job_value_fault(signature, 0);

	if (!fault && pyjson_dump(out, signature) != 0)
		fault = "MemoryError('the signature is too large')";
	if (!fault)
		return 0;
	sm_raise(job, "kombu.exceptions:EncodeError", "%s", fault);
	return -1;
}

static int hand_over(struct sm_job *job, enum job_send how, json_t *signature)
{
	auto_str out = STR_INIT(STR_MAX_DEFAULT);

	if (dump(job, &out, signature) != 0)
		return -1;
	if (!job->host->send) {
		sm_raise(job, "RuntimeError", "no task can be sent from here");
		return -1;
	}
	switch (job->host->send(job->host->ctx, how, out.data, out.len)) {
	case JOB_SENT:
		return 0;
	case JOB_SEND_TOO_LARGE:
		sm_raise(job, "ValueError",
			 "the signature has %zu bytes, more than worker_max_message_bytes",
			 out.len);
		return -1;
	case JOB_SEND_EXPIRED:
		break;
	}
	sm_raise_args(job, "SoftTimeLimitExceeded", json_array());
	return -1;
}

/* The object stays the caller's, who may send it again, as another task. */
static const char *send_as(struct sm_job *job, enum job_send how, json_t *signature)
{
	json_t *carrier = carrier_of(signature);
	struct signature head;
	struct err err = {0};
	char fresh[37];
	const char *id = NULL;

	if (!carrier)
		return (const char *)unusable(job, signature, "there is nothing to send");
	if (signature_read(&head, signature, &err) < 0 || signature_read(&head, carrier, &err) < 0)
		return (const char *)unusable(job, signature, err.text);
	if (head.task_id) {
		id = sm_printf(job, "%s", head.task_id);
		if (hand_over(job, how, signature) != 0)
			id = NULL;
	} else {
		uuid4(fresh);
		sm_set(carrier, "task_id", json_string(fresh));
		if (hand_over(job, how, signature) == 0)
			id = sm_printf(job, "%s", fresh);
		json_object_del(json_object_get(carrier, "options"), "task_id");
	}
	json_decref(signature);
	return id;
}

const char *sm_send(struct sm_job *job, json_t *signature)
{
	return send_as(job, JOB_SEND, signature);
}

const char *sm_add_to_chord(struct sm_job *job, json_t *signature)
{
	if (job->run->chord.data)
		return send_as(job, JOB_ADD_TO_CHORD, signature);
	return (const char *)unusable(job, signature, "Current task is not member of any chord");
}

static bool is_empty_chain(const json_t *signature)
{
	const char *type = json_string_value(json_object_get(signature, "subtask_type"));
	const json_t *kwargs = json_object_get(signature, "kwargs");

	return type && strcmp(type, "chain") == 0 &&
	       json_array_size(json_object_get(kwargs, "tasks")) == 0;
}

json_t *sm_replace(struct sm_job *job, json_t *signature)
{
	const char *refused = NULL;
	struct signature head;
	struct err err = {0};
	auto_str out = STR_INIT(STR_MAX_DEFAULT);

	if (signature_read(&head, signature, &err) < 0)
		return unusable(job, signature, err.text);
	if (json_object_get(head.options, "chord"))
		refused = "A signature replacing a task must not be part of a chord";
	else if (is_empty_chain(signature))
		refused = "Cannot replace with an empty chain";
	if (refused) {
		sm_raise(job, "celery.exceptions:ImproperlyConfigured", "%s", refused);
	} else if (dump(job, &out, signature) == 0) {
		struct job_end *end = job_end_begin(job, OUTCOME_REPLACED);

		end->signature_len = out.len;
		end->signature = str_detach(&out);
	}
	json_decref(signature);
	return NULL;
}
