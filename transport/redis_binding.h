/*
 * How kombu's Redis transport names and keeps what is bound to an exchange: a set of members
 * "routing_key SEP pattern SEP queue", and channels for fanout exchanges. Pure; what is returned is
 * to be freed and carries the global prefix. Mirrors kombu/transport/redis.py (_queue_bind,
 * get_table, _get_publish_topic). contract: control.md 7.1, 7.5, 7.8.
 */
#ifndef TRANSPORT_REDIS_BINDING_H
#define TRANSPORT_REDIS_BINDING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"
#include "protocol/value.h"
#include "transport/redis_options.h"

#define REDIS_BINDING_DEADLINES "_kombu.binding_deadlines"

/* The set of an exchange's bindings. */
char *redis_binding_key(const struct redis_options *o, const char *exchange);
/* Those of queues without x-expires; as long as it is there nobody deletes the other one. */
char *redis_binding_permanent_key(const struct redis_options *o, const char *exchange);

/* "direct", "topic" or "fanout"; else ERR_UNSUPPORTED. NULL is "direct". */
int redis_exchange_type_check(const char *exchange, const char *type, struct err *err);
/* Appends the member of a binding, with the pattern a topic exchange wants. */
int redis_binding_write(struct str *out, const struct redis_options *o, const char *type,
			const char *binding_key, const char *queue);
/* Whether a message with this routing key goes to the member's queue. `type` NULL: nobody has told
 * us; the member's pattern does. */
bool redis_binding_matches(const char *member, size_t len, const struct redis_options *o,
			   const char *type, const char *routing_key, struct span *ret_queue);

/* The channel of a fanout exchange. */
char *redis_channel(const struct redis_options *o, int db, const char *exchange,
		    const char *routing_key);
/* What to subscribe to for a binding key; *ret_is_pattern: by PSUBSCRIBE. */
char *redis_channel_wanted(const struct redis_options *o, int db, const char *exchange,
			   const char *binding_key, bool *ret_is_pattern);

#endif
