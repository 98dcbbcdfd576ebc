#include "worker/finish/sends.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "protocol/canvas.h"
#include "protocol/pyjson.h"
#include "worker/finish/links.h"
#include "worker/finish/steps.h"

/* One signature on its way. */
struct sending {
	struct finish *finish;
	struct request *request;
	size_t len;
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
	finish_go_on(f, r);
}

static int make(struct canvas *c, const struct finish *f, const struct request *r,
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
	case JOB_ADD_TO_CHORD:
		break;
	}
	return err_set(err, ERR_UNSUPPORTED, "the result backend cannot make a chord larger");
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
	if (value && make(&c, f, r, how, value, &err) == 0) {
		links_add_children(r, c.children);
		links_carry(f, &c, on_carried, s);
	} else {
		on_carried(s, &err);
	}
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
