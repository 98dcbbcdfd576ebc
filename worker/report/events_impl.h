/* What the two halves of the dispatcher know of each other. Internal to worker/report/events*. */
#ifndef WORKER_REPORT_EVENTS_IMPL_H
#define WORKER_REPORT_EVENTS_IMPL_H

#include "worker/report/events.h"

/* A batch goes out at the end of the turn, or when it has one of these. */
#define EVENTS_BATCH_COUNT 100
#define EVENTS_BATCH_BYTES ((size_t)64 << 10)

void events_on_turn(uv_prepare_t *prepare);
/* Publishes `single`. */
void events_send_single(struct events *e, const char *routing_key);
void events_drop_large(struct events *e);

#endif
