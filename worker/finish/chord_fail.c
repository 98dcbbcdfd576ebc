/* Mirrors celery/backends/base.py, chord_error_from_stack() and _handle_group_chord_error(). */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "protocol/pyjson.h"
#include "protocol/result.h"
#include "worker/finish/chord.h"
#include "worker/finish/errbacks.h"
#include "worker/finish/links.h"
#include "worker/task/job_request.h"

#define EXCEPTION_MAX ((size_t)1 << 20)

/* A chord that fails, until all that follows is confirmed. */
struct failing {
	struct finish *finish;
	const struct task_message *by;
	char *body;
	char *exception; /* JSON text of the ChordError */
	char *cause;	 /* of the one behind it; NULL = none */
	char *traceback;
	char *body_id; /* may be NULL */
	size_t told;   /* tasks */
	size_t left;   /* answers to come, and one while more is added */
	struct err err;
	chord_done_fn *done;
	void *ctx;
};

static void one_less(struct failing *x)
{
	chord_done_fn *done = x->done;
	void *ctx = x->ctx;
	struct err err = x->err;

	if (--x->left > 0)
		return;
	free(x->body);
	free(x->body_id);
	free(x->exception);
	free(x->cause);
	free(x->traceback);
	free(x);
	done(ctx, err.code == ERR_NONE ? NULL : &err);
}

static void on_one_done(void *ctx, const struct err *err)
{
	struct failing *x = ctx;

	if (err && x->err.code == ERR_NONE)
		x->err = *err;
	one_less(x);
}

/* An exception of a record, for people */

static void exception_read(struct outcome *o, struct span exception)
{
	json_auto_t *value = pyjson_load(exception.data, exception.len, NULL);
	json_auto_t *args = json_incref(json_object_get(value, "exc_message"));
	const char *module = json_string_value(json_object_get(value, "exc_module")),
		   *type = json_string_value(json_object_get(value, "exc_type")),
		   *dot = type ? strrchr(type, '.') : NULL;

	/* Celery calls the class with what is no list as its one argument. */
	if (!json_is_array(args)) {
		json_t *list = json_array();

		if (args)
			json_array_append(list, args);
		json_decref(args);
		args = list;
	}
	outcome_init(o, OUTCOME_FAILURE);
	outcome_set_exception_args(o, module ? module : "builtins",
				   dot	  ? dot + 1
				   : type ? type
					  : "Exception",
				   args);
}

/* celery.exceptions.Reject prints itself in its own way. */
static char *reject_repr(const struct outcome *o)
{
	json_auto_t *args = pyjson_load(o->exc_args, strlen(o->exc_args), NULL);
	const char *reason = json_string_value(json_array_get(args, 0));

	return mem_printf("reject requeue=%s: %s",
			  json_is_true(json_array_get(args, 1)) ? "True" : "False",
			  reason ? reason : "None");
}

char *chord_exception_repr(struct span exception)
{
	struct outcome o;
	char *repr;

	exception_read(&o, exception);
	if (strcmp(o.exc_type, "Reject") == 0 && strcmp(o.exc_module, "celery.exceptions") == 0)
		repr = reject_repr(&o);
	else
		repr = mem_strdup(o.exc_repr);
	outcome_clear(&o);
	return repr;
}

char *chord_failure_text(const struct join_failure *failure, const struct err *why)
{
	auto_free char *repr = NULL;

	if (!failure->task_id)
		return mem_printf("Join error: ValueError('%.300s')", why->text);
	repr = chord_exception_repr((struct span){failure->exception, strlen(failure->exception)});
	return mem_printf("Dependency %s raised %s", failure->task_id, repr);
}

/* As Python prints one exception raised from another. */
static char *traceback_of(const char *text, struct span cause)
{
	struct outcome o;
	char *traceback;

	if (!cause.data)
		return mem_printf("Traceback (most recent call last):\n"
				  "celery.exceptions.ChordError: %s\n",
				  text);
	exception_read(&o, cause);
	traceback = mem_printf("Traceback (most recent call last):\n%s: %s\n\n"
			       "The above exception was the direct cause of the following "
			       "exception:\n\nTraceback (most recent call last):\n"
			       "celery.exceptions.ChordError: %s\n",
			       o.exc_type, o.exc_text ? o.exc_text : "", text);
	outcome_clear(&o);
	return traceback;
}

static char *chord_error(const char *text)
{
	struct str args = STR_INIT(EXCEPTION_MAX), exception = STR_INIT(EXCEPTION_MAX);

	str_addc(&args, '[');
	pyjson_dump_str(&args, text, strlen(text));
	str_addc(&args, ']');
	result_exception(&exception, "celery.exceptions", "ChordError",
			 (struct span){args.data, args.len});
	str_clear(&args);
	return str_detach(&exception);
}

/* What follows */

/* Of all but steps behind the body the record holds nothing but how they ended; a traceback only of
 * those that Celery calls the errbacks for. */
enum record_kind { RECORD_OF_BODY, RECORD_OF_GROUP, RECORD_OF_STEP };

