/* What the worker says about itself when it is asked, as one JSON object. */
#ifndef WORKER_HEALTH_H
#define WORKER_HEALTH_H

#include <stdbool.h>

#include "base/str.h"
#include "worker/consume/consumer.h"

/* {"node", "pid", "version", "uptime_s", "ready", "reasons": [...], "broker": {...},
 * "backend": {...} or null, "pool": {...}, "requests": {...}, "counts": {...},
 * "control": {...}, "events": {...} or null,
 * "tasks": {name: {...}}, "answers": [...]}, for the local status socket. */
void health_write(struct str *out, const struct consumer *c, const struct pool *pool,
		  int64_t started_us);
/* What /ready says; true when ready. */
bool health_write_ready(struct str *out, const struct consumer *c, const struct pool *pool);
bool health_is_ready(const struct consumer *c, const struct pool *pool);

#endif
