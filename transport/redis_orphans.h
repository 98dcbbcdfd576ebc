/*
 * Messages whose owner the registry does not know at all, neither alive nor dead: the registry was
 * lost (deleted, evicted) while the owner was dead, so nobody saw it stand still. About once a
 * minute one of the drivers looks through the index for owners that are not on the list, a few
 * pages a second; who does not come back onto it for as long as a lease is taken for dead, and the
 * usual sweep follows (redis_sweep.h).
 */
#ifndef TRANSPORT_REDIS_ORPHANS_H
#define TRANSPORT_REDIS_ORPHANS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"

struct broker_redis;

struct redis_orphans {
	struct map *owners; /* id -> since when it is missed, int64_t us */
	char cursor[24];
	bool is_passing, is_asking; /* a pass goes on; an answer is due */
	unsigned pages;		    /* in this second */
	int64_t next_us;
	int64_t period_us;
};

void redis_orphans_init(struct broker_redis *r);
void redis_orphans_down(struct broker_redis *r);
/* Every REDIS_TICK_MS, while we are registered. */
void redis_orphans_tick(struct broker_redis *r);
void redis_orphans_clear(struct broker_redis *r);

#endif
