/* A message's headers as one tree, to be compared. */
#ifndef TESTS_HEADERS_JSON_H
#define TESTS_HEADERS_JSON_H

#include "protocol/message.h"

static inline json_t *message_headers_json(const struct message *m)
{
	json_t *object = json_object();

	for (size_t i = 0; i < m->header_count; i++) {
		const struct message_header *h = &m->headers[i];

		if (h->value.kind != VALUE_ABSENT)
			json_object_setn_new_nocheck(object, h->text.len ? h->text.data : "",
						     h->text.len, value_to_json(&h->value));
	}
	return object;
}

#endif
