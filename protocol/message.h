/*
 * One broker message, independent of the broker that brought it. Owned parts are freed by
 * message_clear. Limits are the transport's: by the time a message exists, its size is bounded.
 */
#ifndef PROTOCOL_MESSAGE_H
#define PROTOCOL_MESSAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* A run of bytes that belongs to somebody else. */
struct span {
	const char *data;
	size_t len;
};

struct message {
	char *content_type;	/* NULL when absent */
	char *content_encoding; /* NULL when absent */
	char *correlation_id;	/* NULL when absent */
	char *reply_to;		/* NULL when absent */
	char *expiration;	/* NULL when absent; decimal text, milliseconds */
	json_t *headers;	/* always an object; AMQP tables and envelopes alike */
	char *body;		/* bytes, NUL behind them */
	size_t body_len;
	int priority;	   /* -1 when absent */
	int delivery_mode; /* 0 when absent */
	/* How it came to us: */
	bool is_redelivered;
	char *exchange;
	char *routing_key;
};

void message_init(struct message *m); /* headers = {} */
void message_clear(struct message *m);

#endif
