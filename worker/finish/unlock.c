#include "worker/finish/unlock.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "protocol/pyjson.h"
#include "worker/finish/chord.h"
#include "worker/finish/gather.h"

#define NAME "celery.chord_unlock"

/* What a process of the pool would say: none is asked. */
static json_t *not_here(struct sm_job *job)
{
	return sm_raise(job, "NotImplementedError", "%s runs in a worker only", NAME);
}

static const struct sm_task unlock_task = {
	.name = NAME,
	.signature = "group_id, callback, interval = None, max_retries = None, result = None, "
		     "**kwargs",
	.run = not_here,
	.max_retries = SM_UNLIMITED,
	.ignore_result = SM_YES,
	.acks_late = SM_YES, /* lost, nobody would look at the chord again */
};

const struct sm_plugin unlock_plugin = {
	.abi = SM_ABI,
	.task_size = sizeof(struct sm_task),
	.name = "celery-chord",
	.version = SMALLAGE_VERSION,
	.tasks = SM_TASKS(&unlock_task),
};

bool unlock_is(const struct request *r)
{
	return r->task->decl == &unlock_task;
}

/* One look at a chord. */
struct unlock {
	struct finish *finish;
	struct request *request;
	int64_t start_us;
	char *group_id;
	struct str body;
	double interval_s;
	int64_t max_retries; /* -1 = no limit */
	struct join join;
};

static void unlock_end(struct unlock *u, struct outcome *outcome)
{
	struct finish *f = u->finish;
	struct request *r = u->request;

	outcome->runtime_s = (double)(clock_mono_us() - u->start_us) / 1e6;
	join_clear(&u->join);
	str_clear(&u->body);
	free(u->group_id);
	free(u);
	finish_apply(f, r, outcome);
	outcome_clear(outcome);
}

static void end_well(struct unlock *u)
{
	struct outcome outcome;

	outcome_init(&outcome, OUTCOME_SUCCESS);
	outcome.result = mem_strdup("null");
	outcome.result_len = 4;
	unlock_end(u, &outcome);
}

static void end_badly(struct unlock *u, const char *module, const char *type, const char *text)
{
	struct outcome outcome;

	outcome_init(&outcome, OUTCOME_FAILURE);
	outcome_set_exception(&outcome, module, type, text);
	unlock_end(u, &outcome);
}

static struct chord_end chord_of(const struct unlock *u)
{
	return (struct chord_end){
		.finish = u->finish,
		.by = &u->request->message,
		.group_id = u->group_id,
		.body = {u->body.data, u->body.len},
	};
}

static void on_failed(void *ctx, const struct err *err)
{
	if (err)
		log_error("The failure of a chord could not be stored: %s", err->text);
	end_well(ctx);
}

static void fail(struct unlock *u, const char *text, struct span cause)
{
	const struct chord_end end = chord_of(u);

	chord_fail(&end, text, cause, on_failed, u);
}

static void on_given_up(void *ctx, const struct err *err)
{
	struct unlock *u = ctx;
	auto_free char *text = mem_printf("Can't retry " NAME "[%s]", u->request->message.id);

	(void)err;
	end_badly(u, "celery.exceptions", "MaxRetriesExceededError", text);
}

static void look_later(struct unlock *u)
{
	struct outcome outcome;
	const struct chord_end end = chord_of(u);
	auto_free char *text = NULL;

	if (u->max_retries >= 0 && u->request->message.retries >= u->max_retries) {
		text = mem_printf("chord_unlock could not be retried: "
				  "MaxRetriesExceededError(\"Can't retry " NAME "[%s]\")",
				  u->request->message.id);
		chord_fail(&end, text, (struct span){0}, on_given_up, u);
		return;
	}
	outcome_init(&outcome, OUTCOME_RETRY);
	outcome.countdown_s = u->interval_s;
	unlock_end(u, &outcome);
}

static void on_body_sent(void *ctx, const struct err *err)
{
	struct unlock *u = ctx;
	auto_free char *text = NULL;

	if (!err) {
		end_well(u);
		return;
	}
	text = mem_printf("Callback error: OperationalError('%.300s')", err->text);
	fail(u, text, (struct span){0});
}

static void on_gathered(void *ctx, bool is_ready, const struct err *err)
{
	struct unlock *u = ctx;
	auto_str results = STR_INIT(PUBLISHER_BODY_MAX(u->finish->config));
	const struct chord_end end = chord_of(u);
	const struct join_failure *failure = &u->join.failure;
	struct err why = {0};

	if (!is_ready || err) {
		if (err)
			log_warning("Chord '%s' could not be looked at: %s", u->group_id,
				    err->text);
		look_later(u);
		return;
	}
	if (join_write(&u->join, &results, &why) == 0) {
		chord_send_body(&end, (struct span){results.data, results.len}, on_body_sent, u);
		return;
	}
	auto_free char *text = chord_failure_text(failure, &why);

	fail(u, text, join_cause(&u->join));
}

/* Arguments by place or by name, as a Python function takes them. */
static json_t *argument(json_t *args, json_t *kwargs, size_t at, const char *name)
{
	json_t *value = json_array_get(args, at);

	value = value ? value : json_object_get(kwargs, name);
	return json_is_null(value) ? NULL : value;
}

static int unlock_read(struct unlock *u, const struct task_message *m, struct err *err)
{
	json_auto_t *args = pyjson_load(m->args.data, m->args.len, err);
	json_auto_t *kwargs = pyjson_load(m->kwargs.data, m->kwargs.len, err);
	const json_t *interval = argument(args, kwargs, 2, "interval"),
		     *max_retries = argument(args, kwargs, 3, "max_retries"),
		     *body = argument(args, kwargs, 1, "callback");
	json_t *result = argument(args, kwargs, 4, "result");
	const char *group_id = json_string_value(argument(args, kwargs, 0, "group_id"));

	if (!group_id || !json_is_object(body) || !json_is_array(result))
		return err_set(err, ERR_INVALID, "group_id, callback or result cannot be read");
	u->group_id = mem_strdup(group_id);
	u->interval_s = json_is_number(interval) ? json_number_value(interval)
						 : u->finish->config->result_chord_retry_interval;
	u->max_retries = json_is_integer(max_retries) ? json_integer_value(max_retries) : -1;
	u->join.group = json_incref(result);
	return pyjson_dump(&u->body, body) < 0 ? err_set(err, ERR_LIMIT, "the body is too large")
					       : 0;
}

void unlock_run(struct finish *f, struct request *r)
{
	struct unlock *u = mem_calloc(1, sizeof(*u));
	struct err err = {0};

	u->finish = f;
	u->request = r;
	u->start_us = clock_mono_us();
	str_init(&u->body, PUBLISHER_BODY_MAX(f->config));
	join_init(&u->join, f->config);
	if (unlock_read(u, &r->message, &err) < 0)
		end_badly(u, "builtins", "TypeError", err.text);
	else if (!f->backend)
		end_badly(u, "builtins", "NotImplementedError", "no result backend is configured");
	else
		gather_start(f, &u->join, on_gathered, u);
}
