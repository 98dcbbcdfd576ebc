#include "worker/request/next_try.h"

#include <string.h>

#include "base/text.h"
#include "protocol/pyjson.h"

enum {
	TEXT_ARGS,
	TEXT_KWARGS,
	TEXT_ARGSREPR,
	TEXT_KWARGSREPR,
	TEXT_HEADERS,
	TEXT_LINK,
	TEXT_LINK_ERROR,
	TEXT_COUNT
};
_Static_assert(TEXT_COUNT <= sizeof(((struct next_try *)0)->texts) / sizeof(struct str),
	       "room for every text");

void next_try_clear(struct next_try *n)
{
	for (unsigned i = 0; i < TEXT_COUNT; i++)
		str_clear(&n->texts[i]);
	json_decref(n->changes);
	*n = (struct next_try){0};
}

static struct span dumped(struct str *out, const json_t *value)
{
	pyjson_dump(out, value);
	return (struct span){out->data, out->len};
}

/* A single signature stands for a list of one. */
static struct span dumped_list(struct str *out, const json_t *value)
{
	if (json_is_array(value))
		return dumped(out, value);
	str_addc(out, '[');
	pyjson_dump(out, value);
	str_addc(out, ']');
	return (struct span){out->data, out->len};
}

static void change_arguments(struct next_try *n)
{
	struct task_message *m = &n->message;

	if (n->how.args) {
		m->args = dumped(&n->texts[TEXT_ARGS], n->how.args);
		m->argsrepr = NULL;
	}
	if (n->how.kwargs) {
		m->kwargs = dumped(&n->texts[TEXT_KWARGS], n->how.kwargs);
		m->kwargsrepr = NULL;
	}
}

static void change_options(struct next_try *n, int64_t now_us)
{
	const struct signature *s = &n->how;
	struct task_message *m = &n->message;

	if (s->expires_in_us != TIME_UNSET)
		m->expires_us = now_us + s->expires_in_us;
	else if (s->expires_us != TIME_UNSET)
		m->expires_us = s->expires_us;
	if (s->time_limit_s > 0)
		m->time_limit_s = s->time_limit_s;
	if (s->soft_time_limit_s > 0)
		m->soft_time_limit_s = s->soft_time_limit_s;
	if (s->shadow)
		m->shadow = s->shadow;
	if (s->reply_to)
		m->reply_to = s->reply_to;
	if (s->priority >= 0)
		m->priority = s->priority;
	if (s->ignore_result != TRI_NULL)
		m->ignore_result = s->ignore_result;
	if (s->headers)
		m->custom_headers = dumped(&n->texts[TEXT_HEADERS], s->headers).data;
	if (s->link)
		m->callbacks = dumped_list(&n->texts[TEXT_LINK], s->link);
	if (s->link_error)
		m->errbacks = dumped_list(&n->texts[TEXT_LINK_ERROR], s->link_error);
	n->has_route = s->queue || s->exchange || s->routing_key;
}

static const char *repr(struct str *out, const struct request *r, struct span json, bool as_tuple)
{
	request_repr(out, r, json, as_tuple);
	return out->data ? out->data : "";
}

void next_try_make(struct next_try *n, const struct request *r, int64_t now_us)
{
	const struct outcome *o = &r->outcome;
	struct task_message *m = &n->message;

	*n = (struct next_try){.message = r->message};
	for (unsigned i = 0; i < TEXT_COUNT; i++)
		str_init(&n->texts[i], STR_MAX_DEFAULT);
	m->protocol = 2;
	m->retries++;
	m->eta_us = TIME_UNSET;
	if (o->eta_us != TIME_UNSET)
		m->eta_us = o->eta_us;
	else if (o->countdown_s > 0)
		m->eta_us = now_us + (int64_t)(o->countdown_s * 1e6);
	if (!m->parent_id)
		m->parent_id = m->id; /* as Celery: published from inside the task itself */
	m->ignore_result = r->policy.ignore_result ? TRI_TRUE : TRI_FALSE;
	n->changes = o->changes ? pyjson_load(o->changes, strlen(o->changes), NULL) : NULL;
	if (n->changes && signature_read(&n->how, n->changes, NULL) == 0) {
		change_arguments(n);
		change_options(n, now_us);
	}
	/* Protocol 1 carries no reprs; monitors want them in protocol 2. */
	if (!m->argsrepr)
		m->argsrepr = repr(&n->texts[TEXT_ARGSREPR], r, m->args, true);
	if (!m->kwargsrepr)
		m->kwargsrepr = repr(&n->texts[TEXT_KWARGSREPR], r, m->kwargs, false);
}
