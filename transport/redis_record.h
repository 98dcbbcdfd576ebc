/* One record of kombu's hash of unacked messages: `[message, exchange, routing key]`. Pure. */
#ifndef TRANSPORT_REDIS_RECORD_H
#define TRANSPORT_REDIS_RECORD_H

#include "base/err.h"
#include "base/str.h"
#include "protocol/message.h"

struct redis_record {
	struct span message;  /* in the text that was read */
	char *exchange, *key; /* owned */
	int priority;	      /* -1 = the message has none */
};

/* `record` is to be cleared in any case. */
int redis_record_read(struct redis_record *record, const char *data, size_t len, struct err *err);
/* Appends the message marked as redelivered; as it is, when it cannot be marked. */
void redis_record_mark(struct str *out, const struct redis_record *record);
void redis_record_clear(struct redis_record *record);
#define auto_record __attribute__((cleanup(redis_record_clear))) struct redis_record

#endif
