/*
 * Reads the records of a group's tasks, for stores that keep no results of a chord by themselves.
 * Sources: celery/result.py (ResultSet.ready, join), celery/app/builtins.py (unlock_chord).
 */
#ifndef WORKER_FINISH_GATHER_H
#define WORKER_FINISH_GATHER_H

#include "worker/finish/join.h"

/* `is_ready`: all tasks have ended, and their values stand in the join. */
typedef void gather_done_fn(void *ctx, bool is_ready, const struct err *err);
/* The join, which has its group, must outlive `done`. That is called once, never from inside the
 * call unless there is nothing to read. */
void gather_start(struct finish *f, struct join *join, gather_done_fn *done, void *ctx);

#endif
