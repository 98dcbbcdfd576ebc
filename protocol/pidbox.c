#include "protocol/pidbox.h"

#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"

/* Clocks grow by one per message: anything above is no clock, and would overflow ours. */
#define CLOCK_MOST ((int64_t)1 << 53)
/* A name in AMQP has at most this many bytes. */
#define NAME_MOST 255
/* Of what a client sent, so much is quoted back. */
#define EXCEPTION_CHARS 1024

static bool is_truthy(const json_t *value)
{
	struct value v = value_of_json(value);

	return value && value_is_truthy(&v);
}

static const struct value *find_header(const struct message *m, const char *name)
{
	for (size_t i = 0; i < m->header_count; i++) {
		const struct message_header *h = &m->headers[i];

		if (h->value.kind != VALUE_ABSENT && h->text.len == strlen(name) &&
		    memcmp(h->text.data, name, h->text.len) == 0)
			return &h->value;
	}
	return NULL;
}

static int64_t clock_of_real(double real)
{
	if (!(real > 0))
		return 0;
	return real < (double)CLOCK_MOST ? (int64_t)real : CLOCK_MOST;
}

static int read_clock(int64_t *ret, const struct value *value, struct err *err)
{
	*ret = 0;
	if (!value || !value_is_truthy(value))
		return 0;
	switch (value->kind) {
	case VALUE_BOOL:
		*ret = 1;
		return 0;
	case VALUE_INT:
		*ret = value->integer < 0	     ? 0
		       : value->integer > CLOCK_MOST ? CLOCK_MOST
						     : value->integer;
		return 0;
	case VALUE_REAL:
		*ret = clock_of_real(value->real);
		return 0;
	case VALUE_JSON:
		if (pyjson_tag(value->json, NULL) == PYJSON_NUMBER)
			return 0;
		break;
	case VALUE_ABSENT:
	case VALUE_NULL:
	case VALUE_TEXT:
	case VALUE_LIST:
	case VALUE_EMPTY:
		break;
	}
	return err_set(err, ERR_INVALID, "the header clock is not a number");
}

static const char *name_in(const json_t *object, const char *key, struct err *err)
{
	const json_t *name = json_object_get(object, key);

	if (!json_is_string(name) || json_string_length(name) > NAME_MOST ||
	    strlen(json_string_value(name)) != json_string_length(name)) {
		err_set(err, ERR_INVALID, "reply_to has no usable %s", key);
		return NULL;
	}
	return json_string_value(name);
}

static int read_reply_to(struct pidbox_request *r, struct err *err)
{
	const json_t *reply_to = json_object_get(r->body, "reply_to");

	if (!is_truthy(reply_to))
		return 0;
	if (!json_is_object(reply_to) || pyjson_tag(reply_to, NULL) != PYJSON_PLAIN)
		return err_set(err, ERR_INVALID, "reply_to is not a mapping");
	r->exchange = name_in(reply_to, "exchange", err);
	r->routing_key = r->exchange ? name_in(reply_to, "routing_key", err) : NULL;
	return r->routing_key ? 0 : -1;
}

static int read_body(struct pidbox_request *r, struct err *err)
{
	if (!json_is_object(r->body) || pyjson_tag(r->body, NULL) != PYJSON_PLAIN)
		return err_set(err, ERR_INVALID, "the body is not a mapping");
	r->method = json_object_get(r->body, "method");
	if (!r->method)
		return err_set(err, ERR_INVALID, "the body names no method");
	if (json_is_array(r->method) || json_is_object(r->method))
		return err_set(err, ERR_INVALID, "the method is no name");
	r->ticket = json_object_get(r->body, "ticket");
	const json_t *arguments = json_object_get(r->body, "arguments");

	if (is_truthy(arguments)) {
		if (!json_is_object(arguments) || pyjson_tag(arguments, NULL) != PYJSON_PLAIN)
			return err_set(err, ERR_INVALID, "the arguments are not a mapping");
		r->arguments = arguments;
	}
	return read_reply_to(r, err);
}

