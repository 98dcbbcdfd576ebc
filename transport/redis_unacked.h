/*
 * Answers: records of messages leave kombu's hash and index. What is acked goes out in batches, a
 * turn of the loop at once, and again after a lost connection until the server has said so. What is
 * to be put back is read, marked as redelivered, and pushed to where it came from by a script that
 * does so only while its record is there: nothing is put back twice, whoever else tries.
 */
#ifndef TRANSPORT_REDIS_UNACKED_H
#define TRANSPORT_REDIS_UNACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct broker_redis;

#define REDIS_FIELD_BYTES 64 /* of a record of ours: id, colon, number, NUL */

struct redis_unacked {
	uint64_t *acks; /* numbers that wait to be sent */
	size_t ack_count, ack_cap;
	size_t acks_in_flight;
	/* struct redis_back: wait to be put back; after those; are read; are pushed, older than
	 * what is read; their exchange is asked for */
	struct list_node backs, stops, reading, pushing, routing;
	size_t back_count;	       /* on all of them */
	unsigned pushes;	       /* under way */
	unsigned long long back_round; /* answers to what an earlier one sent mean nothing */
	bool is_stuck;		       /* the server refused: not before the next tick */
};

void redis_unacked_init(struct broker_redis *r);
void redis_unacked_clear(struct broker_redis *r);
/* The name of a record of ours. */
void redis_unacked_field(const struct broker_redis *r, uint64_t number,
			 char out[REDIS_FIELD_BYTES]);
void redis_unacked_ack(struct broker_redis *r, uint64_t number);
/* What waits to be sent is sent. */
void redis_unacked_flush(struct broker_redis *r);
/* Nothing waits and nothing is under way. */
bool redis_unacked_is_done(const struct broker_redis *r);
/* Our records are others' business now. */
void redis_unacked_forget_ours(struct broker_redis *r);

/* redis_back.c: any record, ours or not. `side` 'R': it is served next; 'L': last. */
void redis_unacked_put_back(struct broker_redis *r, const char *field, char side);
void redis_back_flush(struct broker_redis *r);
void redis_back_clear(struct broker_redis *r);
/* The numbers of all that wait to be put back, 0 for what is not ours; room for back_count. */
size_t redis_back_numbers(struct broker_redis *r, uint64_t *numbers);

#endif
