/*
 * The other side of remote control: the request of a program that asks the nodes, and what it reads
 * out of their replies. Pure. Source: kombu/pidbox.py (Mailbox). contract: control.md 1.2, 1.4
 */
#ifndef PROTOCOL_PIDBOX_ASK_H
#define PROTOCOL_PIDBOX_ASK_H

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "protocol/message.h"

struct pidbox_question {
	const char *method;
	const json_t *arguments;   /* an object, or NULL = none */
	const json_t *destination; /* list of node names, or NULL = everybody */
	const char *ticket;
	const char *exchange, *routing_key; /* where replies are to go */
};

/* Appends the body. -1 when `out` is full. */
int pidbox_ask_body(struct str *out, const struct pidbox_question *q);
/* {"clock": ..., "expires": ...}; new reference. */
json_t *pidbox_ask_headers(int64_t clock, double expires_s);

/* Everything points into `body`, the ticket into the message. */
struct pidbox_answer {
	json_t *body;
	const char *node;
	const json_t *payload;
	struct span ticket; /* NULL: the reply names none */
};

/* -1 for what is no reply. To be cleared on every outcome. */
int pidbox_answer_decode(struct pidbox_answer *a, const struct message *m, struct err *err);
/* Is it the answer to this ticket? Celery takes one without a ticket for the current one. */
bool pidbox_answer_is_for(const struct pidbox_answer *a, const char *ticket);
void pidbox_answer_clear(struct pidbox_answer *a);

#endif
