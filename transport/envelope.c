#include "transport/envelope.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "protocol/pyjson.h"

/* What an ordinary message's names, headers and properties take. */
#define ARENA_BYTES 4096

size_t envelope_max_bytes(size_t max_body)
{
	return max_body / 3 * 4 + 4 + ENVELOPE_OVERHEAD_BYTES;
}

/* A copy of a text member; NULL when it is absent, null or no text. */
static const char *text_member(struct arena *arena, const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_string(value))
		return NULL;
	return arena_dup(arena, json_string_value(value), json_string_length(value));
}

static int int_member(const json_t *object, const char *key, int otherwise)
{
	const json_t *value = json_object_get(object, key);
	json_int_t number;

	if (!json_is_integer(value))
		return otherwise;
	number = json_integer_value(value);
	return number < 0 || number > INT_MAX ? otherwise : (int)number;
}

static const char *expiration_member(struct arena *arena, const json_t *properties)
{
	const json_t *value = json_object_get(properties, "expiration");
	char text[24];
	int len;

	if (!json_is_integer(value))
		return text_member(arena, properties, "expiration");
	len = snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return arena_dup(arena, text, (size_t)len);
}

static int decode_body(struct str *body, const json_t *root, const json_t *properties,
		       struct err *err)
{
	const json_t *value = json_object_get(root, "body");
	const char *encoding = json_string_value(json_object_get(properties, "body_encoding"));

	if (value == NULL || json_is_null(value))
		return 0;
	if (!json_is_string(value))
		return err_set(err, ERR_INVALID, "envelope: body is not a string");
	if (encoding == NULL || strcasecmp(encoding, "utf-8") == 0) {
		if (str_add(body, json_string_value(value), json_string_length(value)) < 0)
			return err_set(err, ERR_LIMIT, "envelope: body is larger than %zu bytes",
				       body->max);
		return 0;
	}
	if (strcmp(encoding, "base64") != 0)
		return err_set(err, ERR_INVALID, "envelope: unknown body_encoding '%.40s'",
			       encoding);
	/* Looked at before decoding, so that the error can tell size from form. */
	if (json_string_length(value) / 4 > body->max / 3 + 1)
		return err_set(err, ERR_LIMIT, "envelope: body is larger than %zu bytes",
			       body->max);
	if (base64_decode(body, json_string_value(value), json_string_length(value), err) < 0)
		return err_prefix(err, "envelope: body: ");
	return 0;
}

static void fill_properties(struct message *m, const json_t *root, const json_t *properties)
{
	const json_t *info = json_object_get(properties, "delivery_info");
	struct arena *arena = &m->arena;

	m->content_type = text_member(arena, root, "content-type");
	m->content_encoding = text_member(arena, root, "content-encoding");
	m->correlation_id = text_member(arena, properties, "correlation_id");
	m->reply_to = text_member(arena, properties, "reply_to");
	m->expiration = expiration_member(arena, properties);
	m->priority = int_member(properties, "priority", -1);
	m->delivery_mode = int_member(properties, "delivery_mode", 0);
	m->exchange = text_member(arena, info, "exchange");
	m->routing_key = text_member(arena, info, "routing_key");
	m->is_redelivered = json_is_true(json_object_get(root, "redelivered")) ||
			    json_is_true(json_object_get(info, "redelivered"));
}

static json_t *load_object(const char *data, size_t len, struct err *err)
{
	json_t *root = pyjson_load(data, len, err);

	if (root == NULL) {
		err_prefix(err, "envelope: ");
		return NULL;
	}
	if (!json_is_object(root)) {
		json_decref(root);
		err_set(err, ERR_INVALID, "envelope: not a JSON object");
		return NULL;
	}
	return root;
}

int envelope_decode(struct message *m, const char *data, size_t len, size_t max_body,
		    struct err *err)
{
	json_auto_t *root = NULL;
	const json_t *properties;
	json_t *headers;
	auto_str body;

