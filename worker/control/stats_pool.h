/* Parts of the `stats` reply. */
#ifndef WORKER_CONTROL_STATS_POOL_H
#define WORKER_CONTROL_STATS_POOL_H

#include <jansson.h>

#include "worker/control/control.h"

/* The object `pool`, with Celery's keys for this kind of pool. New references. */
json_t *stats_pool(const struct control *c);
/* The object `autoscaler`, or NULL without --autoscale. */
json_t *stats_autoscaler(const struct control *c);

#endif
