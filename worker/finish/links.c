#include "worker/finish/links.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "protocol/result.h"
#include "worker/finish/chord.h"
#include "worker/finish/errbacks.h"

#define TRIES 4 /* celery: task_publish_retry_policy, max_retries 3 */

struct wait;
struct send {
	struct wait *wait;
	const struct outgoing *message;
	unsigned tries;
};

/* One step of a plan, until all it has caused is confirmed. */
struct wait {
	struct finish *finish;
	struct request *request;
	links_done_fn *done;
	links_carried_fn *carried; /* in place of the two above */
	void *ctx;
	struct canvas canvas;
	struct send *sends; /* one per message of the canvas */
	size_t left;	    /* what is not confirmed, and one while more is added */
	size_t chords_left; /* that are to be stored before the messages go out */
	size_t bytes;
	struct err err; /* the first */
};

static struct wait *wait_new(struct finish *f, struct request *r, links_done_fn *done)
{
	struct wait *w = mem_calloc(1, sizeof(*w));

	w->finish = f;
	w->request = r;
	w->done = done;
	w->left = 1;
	canvas_init(&w->canvas);
	return w;
}

static void wait_one_less(struct wait *w)
{
	const struct wait ended = *w;
	const struct err *err = ended.err.code == ERR_NONE ? NULL : &ended.err;

	if (--w->left > 0)
		return;
	w->finish->publishing_bytes -= w->bytes;
	canvas_clear(&w->canvas);
	free(w->sends);
	free(w);
	if (ended.carried)
		ended.carried(ended.ctx, err);
	else
		ended.done(ended.request, err);
}

/* Messages */

static void on_sent(void *ctx, const struct err *err);

static void send_message(struct send *s)
{
	struct err err = {0};

	s->tries++;
	if (publisher_send(s->wait->finish, s->message, on_sent, s, &err) < 0)
		on_sent(s, &err);
}

/* A message that the broker could not take now is sent again on its own, as Celery does; what it
 * will never take is not. */
static void on_sent(void *ctx, const struct err *err)
{
	struct send *s = ctx;
	struct wait *w = s->wait;
	const char *task = s->message->message.task;

	if (err && err->code == ERR_IO && s->tries < TRIES) {
		log_warning("Retrying refused callback publish for '%s' (%u/%u): %s", task,
			    s->tries, TRIES - 1, err->text);
		send_message(s);
		return;
	}
	if (err) {
		log_warning("Giving up refused callback publish for '%s': %s", task, err->text);
		err_set(&w->err, err->code, "%s", err->text);
	}
	wait_one_less(w);
}

static void send_messages(struct wait *w)
{
	const struct canvas *c = &w->canvas;

	w->sends = mem_calloc(c->count + 1, sizeof(*w->sends));
	w->left += c->count;
	for (size_t i = 0; i < c->count; i++)
		w->bytes += c->all[i].message.body_len;
	w->finish->publishing_bytes += w->bytes;
	for (size_t i = 0; i < c->count; i++) {
		w->sends[i] = (struct send){.wait = w, .message = &c->all[i]};
		send_message(&w->sends[i]);
	}
}

/* Chords */

static void on_chord_stored(void *ctx, const struct err *err)
{
	struct wait *w = ctx;

	if (err)
		err_set(&w->err, err->code, "%s", err->text);
	if (--w->chords_left == 0 && w->err.code == ERR_NONE)
		send_messages(w);
	wait_one_less(w);
}

/* {"result": tuple}, as celery/backends/base.py, save_group(), packed as results are. */
static int pack_group(const struct finish *f, const char *tuple, struct str *out, struct err *err)
{
	str_addf(out, "{\"result\": %s}", tuple);
	if (out->is_full)
		return err_set(err, ERR_LIMIT, "the group is too large");
	return result_pack(out, &f->config->result_form, NULL, err);
}

static int store_chord(struct wait *w, const struct canvas_chord *c)
{
	struct finish *f = w->finish;
	auto_str group = STR_INIT(PUBLISHER_BODY_MAX(f->config));
	struct backend_chord chord = {.group_id = c->group_id, .size = c->size};

	if (c->group && (c->keeps_group || backend_chords(f->backend) == BACKEND_CHORDS_SAVED)) {
		if (pack_group(f, c->group, &group, &w->err) < 0)
			return -1;
		chord.group = group.data;
		chord.group_len = group.len;
	}
	w->left++;
	backend_chord_start(f->backend, &chord, on_chord_stored, w);
	return 0;
}

/* All chords are stored before the first message goes out: parts may end at once. */
static void send_all(struct wait *w)
{
	const struct canvas *c = &w->canvas;

	w->chords_left = c->chord_count;
	for (size_t i = 0; i < c->chord_count; i++)
		if (store_chord(w, &c->chords[i]) < 0)
			return;
	if (c->chord_count == 0)
		send_messages(w);
}

/* As celery.utils.nodenames.anon_nodename names a sender. */
char *links_origin(const struct config *config)
{
	const char *at = strchr(config->node_name, '@');

	return mem_printf("gen%d@%s", (int)getpid(), at ? at + 1 : config->node_name);
}

