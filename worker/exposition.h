/* What /metrics says about the worker: Prometheus' text, names smallage_*. */
#ifndef WORKER_EXPOSITION_H
#define WORKER_EXPOSITION_H

#include "base/str.h"
#include "worker/consume/consumer.h"

/* `started_us` on the wall clock. */
void exposition_write(struct str *out, const struct consumer *c, const struct pool *pool,
		      int64_t started_wall_us);

#endif
