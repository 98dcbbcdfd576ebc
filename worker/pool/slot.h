/* The executing end of a pool: takes run frames off its socket one by one, runs each job, answers
 * with an outcome. The same code in a prefork child, a pool thread and the solo thread. */
#ifndef WORKER_POOL_SLOT_H
#define WORKER_POOL_SLOT_H

#include "worker/pool/pool.h"
#include "worker/pool/share.h"

struct slot_options {
	const struct pool_options *pool;
	struct share_slot *share;
	int fd; /* blocking stream to the master; closed by slot_run */
};

/* Returns when the master closed its side, or is gone. */
void slot_run(const struct slot_options *options);

#endif
