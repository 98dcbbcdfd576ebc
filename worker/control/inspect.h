/* What the inspect commands share. Inside worker/control/ only. */
#ifndef WORKER_CONTROL_INSPECT_H
#define WORKER_CONTROL_INSPECT_H

#include "worker/control/control.h"

/* inspect_requests.c: lists of requests. */
control_write_fn inspect_active, inspect_reserved, inspect_scheduled, inspect_query_task;
/* inspect_tasks.c: what this worker can run and where it takes it from. */
control_fn inspect_registered, inspect_active_queues;
/* inspect_conf.c: settings, without secrets. */
control_fn inspect_conf, inspect_report;
/* inspect_stats.c */
control_fn inspect_stats, inspect_memsample, inspect_memdump;

#endif
