/*
 * What a body is written in: compression, content type, content encoding. Whatever comes in is JSON
 * text from here on, so that everything behind knows one form only; JSON itself is left as it is.
 * Sources: kombu/serialization.py, loads(), and kombu/message.py.
 */
#ifndef PROTOCOL_CONTENT_H
#define PROTOCOL_CONTENT_H

#include "base/err.h"
#include "base/str.h"
#include "protocol/message.h"

struct auth;

struct content_options {
	const char *const *accept; /* NULL-terminated names or mime types; NULL = {"json"} */
	size_t max_bytes;	   /* what a body may become; 0 = STR_MAX_DEFAULT */
	const struct auth *auth;   /* who is believed; NULL: nothing signed is read */
};

enum content {
	CONTENT_JSON,	 /* the body is JSON text, or empty */
	CONTENT_RAW,	 /* never decoded: the body stays what it is */
	CONTENT_REFUSED, /* not in `accept`; `err` in kombu's words */
	CONTENT_FAILED,	 /* accepted, but cannot be decoded; `err` says why */
};

/* Undoes the compression that the headers name. The first thing to do with a message. */
int content_unpack(struct message *m, const struct content_options *options, struct err *err);
/* Makes JSON text of the body. Again on the same message it only says so again. */
enum content content_decode(struct message *m, const struct content_options *options,
			    struct err *err);
/* Both, for a message that has nothing else to be looked at before: 0 with JSON text, or -1. */
int content_read(struct message *m, const struct content_options *options, struct err *err);

/* Appends the JSON text of something in this serializer. With `options` only when they accept it;
 * without them no signature is looked at. */
int content_load(const char *serializer, struct str *out, const char *data, size_t len,
		 const struct content_options *options, struct err *err);

struct serializer;
/* Of a name that a setting gives; NULL when it is none that this worker writes. */
const struct serializer *serializer_find(const char *name);

/* How what we send is written. All zero: JSON as it is. */
struct content_form {
	const struct serializer *serializer;   /* NULL = JSON */
	const struct compression *compression; /* NULL = none */
	const struct auth *auth;	       /* who signs, for the serializer auth */
};
/* What the message says of it. */
struct content_label {
	const char *type, *encoding;
	const char *compression; /* for the header of this name; NULL = no such header */
};
/* Makes of JSON text what the form says. */
int content_encode(struct str *body, const struct content_form *form,
		   struct content_label *ret_label, struct err *err);
/* Adds what stands in headers. */
void content_label_add(const struct content_label *label, json_t *headers);

/* The mime type of a serializer's name or mime type, of those that Celery knows; else NULL. */
const char *content_type_of(const char *name);

#endif
