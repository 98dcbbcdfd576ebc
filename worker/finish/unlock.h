/*
 * The task celery.chord_unlock: where the result store does not count the parts of a chord, this
 * looks whether all have ended, again and again, and then sends the body. It runs in the worker
 * itself, which has the store, in no process of the pool. Source: celery/app/builtins.py
 * (unlock_chord). contract: tasks.md 6.10
 */
#ifndef WORKER_FINISH_UNLOCK_H
#define WORKER_FINISH_UNLOCK_H

#include "worker/finish/finish.h"

/* Registered beside the tasks of the pool. */
extern const struct sm_plugin unlock_plugin;
bool unlock_is(const struct request *r);
/* Runs it, in place of the pool; ends with finish_apply. The request is RUNNING. */
void unlock_run(struct finish *f, struct request *r);

#endif
