/*
 * MessagePack as kombu reads and writes it: text is str, bytes are bin, keys are texts. No library:
 * docs/adr/msgpack.md.
 */
#ifndef PROTOCOL_MSGPACK_H
#define PROTOCOL_MSGPACK_H

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"

/* Appends one value as JSON text, bytes and times with kombu's tags. Nothing may follow the value.
 */
int msgpack_load(struct str *out, const char *data, size_t len, struct err *err);
/* Appends the value, byte for byte as Python's packb(value, use_bin_type=True). */
int msgpack_dump(struct str *out, const json_t *value, struct err *err);

#endif
