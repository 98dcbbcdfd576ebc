#include "transport/redis_keys.h"

#include <string.h>

#include "base/mem.h"

#define MAX_PRIORITY 9

char *redis_key(const struct redis_options *o, const char *name)
{
	return mem_printf("%s%s", o->key_prefix, name);
}

char *redis_queue_key(const struct redis_options *o, const char *queue, unsigned step)
{
	if (o->steps[step] == 0)
		return redis_key(o, queue);
	return mem_printf("%s%s%s%d", o->key_prefix, queue, o->separator, o->steps[step]);
}

/* Mirrors kombu/transport/redis.py, Channel.priority: the last step that is not above it, and the
 * last of all when there is none (an index of -1 in Python). */
unsigned redis_step_of(const struct redis_options *o, int priority)
{
	int number = priority < 0 ? 0 : priority > MAX_PRIORITY ? MAX_PRIORITY : priority;
	unsigned above = 0;

	while (above < o->step_count && o->steps[above] <= number)
		above++;
	return above > 0 ? above - 1 : o->step_count - 1;
}

char *redis_aside_key(const struct redis_options *o, const char *queue)
{
	return mem_printf("%ssmallage.rejected.%s", o->key_prefix, queue);
}

char *redis_nodes_key(const struct redis_options *o)
{
	if (strcmp(o->unacked_key, "unacked") == 0)
		return redis_key(o, "smallage.nodes");
	return mem_printf("%ssmallage.nodes.%s", o->key_prefix, o->unacked_key);
}
