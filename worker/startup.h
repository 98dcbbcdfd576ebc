/* What the commands that have tasks do before anything else: the worker, check, run, stubs. */
#ifndef WORKER_STARTUP_H
#define WORKER_STARTUP_H

#include "base/log.h"
#include "worker/config/config.h"
#include "worker/pool/pool.h"
#include "worker/task/registry.h"

/* `format` is for log_format: auto. */
int startup_open_log(const struct config *config, enum log_format format, struct err *err);
/* The shipped plug-ins, then those the settings name; declares their settings and refuses names in
 * the file or on the command line that nobody knows. */
int startup_load_plugins(struct registry *registry, struct config *config, struct err *err);
enum pool_kind startup_pool_kind(const struct config *config);
/* The user's template folders, then the shipped one; ends with NULL. */
char **startup_template_dirs(const struct config *config);
void startup_free_dirs(char **dirs);

#endif