	str_init(&body, max_body);
	if (len > envelope_max_bytes(max_body))
		return err_set(err, ERR_LIMIT, "envelope: %zu bytes are more than allowed", len);
	root = load_object(data, len, err);
	if (root == NULL)
		return -1;
	properties = json_object_get(root, "properties");
	if (json_object_get(root, "body") == NULL && properties == NULL)
		return err_set(err, ERR_INVALID, "envelope: neither body nor properties");
	if (decode_body(&body, root, properties, err) < 0)
		return -1;
	headers = json_object_get(root, "headers");
	message_reset(m);
	arena_reserve(&m->arena, ARENA_BYTES);
	message_headers_set(m, json_is_object(headers) ? headers : NULL);
	fill_properties(m, root, properties);
	m->body_len = body.len;
	m->body = str_detach(&body);
	return 0;
}

static void put_text(struct str *out, const char *text)
{
	if (text == NULL)
		str_puts(out, "null");
	else
		pyjson_dump_str(out, text, strlen(text));
}

/* A property that is left out when it is absent. */
static void put_property(struct str *out, const char *key, const char *text)
{
	if (text == NULL)
		return;
	str_addf(out, "\"%s\": ", key);
	put_text(out, text);
	str_puts(out, ", ");
}

static void put_properties(struct str *out, const struct publication *p, const char *tag)
{
	str_puts(out, "\"properties\": {");
	put_property(out, "correlation_id", p->correlation_id);
	put_property(out, "reply_to", p->reply_to);
	if (p->delivery_mode > 0)
		str_addf(out, "\"delivery_mode\": %d, ", p->delivery_mode);
	put_property(out, "expiration", p->expiration);
	str_puts(out, "\"delivery_info\": {\"exchange\": ");
	put_text(out, p->exchange ? p->exchange : "");
	str_puts(out, ", \"routing_key\": ");
	put_text(out, p->routing_key ? p->routing_key : "");
	str_addf(out, "}, \"priority\": %d, \"body_encoding\": \"base64\", \"delivery_tag\": ",
		 p->priority > 0 ? p->priority : 0);
	put_text(out, tag);
	str_puts(out, "}}");
}

int envelope_encode(struct str *out, const struct publication *p, const char *delivery_tag,
		    struct err *err)
{
	str_puts(out, "{\"body\": \"");
	if (base64_encode(out, p->body, p->body_len) < 0)
		return err_set(err, ERR_LIMIT, "envelope: message is larger than %zu bytes",
			       out->max);
	str_puts(out, "\", \"content-encoding\": ");
	put_text(out, p->content_encoding);
	str_puts(out, ", \"content-type\": ");
	put_text(out, p->content_type);
	str_puts(out, ", \"headers\": ");
	if (p->headers == NULL)
		str_puts(out, "{}");
	else
		pyjson_dump(out, p->headers);
	str_puts(out, ", ");
	put_properties(out, p, delivery_tag);
	if (out->is_full)
		return err_set(err, ERR_LIMIT, "envelope: message is larger than %zu bytes",
			       out->max);
	return 0;
}

int envelope_mark_redelivered(struct str *out, const char *data, size_t len, struct err *err)
{
	json_auto_t *root = load_object(data, len, err);
	json_t *info;

	if (root == NULL)
		return -1;
	json_object_set_new(root, "redelivered", json_true());
	/* kombu's filesystem transport writes the top-level member only, and its own reader looks
	 * into delivery_info: a Python worker sees the mark only there. */
	info = json_object_get(json_object_get(root, "properties"), "delivery_info");
	if (json_is_object(info))
		json_object_set_new(info, "redelivered", json_true());
	if (pyjson_dump(out, root) < 0)
		return err_set(err, ERR_LIMIT, "envelope: message is larger than %zu bytes",
			       out->max);
	return 0;
}
