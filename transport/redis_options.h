/* broker_transport_options of kombu's Redis transport (contract: control.md 7). */
#ifndef TRANSPORT_REDIS_OPTIONS_H
#define TRANSPORT_REDIS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define REDIS_MAX_STEPS 32

/* In which order queues are asked (queue_order_strategy). */
enum redis_order { REDIS_ORDER_ROUND_ROBIN, REDIS_ORDER_PRIORITY, REDIS_ORDER_SORTED };

struct redis_options {
	char *key_prefix; /* global_keyprefix, "" */
	/* fanout_prefix: "/{db}.", in which {db} stands for the number of the database; another
	 * text; "" for false */
	char *fanout_prefix;
	bool fanout_patterns;
	char *separator; /* sep, bytes 06 16 */
	int steps[REDIS_MAX_STEPS];
	unsigned step_count; /* priority_steps, 0 3 6 9 */
	enum redis_order order;
	char *unacked_key, *unacked_index_key, *unacked_mutex_key; /* without the prefix */
	double unacked_mutex_expire_s;				   /* 300 */
	double visibility_timeout_s;				   /* 3600 */
	/* How often what stayed unacked for longer is looked for: unacked_restore_interval times
	 * unacked_restore_throttle, 100 s. */
	double restore_interval_s;
	size_t restore_limit;	   /* unacked_restore_limit; 0 = none */
	double polling_interval_s; /* 1 */
};

/* `json` is the text of an object, or NULL for kombu's defaults. To be cleared in any case. */
int redis_options_read(struct redis_options *o, const char *json, struct err *err);
void redis_options_clear(struct redis_options *o);

#endif
