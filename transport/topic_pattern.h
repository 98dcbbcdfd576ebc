/*
 * The binding keys of kombu's virtual topic exchanges (filesystem, Redis) and the regular
 * expressions it keeps for them: "r.#" -> "^r\..*?$". Pure. Mirrors kombu/transport/virtual/
 * exchange.py (TopicExchange). contract: control.md 7.1.
 */
#ifndef TRANSPORT_TOPIC_PATTERN_H
#define TRANSPORT_TOPIC_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* Longer keys match nothing; AMQP's limit is 255 bytes. */
#define TOPIC_KEY_MAX 1024

/* Appends the pattern of a binding key. */
int topic_pattern_write(struct str *out, const char *binding_key);
/* What that pattern matches: '*' one or more characters but no dot, '#' any characters at all. */
bool topic_key_matches(const char *binding_key, size_t binding_len, const char *routing_key);

enum topic_match {
	TOPIC_FOREIGN, /* not a pattern as kombu writes them, of whatever version */
	TOPIC_NO,
	TOPIC_YES,
};
/* The same by a stored pattern, as Python's re.match would say. */
enum topic_match topic_pattern_matches(const char *pattern, size_t len, const char *routing_key);

#endif
