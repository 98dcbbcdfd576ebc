/*
 * What makes a process a daemon: background, pid file, user and group. Called once, before the
 * first fork of the pool, the first thread and the first connection.
 */
#ifndef WORKER_DAEMON_H
#define WORKER_DAEMON_H

#include "base/err.h"
#include "worker/config/config.h"

/* Detaches, writes the pid file, drops privileges, as the configuration says. The log must be open
 * already. A pid file of a process that lives is ERR_REFUSED: "Pidfile (x) already exists.". */
int daemon_begin(const struct config *config, struct err *err);
/* Removes our pid file. */
void daemon_end(const struct config *config);
/* Runs this program again with the same arguments, as the same process. Returns only when that
 * failed. */
void daemon_restart(void);

#endif
