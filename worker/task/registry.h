/*
 * The tasks this worker can run, by full name. Filled before the pool's spawner is forked and
 * constant from then on, so that a task's index means the same in master and children.
 */
#ifndef WORKER_TASK_REGISTRY_H
#define WORKER_TASK_REGISTRY_H

#include <smallage/task.h>

#include "base/err.h"
#include "protocol/params.h"

struct registry;

struct task_entry {
	const struct sm_task *decl;
	const struct sm_plugin *plugin;
	char *name; /* full name, as in messages */
	struct params *params;
	unsigned index;
};

struct registry *registry_new(void);
void registry_free(struct registry *r);
/* Adds all tasks of a plug-in; names without a dot also under every prefix of `modules`
 * (NULL-terminated). Refuses bad signatures and names that are taken. The plug-in must stay. */
int registry_add_plugin(struct registry *r, const struct sm_plugin *plugin,
			const char *const *modules, struct err *err);
const struct task_entry *registry_find(const struct registry *r, const char *name);
/* One that every worker has, as celery.map; not shown where nobody asks for it. */
bool task_entry_is_builtin(const struct task_entry *entry);
/* Arguments of such a task are not shown. */
bool task_entry_has_secrets(const struct task_entry *entry);
const struct task_entry *registry_at(const struct registry *r, unsigned index);
unsigned registry_count(const struct registry *r);
unsigned registry_plugin_count(const struct registry *r);
const struct sm_plugin *registry_plugin_at(const struct registry *r, unsigned index);

#endif
