/* One thread of this very process: for debugging, and where nothing may be forked. */
#ifndef WORKER_POOL_SOLO_H
#define WORKER_POOL_SOLO_H

#include "base/err.h"
#include "worker/pool/slot.h"

struct solo;

struct solo *solo_start(const struct slot_options *options, struct err *err);
/* Makes a blocking call of the body return EINTR. */
void solo_interrupt(const struct solo *s);
/* To be called when the thread has closed its socket, or to wait for it. */
void solo_join(struct solo *s);
/* Leaves a thread alone that cannot be waited for; its memory stays with it. */
void solo_abandon(struct solo *s);

#endif
