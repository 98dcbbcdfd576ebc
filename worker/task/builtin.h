/* The tasks that every Celery worker has: celery.map and the like. Source: celery/app/builtins.py.
 * contract: tasks.md 6.10 */
#ifndef WORKER_TASK_BUILTIN_H
#define WORKER_TASK_BUILTIN_H

#include <smallage/task.h>

extern const struct sm_plugin builtin_plugin;

#endif
