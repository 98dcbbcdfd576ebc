/*
 * kombu's JSON envelope: one message of a broker that has no properties of its own (filesystem,
 * Redis). Pure. contract: tasks.md 1.5, control.md 7.2. Mirrors kombu/transport/virtual/base.py
 * (Message, Channel.prepare_message, Channel._inplace_augment_message).
 */
#ifndef TRANSPORT_ENVELOPE_H
#define TRANSPORT_ENVELOPE_H

#include <stddef.h>

#include "base/err.h"
#include "base/str.h"
#include "protocol/message.h"
#include "transport/broker.h"

/* Room for headers and properties around a body, in bytes; more are refused. */
#define ENVELOPE_OVERHEAD_BYTES ((size_t)1 << 20)

/* The longest envelope that may hold a body of `max_body` bytes. */
size_t envelope_max_bytes(size_t max_body);

/*
 * Fills `m`, which must be initialized; on failure it is left as it was. Unknown members are
 * ignored, missing ones are absent in `m`. `is_redelivered` is taken from where kombu's transports
 * put it: the top level (filesystem), delivery_info (Redis). ERR_INVALID: no envelope; ERR_LIMIT:
 * the text, the body or what is beside it is too long.
 */
int envelope_decode(struct message *m, const char *data, size_t len, size_t max_body,
		    struct err *err);

/* Appends the envelope of a publication as kombu writes it, byte for byte: order of keys, spacing,
 * base64 body. `delivery_tag` is a fresh UUID. */
int envelope_encode(struct str *out, const struct publication *p, const char *delivery_tag,
		    struct err *err);

/* Appends the same envelope marked as redelivered; everything else stays as it is. */
int envelope_mark_redelivered(struct str *out, const char *data, size_t len, struct err *err);

#endif
