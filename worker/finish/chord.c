#include "worker/finish/chord.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "protocol/pyjson.h"
#include "protocol/result.h"
#include "worker/finish/gather.h"
#include "worker/finish/links.h"

/* One part on its way, and its chord if it is complete. */
struct report {
	struct finish *finish;
	const struct task_message *by;
	char *group_id;
	struct str body;
	char token[40];
	struct join join;
	struct err join_err; /* the first */
	size_t size;	     /* that the message tells; 0 = it does not */
	bool is_saved;	     /* the results are in the records of the group's tasks */
	struct err err;
	chord_done_fn *done;
	void *ctx;
};

static void report_end(struct report *report, const struct err *err)
{
	chord_done_fn *done = report->done;
	void *ctx = report->ctx;

	join_clear(&report->join);
	str_clear(&report->body);
	free(report->group_id);
	free(report);
	done(ctx, err);
}

static struct chord_end end_of(const struct report *report)
{
	return (struct chord_end){
		.finish = report->finish,
		.by = report->by,
		.group_id = report->group_id,
		.body = {report->body.data, report->body.len},
	};
}

/* The end of a chord */

static void on_ended(void *ctx, const struct err *err)
{
	struct report *report = ctx;
	struct err first = report->err;

	if (err)
		log_warning("Chord '%s' is over, but its keys are left to expire: %s",
			    report->group_id, err->text);
	report_end(report, first.code == ERR_NONE ? NULL : &first);
}

static void end_chord(struct report *report, bool is_error)
{
	size_t count = report->is_saved ? join_ids(&report->join, NULL, 0) : 0;
	auto_free const char **ids = mem_calloc(count + 1, sizeof(*ids));
	const struct backend_chord_end end = {
		.group_id = report->group_id,
		.token = report->token,
		.is_error = is_error,
		.task_ids = ids,
		.task_count = count,
	};

	join_ids(&report->join, ids, count);
	backend_chord_end(report->finish->backend, &end, on_ended, report);
}

static void on_failed(void *ctx, const struct err *err)
{
	struct report *report = ctx;

	if (err)
		report->err = *err;
	/* Left as it is, somebody else may bring it to its end. */
	if (err && report->finish->is_ending)
		on_ended(report, NULL);
	else
		end_chord(report, true);
}

static void fail(struct report *report, const char *text, struct span cause)
{
	const struct chord_end end = end_of(report);

	chord_fail(&end, text, cause, on_failed, report);
}

static void on_body_sent(void *ctx, const struct err *err)
{
	struct report *report = ctx;
	auto_free char *text = NULL;

	if (!err) {
		end_chord(report, false);
		return;
	}
	if (report->finish->is_ending) {
		report_end(report, err);
		return;
	}
	text = mem_printf("Callback error: OperationalError('%.300s')", err->text);
	fail(report, text, (struct span){0});
}

void chord_send_body(const struct chord_end *end, struct span results, chord_done_fn *done,
		     void *ctx)
{
	auto_free char *origin = links_origin(end->finish->config);
	const struct canvas_options options = links_options(end->finish, origin);
	struct canvas c = {0};
	struct err err = {0};

	if (canvas_chord_body(&c, end->by, end->body, results, &options, &err) < 0)
		done(ctx, &err);
	else
		links_carry(end->finish, &c, done, ctx);
}

/* In Celery's words. What Redis knows of a nested group it joins by another way, which raises the
 * exception itself. */
static void fail_to_join(struct report *report, const struct err *why)
{
	bool is_nested = report->join.group && !report->is_saved;
	const struct span cause = join_cause(&report->join), none = {0};
	auto_free char *repr = cause.data ? chord_exception_repr(cause) : NULL;
	auto_free char *text = is_nested && repr ? mem_printf("Join error: %s", repr)
						 : chord_failure_text(&report->join.failure, why);

	fail(report, text, is_nested ? none : cause);
}

static void complete(struct report *report)
{
	auto_str results = STR_INIT(PUBLISHER_BODY_MAX(report->finish->config));
	const struct chord_end end = end_of(report);
	struct err err = report->join_err;

	if (err.code == ERR_NONE && join_write(&report->join, &results, &err) == 0) {
		str_clear(&report->join.flat);
		chord_send_body(&end, (struct span){results.data, results.len}, on_body_sent,
				report);
	} else {
		fail_to_join(report, &err);
	}
}

/* What the store says */

static void on_begin(void *ctx, const char *group, size_t len)
{
	struct report *report = ctx;

	join_clear(&report->join);
	err_clear(&report->join_err);
	if (group)
		join_read_group(&report->join, group, len, &report->join_err);
}

static void on_member(void *ctx, const char *member, size_t len)
{
	struct report *report = ctx;

	if (report->join_err.code == ERR_NONE)
		join_add_member(&report->join, member, len, &report->join_err);
}

static void on_gathered(void *ctx, bool is_ready, const struct err *err)
{
	struct report *report = ctx;

	if (err)
		report->join_err = *err;
	else if (!is_ready)
		err_set(&report->join_err, ERR_TIMEOUT, "a part has no result");
	complete(report);
}

/* The store has counted, and kept the group; the results are where they always are. */
static void look_at_count(struct report *report, const struct backend_chord_state *state)
{
	struct err err = {0};
	size_t size = report->size;

	report->is_saved = true;
	if (join_read_group(&report->join, state->group, state->group_len, &err) < 0) {
		auto_free char *text =
			mem_printf("Cannot restore group: ValueError('%.300s')", err.text);

		fail(report, text, (struct span){0});
		return;
	}
	size = size ? size : json_array_size(report->join.group);
	if (state->count == size) {
		gather_start(report->finish, &report->join, on_gathered, report);
		return;
	}
	if (state->count > size)
		log_warning("Chord counter incremented too many times for '%s'", report->group_id);
	report_end(report, NULL);
}

