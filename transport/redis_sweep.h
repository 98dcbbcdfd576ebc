/*
 * Records that nobody will answer: those of a dead node, those of our own that we know nothing of
 * (the server lost our answer in a fail-over), and those of Python workers that are older than the
 * visibility timeout, with kombu's mutex.
 */
#ifndef TRANSPORT_REDIS_SWEEP_H
#define TRANSPORT_REDIS_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hiredis/hiredis.h>

struct broker_redis;

struct redis_sweep {
	bool is_busy, wants_own;
	bool goes_on;  /* there may be another dead node, not swept in this round of the registry */
	char node[40]; /* whose records are looked for; "" = none */
	char cursor[24];
	uint64_t *found;
	size_t found_count, found_cap;
	uint64_t *known; /* sorted; of our own, these are not forgotten */
	size_t known_count;
	uint64_t known_below;
	unsigned generation;
	int64_t expired_next_us;
	char token[37];
};

#define REDIS_ID_LEN 32 /* of a node */

/* The owner that the name of a record tells; false when it is none of ours. */
bool redis_sweep_id_of(const char *field, char id[REDIS_ID_LEN + 1]);
/* Whether the registry has it, alive or dead. */
bool redis_sweep_is_known(const struct broker_redis *r, const char *id);
/* Whether it is the answer to a ZSCAN. */
bool redis_sweep_is_page(const redisReply *reply);
/* Puts back what a dead node held; marks the node as clean when there is nothing. */
void redis_sweep_node(struct broker_redis *r, const char *id);
/* After one, at once the next: fifty workers that died together are not to be waited for one by
 * one. */
void redis_sweep_next(struct broker_redis *r);
/* A new connection. */
void redis_sweep_up(struct broker_redis *r);
void redis_sweep_down(struct broker_redis *r);
void redis_sweep_tick(struct broker_redis *r);
void redis_sweep_clear(struct broker_redis *r);

#endif