/* Records and reports in the order of Celery; the store keeps it. */
static void fail_task(struct failing *x, const struct signature *step, const char *exception,
		      enum record_kind kind)
{
	const struct signature bare = {
		.task_id = step->task_id, .reply_to = step->reply_to, .group_index = -1};
	const struct span json = {exception, strlen(exception)};
	const struct finish_record record = {
		.state = TASK_FAILURE,
		.result = json,
		.traceback = kind == RECORD_OF_BODY ? x->traceback : NULL,
		.has_date = true,
	};

	if (x->finish->backend) {
		x->left++;
		if (record_store_step(x->finish, kind == RECORD_OF_STEP ? step : &bare, &record,
				      on_one_done, x) < 0)
			x->left--;
	}
	x->left++;
	if (!chord_report_step(x->finish, x->by, step, json, on_one_done, x))
		x->left--;
}

static void fail_step(void *ctx, const struct signature *step)
{
	struct failing *x = ctx;
	bool is_body = x->told++ == 0;

	fail_task(x, step, x->exception, is_body ? RECORD_OF_BODY : RECORD_OF_STEP);
}

static void fail_member(void *ctx, const struct signature *step)
{
	struct failing *x = ctx;

	const char *exception = x->cause ? x->cause : x->exception;
	bool is_group = x->body_id && strcmp(step->task_id, x->body_id) == 0;

	x->told++;
	fail_task(x, step, exception, is_group ? RECORD_OF_GROUP : RECORD_OF_BODY);
}

static void no_step(void *ctx, const struct signature *step)
{
	(void)ctx;
	(void)step;
}

static void on_errback_called(void *ctx)
{
	one_less(ctx);
}

/* The request that Celery makes up: nobody has run the body. Members of a group are told what is
 * behind the ChordError. */
static bool take_errback(void *ctx, const struct signature *errback, const char *failed_id)
{
	struct failing *x = ctx;
	json_auto_t *body = pyjson_load(x->body, strlen(x->body), NULL), *request = NULL;
	const char *task = json_string_value(json_object_get(body, "task"));
	bool is_group = task && strcmp(task, "celery.group") == 0;
	const char *exception = is_group && x->cause ? x->cause : x->exception;
	auto_str text = STR_INIT(PUBLISHER_BODY_MAX(x->finish->config));
	struct task_message unrun;
	bool is_taken;

	task_message_init(&unrun);
	unrun.id = failed_id;
	unrun.task = task ? task : "unknown";
	unrun.args = (struct span){"[]", 2};
	unrun.kwargs = (struct span){"{}", 2};
	request = job_request_json(&unrun, NULL);
	pyjson_dump(&text, request);
	const struct errback_failure failure = {
		.id = failed_id,
		.root_id = failed_id,
		.request = {text.data, text.len},
		.exception = {exception, strlen(exception)},
		.traceback = {"null", 4},
	};

	x->left++;
	is_taken = errbacks_call(x->finish, errback, &failure, on_errback_called, x);
	if (!is_taken)
		x->left--;
	return is_taken;
}

static char *body_id_of(struct span text)
{
	json_auto_t *body = pyjson_load(text.data, text.len, NULL);
	const json_t *options = json_object_get(body, "options");

	return mem_strdup(json_string_value(json_object_get(options, "task_id")));
}

static struct span body_of(const struct failing *x)
{
	return (struct span){x->body, strlen(x->body)};
}

/* The errbacks are out: now the records, so that who sees those may rely on these. */
static void on_errbacks_sent(void *ctx, const struct err *err)
{
	struct failing *x = ctx;
	auto_free char *origin = links_origin(x->finish->config);
	struct canvas_options options = links_options(x->finish, origin);
	struct canvas again = {0};
	struct err ignored = {0};

	if (err)
		log_error("An errback of a chord's body could not be sent: %s", err->text);
	options.takes_errback = NULL; /* they have been called */
	x->left++;
	if (canvas_chord_failed(&again, body_of(x), fail_step, fail_member, x, &options,
				&ignored) == 0)
		canvas_clear(&again);
	one_less(x);
	one_less(x);
}

void chord_fail(const struct chord_end *end, const char *text, struct span cause,
		chord_done_fn *done, void *ctx)
{
	struct failing *x = mem_calloc(1, sizeof(*x));
	auto_free char *origin = links_origin(end->finish->config);
	struct canvas_options options = links_options(end->finish, origin);
	struct canvas errbacks = {0};
	struct err err = {0};

	log_error("Chord '%s' raised: ChordError(\"%s\")", end->group_id, text);
	*x = (struct failing){
		.finish = end->finish,
		.by = end->by,
		.body = mem_dup(end->body.data, end->body.len),
		.body_id = body_id_of(end->body),
		.exception = chord_error(text),
		.cause = cause.data ? mem_dup(cause.data, cause.len) : NULL,
		.traceback = traceback_of(text, cause),
		.left = 1,
		.done = done,
		.ctx = ctx,
	};
	options.takes_errback = take_errback;
	options.errback_ctx = x;
	if (canvas_chord_failed(&errbacks, body_of(x), no_step, no_step, x, &options, &err) < 0) {
		on_errbacks_sent(x, &err);
		return;
	}
	links_carry(end->finish, &errbacks, on_errbacks_sent, x);
}
