/* Decodes any bytes as an envelope; what decodes is encoded again and must decode to the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message m;
	struct err err = {0};
	auto_str marked;

	message_init(&m);
	str_init(&marked, STR_MAX_DEFAULT);
	if (envelope_decode(&m, (const char *)data, size, MAX_BODY, &err) == 0)
		check_round_trip(&m);
	if (envelope_mark_redelivered(&marked, (const char *)data, size, NULL) == 0 &&
	    (marked.len == 0 || marked.data[0] != '{'))
		abort();
	message_clear(&m);
	return 0;
}
