#include <stdlib.h>
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

#define TEXT_KEEP ((size_t)64 << 10)

/* The record's text into f->text. */
static int record_write(struct finish *f, const struct result_record *out,
			struct content_label *ret_label, struct err *err)
{
	struct str *text = &f->text;

	str_shrink(text, TEXT_KEEP);
	text->max = 4 * f->config->worker_max_message_bytes + RECORD_OVERHEAD;
	if (result_encode(text, out) < 0)
		return err_set(err, ERR_LIMIT, "it is too large");
	return result_pack(text, &f->config->result_form, ret_label, err);
}

/* A result that result_serializer has no form for: Celery stores the exception instead. Makes the
 * record that of a failure; its texts go into `exception`. */
static void make_failure(struct result_record *record, struct str *exception, struct err *why)
{
	auto_str args = STR_INIT(RECORD_OVERHEAD);

	str_addc(&args, '[');
	pyjson_dump_str(&args, why->text, strlen(why->text));
	str_addc(&args, ']');
	result_exception(exception, "kombu.exceptions", "EncodeError",
			 (struct span){args.data, args.len});
	record->status = state_name(TASK_FAILURE);
	record->result = (struct span){exception->data, exception->len};
	record->children = (struct span){0};
	record->name = NULL; /* with it args and kwargs, which may be what has no form */
	err_clear(why);
}

/* -1 when there is no text of it (logged). */
static int store(struct finish *f, const struct result_record *out, struct backend_record *record,
		 backend_done_fn *done, void *ctx)
{
	auto_str exception = STR_INIT(RECORD_OVERHEAD);
	struct result_record fields = *out;
	struct str *text = &f->text;
	struct err err = {0};
	int result = record_write(f, &fields, &record->label, &err);

	if (result < 0 && err.code == ERR_UNSUPPORTED &&
	    (record->state == TASK_SUCCESS || record->state == TASK_FAILURE)) {
		log_error("The result of task %s is stored as a failure: %s", out->task_id,
			  err.text);
		record->state = TASK_FAILURE;
		make_failure(&fields, &exception, &err);
		result = record_write(f, &fields, &record->label, &err);
	}
	if (result < 0) {
		log_error("A result could not be stored: the record of task %s: %s", out->task_id,
			  err.text);
		return -1;
	}
	record->task_id = out->task_id;
	record->fields = &fields;
	record->data = text->data;
	record->len = text->len;
	backend_store(f->backend, record, done, ctx);
	record->fields = NULL; /* they end here */
	return 0;
}

/* The one end of an execution that nobody can have recorded anything about: its message came here
 * only, and for the first time. (A producer may still send one id twice.) */
