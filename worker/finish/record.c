#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "protocol/pyjson.h"
#include "protocol/result.h"
#include "worker/finish/finish.h"

/* A record is a result plus a few hundred bytes; results are bounded by worker_max_message_bytes.
 */
#define RECORD_OVERHEAD ((size_t)1 << 20)

/* For records that nobody waits for; `ctx` is the task id. */
static void log_store_error(void *ctx, const struct err *err)
{
	auto_free char *id = ctx;

	if (err)
		log_error("The result of task %s could not be stored: %s", id, err->text);
}

static void store(struct finish *f, const char *id, enum task_state state, const struct str *text,
		  backend_done_fn *done, void *ctx)
{
	backend_store(f->backend, id, state, text->data, text->len, done ? done : log_store_error,
		      done ? ctx : mem_strdup(id));
}

static void fill_extended(struct finish *f, struct result_record *out, const struct request *r)
{
	const struct task_message *m = &r->message;

	out->name = m->task;
	out->args = m->args;
	out->kwargs = m->kwargs;
	out->worker = f->config->node_name;
	out->retries = m->retries;
	out->queue = m->routing_key;
	out->stamped_headers = m->stamped_headers;
	out->stamps = m->stamps;
}

int record_store(struct finish *f, const struct request *r, const struct finish_record *record,
		 backend_done_fn *done, void *ctx)
{
	const struct task_message *m = &r->message;
	struct result_record out = {
		.status = record->state == TASK_CUSTOM ? record->custom_state
						       : state_name(record->state),
		.result = record->result,
		.traceback = record->traceback,
		.children = record->children,
		.date_done_us = record->has_date ? clock_wall_us() : 0,
		.date_offset_s = f->config->timezone_offset_s,
		.group_id = m->group,
		.parent_id = m->parent_id,
		.task_id = m->id,
	};
	auto_str text = STR_INIT(2 * f->config->worker_max_message_bytes + RECORD_OVERHEAD);

	if (f->config->result_extended)
		fill_extended(f, &out, r);
	if (result_encode(&text, &out) < 0) {
		log_error("A result could not be stored: the record of task %s is too large",
			  m->id);
		return -1;
	}
	store(f, m->id, record->state, &text, done, ctx);
	return 0;
}

int record_store_step(struct finish *f, const struct signature *step,
		      const struct finish_record *record, backend_done_fn *done, void *ctx)
{
	auto_str args = STR_INIT(RECORD_OVERHEAD + f->config->worker_max_message_bytes);
	auto_str kwargs = STR_INIT(RECORD_OVERHEAD + f->config->worker_max_message_bytes);
	auto_str text = STR_INIT(4 * f->config->worker_max_message_bytes + RECORD_OVERHEAD);
	struct result_record out = {
		.status = state_name(record->state),
		.result = record->result,
		.traceback = record->traceback,
		.date_done_us = clock_wall_us(),
		.date_offset_s = f->config->timezone_offset_s,
		.group_id = step->group_id,
		.task_id = step->task_id,
	};

	if (f->config->result_extended) {
		if (step->args)
			pyjson_dump(&args, step->args);
		if (step->kwargs)
			pyjson_dump(&kwargs, step->kwargs);
		out.name = step->task;
		out.args = (struct span){args.data, args.len};
		out.kwargs = (struct span){kwargs.data, kwargs.len};
		out.retries = step->retries;
	}
	if (result_encode(&text, &out) < 0) {
		log_error("A result could not be stored: the record of task %s is too large",
			  step->task_id);
		return -1;
	}
	store(f, step->task_id, record->state, &text, done, ctx);
	return 0;
}

void record_store_unrun(struct finish *f, const char *id, const char *module, const char *type,
			struct span args)
{
	auto_str exception = STR_INIT(RECORD_OVERHEAD);
	auto_str text = STR_INIT(RECORD_OVERHEAD);

	if (!f->backend || !id)
		return;
	result_exception(&exception, module, type, args);
	struct result_record out = {
		.status = state_name(TASK_FAILURE),
		.result = {exception.data, exception.len},
		.date_done_us = clock_wall_us(),
		.date_offset_s = f->config->timezone_offset_s,
		.task_id = id,
	};
	if (result_encode(&text, &out) == 0)
		store(f, id, TASK_FAILURE, &text, NULL, NULL);
}
