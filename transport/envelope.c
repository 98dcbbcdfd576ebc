#include "transport/envelope.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_items.h"

/* What an ordinary message's names, headers and properties take. */
#define ARENA_BYTES 4096

size_t envelope_max_bytes(size_t max_body)
{
	return max_body / 3 * 4 + 4 + ENVELOPE_OVERHEAD_BYTES;
}

/* The parts of an envelope: spans of its text. */
struct parts {
	struct pyjson_items root, properties, info;
};

static void parts_init(struct parts *parts)
{
	pyjson_items_init(&parts->root);
	pyjson_items_init(&parts->properties);
	pyjson_items_init(&parts->info);
}

static void parts_clear(struct parts *parts)
{
	pyjson_items_clear(&parts->root);
	pyjson_items_clear(&parts->properties);
	pyjson_items_clear(&parts->info);
}
#define auto_parts __attribute__((cleanup(parts_clear))) struct parts

/* What was scanned as a part of the whole cannot fail when it is scanned alone. */
static void scan_member(struct pyjson_items *items, const struct pyjson_items *object,
			const char *key)
{
	struct span value = pyjson_items_find(object, key);

	pyjson_items_init(items);
	if (value.data)
		(void)pyjson_items_scan(items, value.data, value.len, NULL);
}

static int parts_scan(struct parts *parts, const char *data, size_t len, struct err *err)
{
	size_t around;

	if (pyjson_items_scan(&parts->root, data, len, err) < 0)
		return err_prefix(err, "envelope: ");
	if (parts->root.kind != PYJSON_OBJECT)
		return err_set(err, ERR_INVALID, "envelope: not a JSON object");
	/* Before anything is made of it: in memory it is many times its text. */
	around = len - pyjson_items_find(&parts->root, "body").len;
	if (around > ENVELOPE_OVERHEAD_BYTES)
		return err_set(err, ERR_LIMIT,
			       "envelope: %zu bytes beside the body are more than allowed", around);
	scan_member(&parts->properties, &parts->root, "properties");
	scan_member(&parts->info, &parts->properties, "delivery_info");
	return 0;
}

/* A text member with a NUL behind it; no data when it is absent, null or no text. */
static struct span text_span(struct arena *arena, const struct pyjson_items *object,
			     const char *key)
{
	struct span value = pyjson_items_find(object, key);

	if (!value.data || pyjson_kind_of(value) != PYJSON_STRING)
		return (struct span){0};
	value = pyjson_items_decode(arena, (struct span){value.data + 1, value.len - 2});
	return (struct span){arena_dup(arena, value.data, value.len), value.len};
}

static const char *text_member(struct arena *arena, const struct pyjson_items *object,
			       const char *key)
{
	return text_span(arena, object, key).data;
}

/* False when there is no number of 64 bits. */
static bool find_int(const struct pyjson_items *object, const char *key, int64_t *ret)
{
	struct span text = pyjson_items_find(object, key);
	struct value value;
	bool is_int;

	if (!text.data || pyjson_kind_of(text) != PYJSON_NUM)
		return false;
	value = pyjson_items_value(NULL, text);
	is_int = value.kind == VALUE_INT;
	if (is_int)
		*ret = value.integer;
	value_drop(&value);
	return is_int;
}

static int int_member(const struct pyjson_items *object, const char *key, int otherwise)
{
	int64_t number;

	if (!find_int(object, key, &number))
		return otherwise;
	return number < 0 || number > INT_MAX ? otherwise : (int)number;
}

static bool is_true(const struct pyjson_items *object, const char *key)
{
	struct span value = pyjson_items_find(object, key);

	return value.data && *value.data == 't';
}

static const char *expiration_member(struct arena *arena, const struct pyjson_items *properties)
{
	int64_t number;
	char text[24];
	int len;

	if (!find_int(properties, "expiration", &number))
		return text_member(arena, properties, "expiration");
	len = snprintf(text, sizeof(text), "%" PRId64, number);
	return arena_dup(arena, text, (size_t)len);
}

static int fail_size(const struct str *body, struct err *err)
{
	return err_set(err, ERR_LIMIT, "envelope: body is larger than %zu bytes", body->max);
}

