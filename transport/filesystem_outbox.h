/*
 * Messages on their way into a folder: routed by the binding tables, written under a temporary name
 * and renamed, so that no reader sees a part. What cannot be written now (disk full) waits.
 */
#ifndef TRANSPORT_FILESYSTEM_OUTBOX_H
#define TRANSPORT_FILESYSTEM_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/map.h"
#include "transport/broker.h"

struct filesystem_outbox;

/* `exchange_types`: exchange name -> its type (char *), borrowed. */
struct filesystem_outbox *filesystem_outbox_new(const char *data_folder, const char *control_folder,
						const struct map *exchange_types, size_t max_bytes);
/* What waits is dropped without a callback. NULL is allowed. */
void filesystem_outbox_free(struct filesystem_outbox *box);
/* Copies everything; writes nothing yet. -1 at the bound of what may wait. */
int filesystem_outbox_add(struct filesystem_outbox *box, const struct publication *p,
			  broker_published_fn *done, void *ctx, struct err *err);
/* Writes what waits and calls `done` for each. -1 with `err` when something has to be tried again
 * later. */
int filesystem_outbox_flush(struct filesystem_outbox *box, struct err *err);
/* Ends all that waits with an error. */
void filesystem_outbox_fail(struct filesystem_outbox *box, const struct err *err);
size_t filesystem_outbox_count(const struct filesystem_outbox *box);

#endif
