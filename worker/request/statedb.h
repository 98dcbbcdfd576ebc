/*
 * The state that outlives the worker (--statedb): revoked ids with their ages, revoked stamps, the
 * logical clock. A file of our own, JSON; Python's is a shelve of pickles and private to it
 * (celery/worker/state.py, Persistent). Unlike Celery's it is written while the worker runs too, at
 * most every few seconds and only after a change, so that a killed worker forgets little. A file
 * appears whole or not at all; while the worker runs it holds a lock on it.
 *
 * Threads: loop thread only. The disk is waited for elsewhere, but at the start and the end.
 */
#ifndef WORKER_REQUEST_STATEDB_H
#define WORKER_REQUEST_STATEDB_H

#include <uv.h>

#include "base/err.h"
#include "base/str.h"
#include "worker/request/revoked.h"

/* More than the bounds of struct revoked can make. */
#define STATEDB_MAX_BYTES ((size_t)1 << 30)

/* Pure: the file's text. `now_us` is the wall clock. */
void statedb_encode(struct str *out, const struct revoked *revoked, uint64_t clock, int64_t now_us);
/* Adds what the text holds to `revoked`, with the ages of now. ERR_UNSUPPORTED when it is nothing
 * of ours, ERR_INVALID when it is damaged; then nothing was added. */
int statedb_decode(struct revoked *revoked, uint64_t *ret_clock, const char *data, size_t len,
		   int64_t now_us, struct err *err);

struct statedb;
/* Reads the file, or makes it. *clock is the worker's logical clock: raised to the one in the file,
 * and saved with the rest; it and `revoked` must stay until the close. */
struct statedb *statedb_open(uv_loop_t *loop, const char *path, struct revoked *revoked,
			     uint64_t *clock, struct err *err);
/* Saves no more; the loop may end. NULL is allowed. */
void statedb_stop(struct statedb *s);
/* After the loop has ended: saves for the last time. NULL is allowed. */
void statedb_close(struct statedb *s);

#endif
