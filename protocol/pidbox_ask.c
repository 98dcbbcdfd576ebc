#include "protocol/pidbox_ask.h"

#include <string.h>

#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"

static void put(json_t *object, const char *key, const json_t *value)
{
	/* Shared, not copied: nobody changes it. */
	json_object_set(object, key, value ? (json_t *)(uintptr_t)value : json_null());
}

int pidbox_ask_body(struct str *out, const struct pidbox_question *q)
{
	json_t *body = json_object();
	json_t *none = json_object();
	int result;

	json_object_set_new(body, "method", json_string(q->method));
	put(body, "arguments", q->arguments ? q->arguments : none);
	put(body, "destination", q->destination);
	put(body, "pattern", NULL);
	put(body, "matcher", NULL);
	json_object_set_new(body, "ticket", json_string(q->ticket));
	json_object_set_new(
		body, "reply_to",
		json_pack("{s:s, s:s}", "exchange", q->exchange, "routing_key", q->routing_key));
	result = pyjson_dump(out, body);
	json_decref(none);
	json_decref(body);
	return result;
}

json_t *pidbox_ask_headers(int64_t clock, double expires_s)
{
	return json_pack("{s:I, s:f}", "clock", (json_int_t)clock, "expires", expires_s);
}

static void read_ticket(struct pidbox_answer *a, const struct message *m)
{
	static const char ticket[] = "ticket";

	for (size_t i = 0; i < m->header_count; i++) {
		const struct message_header *h = &m->headers[i];

		if (h->text.len != strlen(ticket) ||
		    memcmp(h->text.data, ticket, h->text.len) != 0 || h->value.kind == VALUE_ABSENT)
			continue;
		/* Any other type is the answer to somebody else's question. */
		a->ticket = h->value.kind == VALUE_TEXT ? h->value.text : (struct span){"", 0};
	}
}

int pidbox_answer_decode(struct pidbox_answer *a, const struct message *m, struct err *err)
{
	void *first;

	memset(a, 0, sizeof(*a));
	if (!m->content_type || strcmp(m->content_type, "application/json") != 0)
		return pyjson_fail(err, ERR_UNSUPPORTED,
				   "a reply of content type %.120s is not read here",
				   m->content_type ? m->content_type : "(none)");
	a->body = pyjson_load(m->body ? m->body : "", m->body_len, err);
	if (!a->body)
		return -1;
	first = json_is_object(a->body) && pyjson_tag(a->body, NULL) == PYJSON_PLAIN
			? json_object_iter(a->body)
			: NULL;
	if (!first)
		return err_set(err, ERR_INVALID, "a reply names no node");
	a->node = json_object_iter_key(first);
	a->payload = json_object_iter_value(first);
	read_ticket(a, m);
	return 0;
}

bool pidbox_answer_is_for(const struct pidbox_answer *a, const char *ticket)
{
	return !a->ticket.data || (a->ticket.len == strlen(ticket) &&
				   memcmp(a->ticket.data, ticket, a->ticket.len) == 0);
}

void pidbox_answer_clear(struct pidbox_answer *a)
{
	json_decref(a->body);
	memset(a, 0, sizeof(*a));
}
