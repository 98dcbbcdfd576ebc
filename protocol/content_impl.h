/* What the readers and writers of other serializers share. Inside protocol/ only. */
#ifndef PROTOCOL_CONTENT_IMPL_H
#define PROTOCOL_CONTENT_IMPL_H

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"
#include "protocol/pyjson.h"

#define CONTENT_MAX_DEPTH 500 /* below PYJSON_MAX_DEPTH: all that was read can be written */

/* As kombu's JSON shows them: {"__type__": type, "__value__": text}. New references. */
json_t *content_tagged(const char *type, const char *text, size_t len);
json_t *content_bytes(const void *data, size_t len);
/* NaN and the infinities too. */
json_t *content_real(double value);

/* What a value is to a writer that has more types than JSON. */
enum content_kind {
	CONTENT_KIND_PLAIN,
	CONTENT_KIND_BYTES,  /* in `bytes` */
	CONTENT_KIND_NUMBER, /* NaN, Infinity or an integer over 64 bits: `text` is its token */
	CONTENT_KIND_DATE,   /* date or datetime; `text` */
	CONTENT_KIND_OTHER,  /* time, Decimal, UUID: no serializer but JSON has them */
};
enum content_kind content_kind_of(const json_t *value, const char **ret_text, struct str *bytes);
/* For CONTENT_KIND_OTHER, and whatever else cannot be written. Returns -1. */
int content_fail_type(const json_t *value, const char *serializer, struct err *err);

#endif
