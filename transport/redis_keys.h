/* The names of kombu's keys in Redis (contract: control.md 7.1). Pure; what is returned is to be
 * freed and carries the global prefix. */
#ifndef TRANSPORT_REDIS_KEYS_H
#define TRANSPORT_REDIS_KEYS_H

#include "transport/redis_options.h"

char *redis_key(const struct redis_options *o, const char *name);
/* The list of a queue at a step of the priorities (an index of `steps`). */
char *redis_queue_key(const struct redis_options *o, const char *queue, unsigned step);
/* The step that messages of this priority go to; < 0 = none given. 0 is served first. */
unsigned redis_step_of(const struct redis_options *o, int priority);
/* Where messages of that queue are kept that nobody can read. */
char *redis_aside_key(const struct redis_options *o, const char *queue);
/* Who of us is alive; those that share an unacked hash share this. */
char *redis_nodes_key(const struct redis_options *o);

#endif
