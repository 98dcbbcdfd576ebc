/*
 * Bytes from one slot to the master through shared memory, so that an outcome costs no system call
 * and survives the process that wrote it. One writer (the slot), one reader (the master). What is
 * put becomes visible whole or not at all: a process that dies in the middle leaves nothing behind.
 *
 * A slot that has more to run does not wake the master for every outcome; it rings once when it
 * runs dry or after RING_QUIET_MAX of them. The bell itself is the caller's: one byte on the
 * socket.
 */
#ifndef WORKER_POOL_RING_H
#define WORKER_POOL_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_BYTES     ((uint32_t)8 << 10) /* a power of two; outcomes are some 100 bytes each */
#define RING_QUIET_MAX 8		   /* outcomes put without a ring of the bell */

/* The reader keeps its own count of what it took: a process gone wild may write anything here. */
struct ring {
	_Alignas(64) _Atomic uint32_t put;   /* bytes ever put, modulo 2^32; the slot's */
	_Alignas(64) _Atomic uint32_t taken; /* likewise; the master's */
	_Atomic uint32_t is_rung;	     /* the bell's byte is on its way */
	char bytes[RING_BYTES];
};

void ring_reset(struct ring *r); /* before the writer lives */

/* The writer. False when there is no room: the bytes take another way. */
bool ring_put(struct ring *r, const char *head, size_t head_len, const char *tail, size_t tail_len);
/* Is the bell to be rung now? Says yes once until the reader has come by. */
bool ring_bell(struct ring *r);

/* The reader. ring_visit comes first: whatever is put after it rings again. ring_peek copies `len`
 * bytes at `at` if that many are there. */
void ring_visit(struct ring *r);
bool ring_peek(const struct ring *r, uint32_t at, char *to, size_t len);
void ring_release(struct ring *r, uint32_t at); /* all before `at` is taken */

#endif
