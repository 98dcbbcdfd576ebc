/* What the local status socket says about the worker, as one JSON object. */
#ifndef WORKER_HEALTH_H
#define WORKER_HEALTH_H

#include "base/str.h"
#include "worker/consume/consumer.h"

/* {"node", "pid", "version", "uptime_s", "ready", "reasons": [...], "broker": {...},
 * "backend": {...} or null, "pool": {...}, "requests": {...}, "counts": {...}} */
void health_write(struct str *out, const struct consumer *c, const struct pool *pool,
		  int64_t started_us);

#endif
