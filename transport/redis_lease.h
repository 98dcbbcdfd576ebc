/*
 * Being alive, and seeing who is not. Each driver is a node of the registry, a sorted set: every
 * second it raises its number there and reads those of all. A node whose number did not change
 * for ten seconds is dead, if we were in contact with the server all the time: answers to our own
 * renewal came, and soon. (A server that stands still, or refuses writes, makes nobody dead.) What
 * dead nodes held is others' business: redis_sweep.h.
 *
 * A dead node is marked as such before anything of it is put back, and a node that was marked does
 * not come back under its id: it takes another one, and what it held it does not hold any more.
 *
 * Python workers know nothing of this, and put back what has stood in the index for their
 * visibility timeout: what we hold is entered there anew from time to time.
 */
#ifndef TRANSPORT_REDIS_LEASE_H
#define TRANSPORT_REDIS_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"

struct broker_redis;

#define REDIS_TICK_MS  1000
#define REDIS_LEASE_US ((int64_t)10 * 1000000)
/* For so long after an answer we are sure that nobody takes us for dead. */
#define REDIS_SURE_US ((int64_t)8 * 1000000)

struct redis_node {
	char number[32];
	int64_t since_us; /* that we see it so */
	unsigned round;
	unsigned swept; /* round in which its records were looked for */
	bool is_clean;	/* dead, and nothing of it is left */
};

struct redis_lease {
	char id[33];
	unsigned generation; /* of the id */
	unsigned epoch;	     /* of the connection */
	unsigned long long number;
	bool is_registered; /* on this connection */
	bool was_registered, is_asking;
	bool is_doubted; /* told that we are not sure */
	int64_t asked_us, answered_us;
	int64_t contact_us; /* in contact since */
	int64_t ticked_us;
	struct map *nodes; /* id -> struct redis_node */
	unsigned round;
	/* entering anew what is held, and looking for what is not held any more */
	bool is_renewing, is_checking;
	unsigned renew_at, check_at;
	int64_t renew_next_us;
	uint64_t exempt_below; /* the server lost the records of these; others have not got them */
};

void redis_lease_init(struct broker_redis *r);
void redis_lease_clear(struct broker_redis *r);
/* A new connection: registers. */
void redis_lease_up(struct broker_redis *r);
void redis_lease_down(struct broker_redis *r);
/* Every REDIS_TICK_MS. */
void redis_lease_tick(struct broker_redis *r);
/* Renews now. */
void redis_lease_ask(struct broker_redis *r);
/* Takes a node for dead, if its number is still that; "" = it has none. */
void redis_lease_bury(struct broker_redis *r, const char *id, const char *number);
/* Whether everything we hold is still ours as far as we can know. */
bool redis_lease_is_sure(const struct broker_redis *r);
/* Looks which records of ours are gone: those messages are not ours any more. */
void redis_lease_check(struct broker_redis *r);

#endif