static void fail_without_group(struct report *report)
{
	auto_free char *text = mem_printf("GroupResult %s no longer exists", report->group_id);

	report->is_saved = true;
	fail(report, text, (struct span){0});
}

static void on_got(void *ctx, const struct backend_chord_state *state, const struct err *err)
{
	struct report *report = ctx;

	if (err) {
		report_end(report, err);
		return;
	}
	snprintf(report->token, sizeof(report->token), "%s", state->token ? state->token : "");
	switch (state->status) {
	case BACKEND_CHORD_COMPLETE:
		complete(report);
		return;
	case BACKEND_CHORD_LOST:
		log_warning("Chord callback for '%s' not published: dispatch claim is no longer "
			    "owned by this worker",
			    report->group_id);
		break;
	case BACKEND_CHORD_COUNTED:
		look_at_count(report, state);
		return;
	case BACKEND_CHORD_GONE:
		fail_without_group(report);
		return;
	case BACKEND_CHORD_OPEN:
		break;
	}
	report_end(report, NULL);
}

static const struct backend_chord_events chord_events = {
	.begin = on_begin,
	.member = on_member,
	.got = on_got,
};

/* Reporting */

/* Clients up to 5.0 write the size into the body, and nowhere else. */
static size_t size_in(struct span body)
{
	json_auto_t *root = NULL;
	json_int_t size;

	if (!memmem(body.data, body.len, "\"chord_size\"", 12))
		return 0;
	root = pyjson_load(body.data, body.len, NULL);
	size = json_integer_value(json_object_get(root, "chord_size"));
	return size > 0 ? (size_t)size : 0;
}

static int member_write(struct str *out, const struct finish *f, const char *id,
			enum task_state state, struct span result, struct err *err)
{
	str_puts(out, "[1, ");
	pyjson_dump_str(out, id, strlen(id));
	str_addf(out, ", \"%s\", ", state_name(state));
	str_add(out, result.data, result.len);
	str_addc(out, ']');
	if (out->is_full)
		return err_set(err, ERR_LIMIT, "the result is too large");
	return result_pack(out, &f->config->result_form, NULL, err);
}

/* A result that result_serializer has no form for is a failure, as in its record. */
static int member_of(struct str *out, const struct finish *f, const struct chord_part *part,
		     struct err *err)
{
	auto_str exception = STR_INIT(65536);
	auto_str args = STR_INIT(65536);

	if (member_write(out, f, part->task_id, part->state, part->result, err) == 0)
		return 0;
	str_addc(&args, '[');
	pyjson_dump_str(&args, err->text, strlen(err->text));
	str_addc(&args, ']');
	result_exception(&exception, "kombu.exceptions", "EncodeError",
			 (struct span){args.data, args.len});
	str_reset(out);
	err_clear(err);
	return member_write(out, f, part->task_id, TASK_FAILURE,
			    (struct span){exception.data, exception.len}, err);
}

bool chord_is_reported(const struct finish *f, const struct task_message *t)
{
	enum backend_chords chords = backend_chords(f->backend);

	return t->chord.data && t->group &&
	       (chords == BACKEND_CHORDS_COUNTED || chords == BACKEND_CHORDS_SAVED);
}

void chord_report(struct finish *f, const struct chord_part *part, chord_done_fn *done, void *ctx)
{
	auto_str member = STR_INIT(PUBLISHER_BODY_MAX(f->config));
	struct report *report;
	struct err err = {0};
	size_t size = size_in(part->body);

	if (backend_chords(f->backend) == BACKEND_CHORDS_COUNTED &&
	    member_of(&member, f, part, &err) < 0) {
		done(ctx, &err);
		return;
	}
	report = mem_calloc(1, sizeof(*report));
	report->finish = f;
	report->by = part->by;
	report->group_id = mem_strdup(part->group_id);
	str_init(&report->body, part->body.len);
	str_add(&report->body, part->body.data, part->body.len);
	join_init(&report->join, f->config);
	report->size = size;
	report->done = done;
	report->ctx = ctx;
	backend_chord_part(f->backend,
			   &(struct backend_chord_part){
				   .group_id = part->group_id,
				   .task_id = part->task_id,
				   .index = part->index,
				   .size = size,
				   .member = member.data,
				   .len = member.len,
			   },
			   &chord_events, report);
}

bool chord_report_step(struct finish *f, const struct task_message *by,
		       const struct signature *step, struct span exception, chord_done_fn *done,
		       void *ctx)
{
	enum backend_chords chords = backend_chords(f->backend);
	auto_str body = STR_INIT(PUBLISHER_BODY_MAX(f->config));

	if (!step->chord || !step->group_id || !step->task_id || json_is_null(step->chord) ||
	    (chords != BACKEND_CHORDS_COUNTED && chords != BACKEND_CHORDS_SAVED) ||
	    pyjson_dump(&body, step->chord) < 0)
		return false;
	chord_report(f,
		     &(struct chord_part){
			     .by = by,
			     .task_id = step->task_id,
			     .group_id = step->group_id,
			     .index = step->group_index,
			     .body = {body.data, body.len},
			     .state = TASK_FAILURE,
			     .result = exception,
		     },
		     done, ctx);
	return true;
}
