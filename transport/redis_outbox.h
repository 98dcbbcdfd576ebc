/*
 * Publications on their way to Redis: pushed once each, in order, also when the connection dies
 * under them. Messages to queues go in numbered batches, one on its way at a time; the server
 * remembers the number of the last, so a batch whose answer was lost is not pushed a second time.
 * What goes to channels is published again when its answer was lost.
 */
#ifndef TRANSPORT_REDIS_OUTBOX_H
#define TRANSPORT_REDIS_OUTBOX_H

#include "transport/redis_router.h"

struct redis_outbox {
	struct redis_wire *wire;
	struct redis_router router;
	struct list_node letters, fanouts;  /* struct redis_letter.node */
	struct list_node published_fanouts; /* without an answer, in order */
	size_t max_bytes, bytes, count;
	char *number_key;
	uint64_t number; /* of the batch at hand */
	uint64_t left_number;
	bool is_on_its_way; /* its answer is awaited */
	bool is_frozen;	    /* the letters that are sent are that batch, done or not */
	bool is_held;	    /* the server is in trouble: until the next tick */
	bool is_told, is_ended, is_leaving;
	uint64_t unrouted_told_ms;
	uint64_t published;
};

void redis_outbox_init(struct redis_outbox *o, struct redis_wire *wire, struct map *types,
		       size_t max_bytes);
/* -1 at the bound of what may wait. */
int redis_outbox_add(struct redis_outbox *o, const struct publication *p, broker_published_fn *done,
		     void *ctx, struct err *err);
void redis_outbox_up(struct redis_outbox *o);
/* To be called every second or so. */
void redis_outbox_tick(struct redis_outbox *o);
/* Ends all that waits with an error. */
void redis_outbox_fail(struct redis_outbox *o, const struct err *err);
/* The server need not remember us any longer; done when is_leaving is false. */
void redis_outbox_leave(struct redis_outbox *o);
void redis_outbox_clear(struct redis_outbox *o);

#endif