static int decode_body(struct str *body, const struct parts *parts, struct err *err)
{
	auto_arena scratch = {0};
	const char *encoding = text_member(&scratch, &parts->properties, "body_encoding");
	struct span value = pyjson_items_find_set(&parts->root, "body");

	if (!value.data)
		return 0;
	if (pyjson_kind_of(value) != PYJSON_STRING)
		return err_set(err, ERR_INVALID, "envelope: body is not a string");
	value = pyjson_items_decode(&scratch, (struct span){value.data + 1, value.len - 2});
	if (encoding == NULL || strcasecmp(encoding, "utf-8") == 0)
		return str_add(body, value.data, value.len) < 0 ? fail_size(body, err) : 0;
	if (strcmp(encoding, "base64") != 0)
		return err_set(err, ERR_INVALID, "envelope: unknown body_encoding '%.40s'",
			       encoding);
	/* Looked at before decoding, so that the error can tell size from form. */
	if (value.len / 4 > body->max / 3 + 1)
		return fail_size(body, err);
	if (base64_decode(body, value.data, value.len, err) < 0)
		return err_prefix(err, "envelope: body: ");
	return 0;
}

static void fill_properties(struct message *m, const struct parts *parts)
{
	const struct pyjson_items *root = &parts->root, *properties = &parts->properties;
	struct arena *arena = &m->arena;

	m->content_type = text_member(arena, root, "content-type");
	m->content_encoding = text_member(arena, root, "content-encoding");
	m->correlation_id = text_member(arena, properties, "correlation_id");
	m->reply_to = text_member(arena, properties, "reply_to");
	m->expiration = expiration_member(arena, properties);
	m->priority = int_member(properties, "priority", -1);
	m->delivery_mode = int_member(properties, "delivery_mode", 0);
	m->exchange = text_member(arena, &parts->info, "exchange");
	m->routing_key = text_member(arena, &parts->info, "routing_key");
	m->is_redelivered = is_true(root, "redelivered") || is_true(&parts->info, "redelivered");
}

/* Names and texts stay where they stand in a copy of the object's text. */
static void fill_headers(struct message *m, const struct parts *parts)
{
	struct span text = pyjson_items_find(&parts->root, "headers");
	struct arena *arena = &m->arena;
	auto_items items;

	pyjson_items_init(&items);
	if (!text.data || pyjson_kind_of(text) != PYJSON_OBJECT)
		return;
	text.data = arena_dup(arena, text.data, text.len);
	(void)pyjson_items_scan(&items, text.data, text.len, NULL);
	if (pyjson_items_find(&items, "__type__").data) { /* brought into one form by loading */
		json_t *object = pyjson_load(text.data, text.len, NULL);

		message_headers_set(m, object);
		json_decref(object);
		return;
	}
	message_headers_begin(m, items.count);
	for (size_t i = 0; i < items.count; i++) {
		struct span name = pyjson_items_decode(arena, items.all[i].key);

		message_headers_add(m, header_name_of(name.data, name.len), name,
				    pyjson_items_value(arena, items.all[i].value));
	}
	message_headers_end(m);
}

int envelope_decode(struct message *m, const char *data, size_t len, size_t max_body,
		    struct err *err)
{
	auto_parts parts;
	auto_str body;

	str_init(&body, max_body);
	parts_init(&parts);
	if (len > envelope_max_bytes(max_body))
		return err_set(err, ERR_LIMIT, "envelope: %zu bytes are more than allowed", len);
	if (parts_scan(&parts, data, len, err) < 0)
		return -1;
	if (!pyjson_items_find(&parts.root, "body").data &&
	    !pyjson_items_find(&parts.root, "properties").data)
		return err_set(err, ERR_INVALID, "envelope: neither body nor properties");
	if (decode_body(&body, &parts, err) < 0)
		return -1;
	message_reset(m);
	arena_reserve(&m->arena, ARENA_BYTES);
	fill_headers(m, &parts);
	fill_properties(m, &parts);
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
	json_auto_t *root = pyjson_load(data, len, err);
	json_t *info;

	if (root == NULL)
		return err_prefix(err, "envelope: ");
	if (!json_is_object(root))
		return err_set(err, ERR_INVALID, "envelope: not a JSON object");
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
