#include "worker/finish/sends.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "protocol/canvas.h"
#include "protocol/pyjson.h"
#include "worker/finish/errbacks.h"
#include "worker/finish/links.h"
#include "worker/finish/steps.h"

/* One signature on its way. */
struct sending {
	struct finish *finish;
	struct request *request;
	size_t len;
	struct canvas canvas; /* while its chord is made larger */
};

static void on_carried(void *ctx, const struct err *err)
{
	struct sending *s = ctx;
	struct request *r = s->request;
	struct finish *f = s->finish;

	pool_sent(f->pool, &r->job, s->len);
	free(s);
	if (err && !r->send_error)
		r->send_error = mem_strdup(err->text);
	if (--r->sends_left > 0 || !r->awaits_sends)
		return;
	r->awaits_sends = false;
	if (r->on_called)
		errbacks_ended(f, r, NULL);
	else
		finish_go_on(f, r);
}

static int prepare(struct canvas *c, const struct finish *f, const struct request *r,
		   enum job_send how, const json_t *signature, struct err *err)
{
	auto_free char *origin = links_origin(f->config);
	const struct canvas_options options = links_options(f, origin);
	const struct task_message *t = &r->message;
	const struct canvas_call call = {
		.parent_id = t->id,
		.root_id = t->root_id && *t->root_id ? t->root_id : t->id,
	};

	switch (how) {
	case JOB_SEND:
		return canvas_apply(c, signature, &call, &options, err);
	case JOB_CLEAN_BACKEND:
		if (f->backend)
			backend_cleanup(f->backend);
		return 0;
	case JOB_ADD_TO_CHORD:
		break;
	}
	if (!f->backend || backend_chords(f->backend) != BACKEND_CHORDS_COUNTED)
		return err_set(err, ERR_UNSUPPORTED,
			       "the result backend cannot make a chord larger; Redis can");
	return canvas_add_to_chord(c, t, signature, &options, err);
}

/* The chord waits for one part more; now that part may end. */
static void on_chord_larger(void *ctx, const struct err *err)
{
	struct sending *s = ctx;

	if (err) {
		canvas_clear(&s->canvas);
		on_carried(s, err);
	} else {
		links_carry(s->finish, &s->canvas, on_carried, s);
	}
}

static void carry(struct sending *s, enum job_send how, struct canvas *c)
{
	const struct task_message *t = &s->request->message;

	links_add_children(s->request, c->children);
	if (how == JOB_SEND || c->count == 0) {
		links_carry(s->finish, c, on_carried, s);
		return;
	}
	s->canvas = *c;
	canvas_init(c);
	backend_chord_add(s->finish->backend, t->group, s->canvas.all[0].message.id,
			  on_chord_larger, s);
}

void sends_take(struct finish *f, struct request *r, enum job_send how, const char *signature,
		size_t len)
{
	struct sending *s = mem_calloc(1, sizeof(*s));
	struct canvas c = {0};
	struct err err = {0};
	json_t *value = pyjson_load(signature, len, &err);

	*s = (struct sending){.finish = f, .request = r, .len = len};
	r->sends_left++;
	if (value && prepare(&c, f, r, how, value, &err) == 0)
		carry(s, how, &c);
	else
		on_carried(s, &err);
	json_decref(value);
}

/* It has an exception of its own. */
static bool is_failure(const struct outcome *o)
{
	return o->kind == OUTCOME_FAILURE || o->kind == OUTCOME_LOST ||
	       o->kind == OUTCOME_TIMEOUT || o->kind == OUTCOME_TERMINATED;
}

enum step_result step_await_sends(struct finish *f, struct request *r)
{
	struct err err = {0};

	(void)f;
	if (r->sends_left > 0) {
		r->awaits_sends = true;
		r->step--;
		return STEP_WAIT;
	}
	if (!r->send_error)
		return STEP_NEXT;
	err_set(&err, ERR_IO, "%s", r->send_error);
	free(r->send_error);
	r->send_error = NULL;
	r->finish = f;
	if (finish_is_left_to_broker(r, &err))
		return STEP_END;
	log_error("A task that %s[%s] has sent could not be published: %s", r->message.task,
		  r->message.id, err.text);
	if (is_failure(&r->outcome))
		return STEP_NEXT;
	finish_fail_to_publish(r, "a task that it sent", &err);
	return STEP_NEXT;
}

static void on_replaced(void *ctx, const struct err *err)
{
	struct request *r = ctx;

	if (finish_is_left_to_broker(r, err)) {
		finish_end(r->finish, r);
		return;
	}
	if (err)
		finish_fail_to_publish(r, "what takes its place", err);
	finish_go_on(r->finish, r);
}

/* In the order of Celery's records: nothing is stored, the one that takes its place has its id. */
enum step_result step_send_replacement(struct finish *f, struct request *r)
{
	auto_free char *origin = links_origin(f->config);
	const struct canvas_options options = links_options(f, origin);
	struct canvas c = {0};
	struct err err = {0};
	json_t *signature = pyjson_load(r->outcome.result, r->outcome.result_len, &err);

	r->finish = f;
	if (signature && canvas_replace(&c, &r->message, signature, &options, &err) == 0)
		links_carry(f, &c, on_replaced, r);
	else
		on_replaced(r, &err);
	json_decref(signature);
	return STEP_WAIT;
}
