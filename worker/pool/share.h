/*
 * The memory that master and slots share, one block per slot in a mapping made before the first
 * fork. It lets "accepted" cost no system call, and lets the master take back what a slot has not
 * begun. A place is one job ahead of the slot; its number travels in the run frame.
 *
 *   EMPTY   nobody's                       master: -> QUEUED, before it sends the frame
 *   QUEUED  the frame is on its way        slot: -> STARTED; master: -> STOLEN (compare and swap)
 *   STARTED the body runs, or has run      master: -> EMPTY, on the outcome or after the death
 *   STOLEN  another slot's job now         slot: -> EMPTY, when it skips the frame
 *
 * Outcomes come back through the ring.
 */
#ifndef WORKER_POOL_SHARE_H
#define WORKER_POOL_SHARE_H

#include <stdatomic.h>
#include <stdint.h>

#include "worker/pool/frame.h"
#include "worker/pool/ring.h"

/* What a signature of `len` bytes counts for in `sent_bytes`. */
static inline uint32_t share_send_weight(size_t len)
{
	return (uint32_t)len + 1024;
}

enum share_state { SHARE_EMPTY, SHARE_QUEUED, SHARE_STARTED, SHARE_STOLEN };

struct share_place {
	_Atomic uint32_t state;
	/* Soft limit passed. It belongs to the place, so that it cannot hit the next job. Waited
	 * on as a futex. */
	_Atomic uint32_t expired;
	/* Bytes of what the job has sent that the master is done with, modulo 2^32; the slot waits
	 * on it as a futex while too many are on their way. */
	_Atomic uint32_t sent_bytes;
	_Atomic int64_t started_us; /* monotonic; valid once STARTED */
};

struct share_slot {
	_Alignas(64) struct share_place places[FRAME_PLACES];
	_Atomic int32_t pid, tid;   /* of the executing thread; 0 until it runs */
	_Atomic uint32_t exit_code; /* with which the process ends when its socket is closed */
	struct ring ring;
};

#endif
