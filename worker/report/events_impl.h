/* What the two halves of the dispatcher know of each other. Internal to worker/report/events*. */
#ifndef WORKER_REPORT_EVENTS_IMPL_H
#define WORKER_REPORT_EVENTS_IMPL_H

#include "worker/report/events.h"

/* A batch goes out at the end of the turn, so long after the one before, or when it has so much. */
#define EVENTS_PAUSE_MS	   10
#define EVENTS_BATCH_COUNT 500
#define EVENTS_BATCH_BYTES ((size_t)128 << 10)

void events_flush_soon(struct events *e);
/* Publishes `single`. */
void events_send_single(struct events *e, const char *routing_key);
void events_drop_large(struct events *e);

#endif
