/*
 * The payload of a content header frame to a message's properties and list of headers, read where
 * it stands: no tree, no allocation per value. Pure. contract: tasks.md 1.4.
 */
#ifndef TRANSPORT_AMQP_PROPERTIES_H
#define TRANSPORT_AMQP_PROPERTIES_H

#include "base/err.h"
#include "protocol/message.h"

/*
 * The payload is class id, weight, body size, flags, properties; it is copied into the message's
 * arena. Refused by ERR_PROTOCOL (lengths that do not fit, unknown kinds) and ERR_LIMIT (what
 * amqp_field_scan() bounds); the message may then have some properties and headers.
 * Values become what amqp_field_to_json() makes of them.
 */
int amqp_properties_read(struct message *m, struct span payload, struct err *err);

#endif
