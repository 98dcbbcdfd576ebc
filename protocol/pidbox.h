/*
 * Remote control messages, "pidbox": the request that is broadcast to all nodes, whom it is for,
 * and the reply. Pure. Sources: kombu/pidbox.py (Node, Mailbox), kombu/matcher.py. contract:
 * control.md 1
 */
#ifndef PROTOCOL_PIDBOX_H
#define PROTOCOL_PIDBOX_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "protocol/message.h"

/* Patterns come from the network: longer ones match nothing. */
#define PIDBOX_MAX_PATTERN 1024

/* Everything points into `body`. */
struct pidbox_request {
	json_t *body;
	const json_t *method;	 /* never NULL, a list or an object */
	const json_t *arguments; /* an object, or NULL = none */
	const json_t *ticket;	 /* any type, or NULL when absent */
	const char *exchange;	 /* where the reply goes; NULL = nobody waits for one */
	const char *routing_key; /* likewise */
	int64_t clock;		 /* the sender's, 0 when it said none */
};

/* -1 for what Celery's worker drops without a reply: another content type than JSON, a body that is
 * no object, no method, arguments that are no mapping, a clock that is no number. The request is to
 * be cleared on every outcome. */
int pidbox_decode(struct pidbox_request *r, const struct message *m, struct err *err);
void pidbox_clear(struct pidbox_request *r);

/* Does `destination` (a list of names, or one text that may hold the name anywhere), else `pattern`
 * with `matcher` ("glob", or "pcre" anchored at the start) name this node? -1 with `err` when that
 * cannot be told (an unknown matcher, a pattern that does not compile): the request is dropped. */
int pidbox_is_for(const struct pidbox_request *r, const char *node, struct err *err);

/* Appends {"<node>": <payload>}; `payload` is JSON text. -1 when `out` is full. */
int pidbox_reply_body(struct str *out, const char *node, const char *payload, size_t len);
/* {"ticket": ..., "clock": ...}; new reference. */
json_t *pidbox_reply_headers(const json_t *ticket, int64_t clock);

/* Appends Python's repr of an exception with this one argument: KeyError('x'). */
void pidbox_exception(struct str *out, const char *type, const json_t *argument);

/* protocol/pidbox_match.c: Python's fnmatch.fnmatchcase(). */
bool pidbox_glob(const char *pattern, size_t pattern_len, const char *text, size_t text_len);
/* Python's re.match() by PCRE2, with bounded effort. 1, 0, or -1 with `err`. */
int pidbox_pcre(const char *pattern, size_t pattern_len, const char *text, size_t text_len,
		struct err *err);

#endif