/* Of tasks that only others run nothing is known. */
static bool has_secrets(const void *registry, const char *task)
{
	const struct task_entry *entry = registry_find(registry, task);

	return entry && task_entry_has_secrets(entry);
}

static enum canvas_chords chords_of(const struct backend *b)
{
	switch (b ? backend_chords(b) : BACKEND_CHORDS_NONE) {
	case BACKEND_CHORDS_COUNTED:
		return CHORDS_COUNTED;
	case BACKEND_CHORDS_SAVED:
		return CHORDS_SAVED;
	case BACKEND_CHORDS_POLLED:
		return CHORDS_POLLED;
	case BACKEND_CHORDS_NONE:
		break;
	}
	return CHORDS_NONE;
}

struct canvas_options links_options(const struct finish *f, const char *origin)
{
	return (struct canvas_options){
		.origin = origin,
		.now_us = clock_wall_us(),
		.max_bytes = PUBLISHER_BODY_MAX(f->config),
		.has_secrets = has_secrets,
		.secrets_ctx = f->registry,
		.chords = chords_of(f->backend),
		.inherits_priority = f->config->task_inherit_parent_priority,
	};
}

bool links_after_success(struct finish *f, struct request *r, links_done_fn *done)
{
	struct span result = {r->outcome.result, r->outcome.result_len};
	struct wait *w;

	if (!canvas_has_links(&r->message))
		return false;
	auto_free char *origin = links_origin(f->config);
	struct canvas_options options = links_options(f, origin);

	w = wait_new(f, r, done);
	if (canvas_after_success(&w->canvas, &r->message, result, &options, &w->err) == 0) {
		links_add_children(r, w->canvas.children);
		send_all(w);
	}
	wait_one_less(w);
	return true;
}

static void on_errback_called(void *ctx)
{
	wait_one_less(ctx);
}

/* Of those that are called here no message is made. */
static bool take_errback(void *ctx, const struct signature *errback, const char *failed_id)
{
	struct wait *w = ctx;

	(void)failed_id;
	if (!errbacks_call_for(w->finish, errback, w->request, on_errback_called, w))
		return false;
	w->left++;
	return true;
}

bool links_after_failure(struct finish *f, struct request *r, links_done_fn *done)
{
	struct wait *w;

	if (!canvas_has_errbacks(&r->message))
		return false;
	auto_free char *origin = links_origin(f->config);
	struct canvas_options options = links_options(f, origin);

	w = wait_new(f, r, done);
	options.takes_errback = take_errback;
	options.errback_ctx = w;
	if (canvas_after_failure(&w->canvas, &r->message, &options, &w->err) == 0)
		send_all(w);
	wait_one_less(w);
	return true;
}

void links_carry(struct finish *f, struct canvas *c, links_carried_fn *done, void *ctx)
{
	struct wait *w = wait_new(f, NULL, NULL);

	w->carried = done;
	w->ctx = ctx;
	w->canvas = *c;
	canvas_init(c);
	send_all(w);
	wait_one_less(w);
}

void links_add_children(struct request *r, const char *list)
{
	char *before = r->children;

	if (!list)
		return;
	/* "[a]" and "[b]" are "[a, b]" */
	r->children = before ? mem_printf("%.*s, %s", (int)strlen(before) - 1, before, list + 1)
			     : mem_strdup(list);
	free(before);
}

static void on_called(void *ctx, const struct err *err)
{
	(void)ctx;
	if (err)
		log_error("Could not call task: %s", err->text);
}

void links_call(struct finish *f, const json_t *signature)
{
	auto_free char *origin = links_origin(f->config);
	const struct canvas_options options = links_options(f, origin);
	const struct canvas_call nobody = {.priority = -1};
	struct canvas c = {0};
	struct err err = {0};

	if (canvas_apply(&c, signature, &nobody, &options, &err) < 0)
		on_called(NULL, &err);
	else
		links_carry(f, &c, on_called, NULL);
}

/* Records */

struct chain_failure {
	struct wait *wait;
	const struct finish_record *record;
};

static void on_stored(void *ctx, const struct err *err)
{
	struct wait *w = ctx;

	if (err)
		err_set(&w->err, err->code, "%s", err->text);
	wait_one_less(w);
}

static void fail_step(void *ctx, const struct signature *step)
{
	const struct chain_failure *failure = ctx;
	struct wait *w = failure->wait;

	if (w->finish->backend && w->request->policy.store_errors) {
		w->left++;
		if (record_store_step(w->finish, step, failure->record, on_stored, w) < 0)
			w->left--;
	}
	w->left++;
	if (!chord_report_step(w->finish, &w->request->message, step, failure->record->result,
			       on_stored, w))
		w->left--;
}

bool links_fail_chain(struct finish *f, struct request *r, const struct finish_record *record,
		      links_done_fn *done)
{
	struct chain_failure failure = {.record = record};

	if (!r->message.chain.data || !f->backend)
		return false;
	failure.wait = wait_new(f, r, done);
	canvas_each_step_left(&r->message, fail_step, &failure);
	wait_one_less(failure.wait);
	return true;
}
