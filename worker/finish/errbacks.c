#include "worker/finish/errbacks.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "protocol/pyjson.h"
#include "protocol/result.h"
#include "worker/task/job_request.h"

static size_t text_max(const struct finish *f)
{
	return PUBLISHER_BODY_MAX(f->config);
}

/* What the failure supplies goes in front of what the signature holds. */
static int write_args(struct str *out, const struct signature *errback,
		      const struct errback_failure *failure)
{
	const struct span supplied[] = {failure->request, failure->exception, failure->traceback};
	size_t count = 0;

	str_addc(out, '[');
	for (size_t i = 0; i < 3 && !errback->is_immutable; i++) {
		str_puts(out, count++ ? ", " : "");
		str_add(out, supplied[i].data, supplied[i].len);
	}
	for (size_t i = 0; i < json_array_size(errback->args); i++) {
		str_puts(out, count++ ? ", " : "");
		pyjson_dump(out, json_array_get(errback->args, i));
	}
	return str_addc(out, ']');
}

static void fill_message(struct task_message *m, const struct signature *errback,
			 const struct errback_failure *failure, struct str *args)
{
	auto_str kwargs = STR_INIT(args->max);

	m->task = arena_strdup(&m->texts, errback->task);
	m->id = arena_strdup(&m->texts, failure->id);
	m->root_id = arena_strdup(&m->texts, failure->root_id);
	m->args.len = m->body_len = args->len;
	m->body = str_detach(args);
	m->args.data = m->body;
	m->kwargs = (struct span){"{}", 2};
	if (json_object_size(errback->kwargs) > 0 && pyjson_dump(&kwargs, errback->kwargs) == 0) {
		m->kwargs.data = arena_dup(&m->texts, kwargs.data, kwargs.len);
		m->kwargs.len = kwargs.len;
	}
}

bool errbacks_call(struct finish *f, const struct signature *errback,
		   const struct errback_failure *failure, errback_done_fn *done, void *ctx)
{
	const struct task_entry *task = registry_find(f->registry, errback->task);
	auto_str args = STR_INIT(text_max(f));
	struct task_message message;
	struct request *call;

	if (!task || !task->decl->is_errback || errback->subtask_type)
		return false;
	if (write_args(&args, errback, failure) != 0) {
		log_error("Errback '%s' of task %s is sent as a task: its arguments are too large",
			  errback->task, failure->id);
		return false;
	}
	task_message_init(&message);
	fill_message(&message, errback, failure, &args);
	call = request_make(f->requests, &message, task, f->config);
	call->on_called = done;
	call->called_ctx = ctx;
	pool_submit(f->pool, &call->job);
	return true;
}

/* The request less what may be too large for the way to a pool process. */
static void write_request(struct str *out, const struct finish *f, const struct request *r)
{
	struct task_message m = r->message;
	json_t *request;

	if (m.body_len > f->config->worker_max_message_bytes)
		m.args = m.kwargs = m.callbacks = m.errbacks = m.chain = m.chord = (struct span){0};
	request = job_request_json(&m, f->config->node_name);
	pyjson_dump(out, request);
	json_decref(request);
}

bool errbacks_call_for(struct finish *f, const struct signature *errback, const struct request *r,
		       errback_done_fn *done, void *ctx)
{
	const struct task_entry *task = registry_find(f->registry, errback->task);
	const struct outcome *o = &r->outcome;
	auto_str request = STR_INIT(text_max(f)), exception = STR_INIT(text_max(f)),
		 traceback = STR_INIT(text_max(f));
	struct errback_failure failure = {.id = r->message.id,
					  .root_id = r->message.root_id && *r->message.root_id
							     ? r->message.root_id
							     : r->message.id};

	if (!task || !task->decl->is_errback)
		return false;
	write_request(&request, f, r);
	result_exception(&exception, o->exc_module, o->exc_type,
			 (struct span){o->exc_args, strlen(o->exc_args)});
	if (o->traceback)
		pyjson_dump_str(&traceback, o->traceback, strlen(o->traceback));
	else
		str_puts(&traceback, "null");
	failure.request = (struct span){request.data, request.len};
	failure.exception = (struct span){exception.data, exception.len};
	failure.traceback = (struct span){traceback.data, traceback.len};
	return errbacks_call(f, errback, &failure, done, ctx);
}

static void log_failed(const struct request *call)
{
	const struct outcome *o = &call->outcome;
	struct log_ctx ctx = {.task_id = call->message.id, .task_name = call->message.task};

	if (o->kind == OUTCOME_SUCCESS || o->kind == OUTCOME_IGNORE)
		return;
	log_write(LOG_ERROR, &ctx, "Errback '%s' raised an exception%s%s", call->message.task,
		  o->traceback || o->exc_repr ? "\n" : "",
		  o->traceback	? o->traceback
		  : o->exc_repr ? o->exc_repr
				: "");
}

void errbacks_ended(struct finish *f, struct request *call, struct outcome *outcome)
{
	errback_done_fn *done = call->on_called;
	void *ctx = call->called_ctx;

	if (outcome) {
		call->outcome = *outcome;
		outcome_init(outcome, OUTCOME_IGNORE);
		log_failed(call);
	}
	if (call->sends_left > 0) {
		call->awaits_sends = true;
		return;
	}
	if (call->send_error)
		log_error("A task that errback '%s' has sent could not be published: %s",
			  call->message.task, call->send_error);
	(void)f;
	request_discard(call);
	done(ctx);
}