static bool is_only_record(const struct finish *f, const struct request *r, enum task_state state)
{
	return (state == TASK_SUCCESS || state == TASK_FAILURE) && !r->has_record &&
	       r->message.retries == 0 && !r->message.is_redelivered &&
	       r->session == f->acks.session;
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

int record_check(struct finish *f, const struct request *r, struct err *err)
{
	const struct content_form form = {.serializer = f->config->result_form.serializer};
	const struct task_message *m = &r->message;
	struct content_label label;
	struct err why = {0};
	struct str *text = &f->text;

	if (!form.serializer || form.serializer == serializer_find("json") ||
	    form.serializer == serializer_find("auth") || !f->backend || r->policy.ignore_result)
		return 0;
	str_shrink(text, TEXT_KEEP);
	text->max = 4 * f->config->worker_max_message_bytes + RECORD_OVERHEAD;
	str_addc(text, '[');
	str_add(text, r->outcome.result, r->outcome.result_len);
	if (f->config->result_extended && m->args.data && m->kwargs.data) {
		str_addc(text, ',');
		str_add(text, m->args.data, m->args.len);
		str_addc(text, ',');
		str_add(text, m->kwargs.data, m->kwargs.len);
	}
	str_addc(text, ']');
	if (content_encode(text, &form, &label, &why) == 0 || why.code != ERR_UNSUPPORTED)
		return 0;
	*err = why;
	return -1;
}

struct finish_record record_revoked(enum finish_reason reason)
{
#define REVOKED_AS(text)                                                                           \
	"{\"exc_type\": \"TaskRevokedError\", \"exc_message\": [\"" text "\"], "                   \
	"\"exc_module\": \"celery.exceptions\"}"
	static const char *const results[] = {
		[FINISH_EXPIRED] = REVOKED_AS("expired"),
		[FINISH_REVOKED] = REVOKED_AS("revoked"),
		[FINISH_TERMINATED] = REVOKED_AS("terminated"),
	};
#undef REVOKED_AS

	return (struct finish_record){
		.state = TASK_REVOKED,
		.result = {results[reason], strlen(results[reason])},
		.has_date = true,
	};
}

int record_store(struct finish *f, struct request *r, const struct finish_record *record,
		 backend_done_fn *done, void *ctx)
{
	const struct task_message *m = &r->message;
	struct result_record out = {
		.status = record->state == TASK_CUSTOM ? record->custom_state
						       : state_name(record->state),
		.result = record->result,
		.traceback = record->traceback,
		.children = record->children.data || !r->children
				    ? record->children
				    : (struct span){r->children, strlen(r->children)},
		.date_done_us = record->has_date ? clock_wall_us() : 0,
		.date_offset_s = f->config->timezone_offset_s,
		.group_id = m->group,
		.parent_id = m->parent_id,
		.task_id = m->id,
	};
	struct backend_record stored = {
		.state = record->state,
		.is_only = is_only_record(f, r, record->state),
		.reply_to = m->reply_to,
		.correlation_id = m->correlation_id,
	};

	r->has_record = true;
	if (f->config->result_extended)
		fill_extended(f, &out, r);
	return store(f, &out, &stored, done, ctx);
}

int record_store_step(struct finish *f, const struct signature *step,
		      const struct finish_record *record, backend_done_fn *done, void *ctx)
{
	auto_str args = STR_INIT(RECORD_OVERHEAD + f->config->worker_max_message_bytes);
	auto_str kwargs = STR_INIT(RECORD_OVERHEAD + f->config->worker_max_message_bytes);
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
	return store(f, &out,
		     &(struct backend_record){.state = record->state, .reply_to = step->reply_to},
		     done, ctx);
}

void record_store_unrun(struct finish *f, const struct task_message *m, const char *module,
			const char *type, struct span args)
{
	auto_str exception = STR_INIT(RECORD_OVERHEAD);

	if (!f->backend || !m->id)
		return;
	result_exception(&exception, module, type, args);
	struct result_record out = {
		.status = state_name(TASK_FAILURE),
		.result = {exception.data, exception.len},
		.date_done_us = clock_wall_us(),
		.date_offset_s = f->config->timezone_offset_s,
		.task_id = m->id,
	};
	store(f, &out,
	      &(struct backend_record){.state = TASK_FAILURE,
				       .reply_to = m->reply_to,
				       .correlation_id = m->correlation_id},
	      NULL, NULL);
}

static void on_revoke_stored(void *ctx, const struct err *err)
{
	auto_free char *id = ctx;

	if (err)
		log_warning("Failed to mark task %s as revoked in backend: %s", id, err->text);
}

bool record_revoke(struct finish *f, const char *id)
{
	struct finish_record revoked = record_revoked(FINISH_REVOKED);
	struct result_record out = {
		.status = state_name(TASK_REVOKED),
		.result = revoked.result,
		.children = {"null", 4},
		.date_done_us = clock_wall_us(),
		.date_offset_s = f->config->timezone_offset_s,
		.task_id = id,
	};
	struct backend_record record = {.state = TASK_REVOKED, .is_revoke = true};
	char *copy = mem_strdup(id);

	if (!f->backend || backend_is_full(f->backend)) {
		free(copy);
		return !f->backend;
	}
	if (store(f, &out, &record, on_revoke_stored, copy) < 0)
		free(copy);
	return true;
}
