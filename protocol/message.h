/*
 * One broker message, independent of the broker that brought it. Its texts and its list of headers
 * are in one arena; message_reset keeps that for the next message. Limits are the transport's: by
 * the time a message exists, its size is bounded.
 */
#ifndef PROTOCOL_MESSAGE_H
#define PROTOCOL_MESSAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "protocol/header_name.h"
#include "protocol/value.h"

struct message_header {
	struct span text; /* of the name; may hold NUL when it came from JSON */
	enum header_name name;
	struct value value; /* absent: a later header of the same name took its place */
};

struct message {
	/* In the arena or the caller's: nobody frees them. NULL when absent. */
	const char *content_type;
	const char *content_encoding;
	const char *correlation_id;
	const char *reply_to;
	const char *expiration; /* decimal text, milliseconds */
	/* How it came to us: */
	const char *exchange;
	const char *routing_key;
	bool is_redelivered;
	int64_t sent_us;   /* Unix microseconds; 0 = the message does not say */
	int priority;	   /* -1 when absent */
	int delivery_mode; /* 0 when absent */
	char *body;	   /* bytes, NUL behind them; owned, from malloc */
	size_t body_len;
	bool is_unpacked, is_decoded;	/* by content.h: plain bytes, JSON text */
	struct message_header *headers; /* in the order they came */
	size_t header_count;
	/* The list's own: */
	struct arena arena;
	size_t other_count; /* headers without an enumerator of their own */
	bool has_json;
	uint32_t places[HEADER_NAME_COUNT]; /* index + 1 of the named ones */
};

void message_init(struct message *m);
/* Empties it for the next message; the arena keeps a block of usual size. */
void message_reset(struct message *m);
/* Frees everything and leaves it empty. */
void message_clear(struct message *m);

/* Filling the list: begin with the most there may be, add them in order, end. What names and values
 * point to must be in the arena; a VALUE_JSON is taken over. As in Python's dict, the first header
 * of a name gives the place and the last one the value. */
void message_headers_begin(struct message *m, size_t max);
void message_headers_add(struct message *m, enum header_name name, struct span text,
			 struct value value);
void message_headers_end(struct message *m);
/* All of these from an object (or NULL), which is copied. */
void message_headers_set(struct message *m, const json_t *object);

/* The value of a name with an enumerator of its own; absent rather than NULL. */
const struct value *message_header(const struct message *m, enum header_name name);

#endif
