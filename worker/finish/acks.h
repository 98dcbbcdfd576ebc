/*
 * Answers deliveries: ack, reject, requeue. Remembers what was answered on a connection that broke:
 * such an answer may not have arrived, the broker then delivers the message again, and the task
 * would run a second time. A redelivered message that ended here is acked without running (better
 * than Celery, which runs it again).
 *
 * Retries are published at least once, so the end of a retried task is always remembered for a
 * while.
 *
 * What is remembered is (task id, retries), because a retry is a new message with the same id.
 */
#ifndef WORKER_FINISH_ACKS_H
#define WORKER_FINISH_ACKS_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/broker.h"
#include "worker/request/request.h"

enum answer { ANSWER_ACK, ANSWER_REJECT, ANSWER_REQUEUE };

/* Answers that may have been on the wire when a connection breaks: what the broker counts as
 * unacked, so no more than were ever taken ahead. With an unlimited prefetch, or one above the
 * most, the oldest beyond the most are forgotten. */
#define ACKS_RECENT_LEAST 8192
#define ACKS_RECENT_MOST  100000

struct acks_key {
	uint64_t id_hash[2];
	uint64_t retries;
};
struct acks_recent {
	struct acks_key key;
	enum answer answer;
	int64_t at_us; /* monotonic */
};
struct acks_ended;

struct acks {
	struct broker *broker;
	unsigned session;	    /* the session that answers go to; 0 = none */
	struct acks_recent *recent; /* ring, grows up to recent_most */
	size_t recent_cap, recent_most;
	uint64_t recent_count;	  /* written since it grew or the connection broke */
	struct acks_ended *ended; /* hash, oldest first */
	uint64_t skipped;	  /* redelivered messages that were not run again */
};

void acks_init(struct acks *acks);
void acks_clear(struct acks *acks);
/* The broker's prefetch count from now on; 0 = unlimited. */
void acks_prefetch(struct acks *acks, unsigned count);
void acks_session_up(struct acks *acks, unsigned session);
void acks_session_down(struct acks *acks);
/* Answers for a request, once; further calls are ignored. */
void acks_answer(struct acks *acks, struct request *r, enum answer answer);
/* Answers a delivery that never became a request. */
void acks_answer_delivery(struct acks *acks, unsigned session, uint64_t tag, enum answer answer);
/* True if this task ended here and only its answer may have been lost; once per session, and the
 * caller answers again with *ret_answer (may be NULL). */
bool acks_has_ended(struct acks *acks, const char *id, int64_t retries, enum answer *ret_answer);
/* The request has not begun, so its message comes again and must run. Forgets another one with the
 * same id that ended here: better that one twice than this one never. */
void acks_expect(struct acks *acks, const struct request *r);

#endif
