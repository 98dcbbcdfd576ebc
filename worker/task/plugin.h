/* Finds and opens task plug-ins (shared objects with one symbol, `sm_plugin`). */
#ifndef WORKER_TASK_PLUGIN_H
#define WORKER_TASK_PLUGIN_H

#include <smallage/task.h>

#include "base/err.h"
#include "worker/task/registry.h"

/* Loads one file, or every *.so of a folder in order of name, into the registry. A plug-in of
 * another ABI is refused with a message that names both numbers. */
int plugin_load_path(struct registry *r, const char *path, const char *const *modules,
		     struct err *err);
/* The folder of the shipped tasks: lib/smallage/tasks beside the executable's bin. To be freed. */
char *plugin_default_dir(void);
/* share/smallage/<name> beside the executable's bin (templates). To be freed. */
char *plugin_share_dir(const char *name);

#endif
