/* Decodes any bytes as an envelope; what decodes is encoded again and must decode to the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/pyjson.h"
#include "tests/headers_json.h"
#include "transport/envelope.h"

#define MAX_BODY ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const struct message *m)
{
	json_t *headers = message_headers_json(m), *same;
	const struct publication p = {
		.exchange = m->exchange,
		.routing_key = m->routing_key,
		.content_type = m->content_type,
		.content_encoding = m->content_encoding,
		.correlation_id = m->correlation_id,
		.reply_to = m->reply_to,
		.expiration = m->expiration,
		.priority = m->priority,
		.delivery_mode = m->delivery_mode,
		.headers = headers,
		.body = m->body,
		.body_len = m->body_len,
	};
	struct message again;
	auto_str out;

	str_init(&out, STR_MAX_DEFAULT);
	message_init(&again);
	if (envelope_encode(&out, &p, "tag", NULL) < 0 ||
	    envelope_decode(&again, out.data, out.len, MAX_BODY, NULL) < 0 ||
	    again.body_len != m->body_len || memcmp(again.body, m->body, m->body_len) != 0)
		abort();
	same = message_headers_json(&again);
	if (json_object_size(same) != json_object_size(headers))
		abort();
	json_decref(same);
	json_decref(headers);
	message_clear(&again);
}

static void check_text(const char *ours, const json_t *object, const char *key)
{
	const json_t *theirs = json_object_get(object, key);

	if ((ours != NULL) != json_is_string(theirs))
		abort();
	if (ours && memcmp(ours, json_string_value(theirs), json_string_length(theirs) + 1) != 0)
		abort();
}

static void check_headers(const struct message *m, const json_t *theirs)
{
	struct str texts[2] = {STR_INIT(STR_MAX_DEFAULT), STR_INIT(STR_MAX_DEFAULT)};
	json_t *ours = message_headers_json(m);

	pyjson_dump(&texts[0], ours);
	if (json_is_object(theirs) && pyjson_tag(theirs, NULL) != PYJSON_NUMBER)
		pyjson_dump(&texts[1], theirs);
	else
		str_puts(&texts[1], "{}");
	if (texts[0].len != texts[1].len || memcmp(texts[0].data, texts[1].data, texts[0].len) != 0)
		abort();
	str_clear(&texts[0]);
	str_clear(&texts[1]);
	json_decref(ours);
}

/* The spans must say what the whole tree says. */
static void check_by_tree(const struct message *m, const uint8_t *data, size_t size)
{
	json_t *root = pyjson_load((const char *)data, size, NULL);
	const json_t *properties = json_object_get(root, "properties");
	const json_t *info = json_object_get(properties, "delivery_info");

	if (!json_is_object(root))
		abort();
	check_headers(m, json_object_get(root, "headers"));
	check_text(m->content_type, root, "content-type");
	check_text(m->correlation_id, properties, "correlation_id");
	check_text(m->exchange, info, "exchange");
	check_text(m->routing_key, info, "routing_key");
	if (m->is_redelivered != (json_is_true(json_object_get(root, "redelivered")) ||
				  json_is_true(json_object_get(info, "redelivered"))))
		abort();
	json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message m;
	struct err err = {0};
	auto_str marked;

	message_init(&m);
	str_init(&marked, STR_MAX_DEFAULT);
	if (envelope_decode(&m, (const char *)data, size, MAX_BODY, &err) == 0) {
		check_by_tree(&m, data, size);
		check_round_trip(&m);
	}
	if (envelope_mark_redelivered(&marked, (const char *)data, size, NULL) == 0 &&
	    (marked.len == 0 || marked.data[0] != '{'))
		abort();
	message_clear(&m);
	return 0;
}