int pidbox_decode(struct pidbox_request *r, const struct message *m, struct err *err)
{
	memset(r, 0, sizeof(*r));
	if (!m->content_type || strcmp(m->content_type, "application/json") != 0)
		return pyjson_fail(err, ERR_REFUSED, "content type %.120s is not read here",
				   m->content_type ? m->content_type : "(none)");
	const struct value *compression = find_header(m, "compression");

	if (compression && value_is_truthy(compression) && !m->is_unpacked)
		return err_set(err, ERR_UNSUPPORTED, "the body is still compressed");
	if (read_clock(&r->clock, find_header(m, "clock"), err) < 0)
		return -1;
	r->body = pyjson_load(m->body ? m->body : "", m->body_len, err);
	return r->body ? read_body(r, err) : -1;
}

void pidbox_clear(struct pidbox_request *r)
{
	json_decref(r->body);
	memset(r, 0, sizeof(*r));
}

static bool is_same(const json_t *value, const char *text)
{
	return json_is_string(value) && json_string_length(value) == strlen(text) &&
	       memcmp(json_string_value(value), text, strlen(text)) == 0;
}

/* Python's `node in destination`. */
static int is_in(const json_t *destination, const char *node, struct err *err)
{
	size_t i;
	const json_t *one;

	if (json_is_string(destination))
		return memmem(json_string_value(destination), json_string_length(destination), node,
			      strlen(node)) != NULL;
	if (json_is_object(destination) && pyjson_tag(destination, NULL) == PYJSON_PLAIN)
		return json_object_get(destination, node) != NULL;
	if (!json_is_array(destination))
		return err_set(err, ERR_INVALID, "the destination is neither list nor text");
	json_array_foreach (destination, i, one)
		if (is_same(one, node))
			return 1;
	return 0;
}

static int matches(const json_t *pattern, const json_t *matcher, const char *node, struct err *err)
{
	bool is_glob = is_same(matcher, "glob");

	if (!is_glob && !is_same(matcher, "pcre"))
		return pyjson_fail(err, ERR_NOT_FOUND, "No matcher installed for %.60s",
				   json_is_string(matcher) ? json_string_value(matcher)
							   : "what is no text");
	if (!json_is_string(pattern))
		return err_set(err, ERR_INVALID, "the pattern is not a text");
	if (json_string_length(pattern) > PIDBOX_MAX_PATTERN)
		return err_set(err, ERR_LIMIT, "the pattern is longer than %d bytes",
			       PIDBOX_MAX_PATTERN);
	if (is_glob)
		return pidbox_glob(json_string_value(pattern), json_string_length(pattern), node,
				   strlen(node));
	return pidbox_pcre(json_string_value(pattern), json_string_length(pattern), node,
			   strlen(node), err);
}

int pidbox_is_for(const struct pidbox_request *r, const char *node, struct err *err)
{
	const json_t *destination = json_object_get(r->body, "destination");
	const json_t *pattern = json_object_get(r->body, "pattern");
	const json_t *matcher = json_object_get(r->body, "matcher");

	if (is_truthy(destination))
		return is_in(destination, node, err);
	if (is_truthy(pattern) && is_truthy(matcher))
		return matches(pattern, matcher, node, err);
	return 1;
}

int pidbox_reply_body(struct str *out, const char *node, const char *payload, size_t len)
{
	str_addc(out, '{');
	pyjson_dump_str(out, node, strlen(node));
	str_puts(out, ": ");
	str_add(out, payload, len);
	return str_addc(out, '}') == 0 && !out->is_full ? 0 : -1;
}

json_t *pidbox_reply_headers(const json_t *ticket, int64_t clock)
{
	json_t *headers = json_object();

	/* Shared, not copied: nobody changes a message that came. */
	json_object_set(headers, "ticket", ticket ? (json_t *)(uintptr_t)ticket : json_null());
	json_object_set_new(headers, "clock", json_integer(clock));
	return headers;
}

void pidbox_exception(struct str *out, const char *type, const json_t *argument)
{
	str_puts(out, type);
	str_addc(out, '(');
	if (json_is_string(argument))
		pyjson_repr_str(out, json_string_value(argument), json_string_length(argument),
				EXCEPTION_CHARS);
	else
		pyjson_repr(out, argument, EXCEPTION_CHARS, 0, false);
	str_addc(out, ')');
}
