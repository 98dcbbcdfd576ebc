#include "worker/task/registry.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"

struct registry {
	struct map *by_name;
	struct task_entry **entries;
	unsigned count;
	const struct sm_plugin **plugins;
	unsigned plugin_count;
};

struct registry *registry_new(void)
{
	struct registry *r = mem_calloc(1, sizeof(*r));

	r->by_name = map_new();
	return r;
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < r->count; i++) {
		params_free(r->entries[i]->params);
		free(r->entries[i]->name);
		free(r->entries[i]);
	}
	free(r->entries);
	free(r->plugins);
	map_free(r->by_name);
	free(r);
}

static int add_name(struct registry *r, const struct sm_plugin *plugin, const struct sm_task *task,
		    const char *name, struct err *err)
{
	const struct task_entry *taken = map_get(r->by_name, name);
	struct task_entry *entry;
	struct params *params;

	if (taken)
		return err_set(err, ERR_REFUSED, "plug-in '%s': task '%s' is already in '%s'",
			       plugin->name, name, taken->plugin->name);
	double rate;

	if (task->rate_limit && rate_parse(task->rate_limit, &rate, err) < 0)
		return err_prefix(err, "plug-in '%s', task '%s': ", plugin->name, name);
	params = params_parse(task->signature ? task->signature : "", err);
	if (!params)
		return err_prefix(err, "plug-in '%s', signature of task '%s': ", plugin->name,
				  name);
	entry = mem_calloc(1, sizeof(*entry));
	*entry = (struct task_entry){.decl = task,
				     .plugin = plugin,
				     .name = mem_strdup(name),
				     .params = params,
				     .index = r->count};
	r->entries = mem_realloc(r->entries, (r->count + 1) * sizeof(struct task_entry *));
	r->entries[r->count++] = entry;
	map_put(r->by_name, name, entry);
	return 0;
}

static int add_task(struct registry *r, const struct sm_plugin *plugin, const struct sm_task *task,
		    const char *const *modules, struct err *err)
{
	if (!task->name || !*task->name || !task->run)
		return err_set(err, ERR_INVALID, "plug-in '%s' declares a task without %s",
			       plugin->name, task->run ? "a name" : "a function");
	if (add_name(r, plugin, task, task->name, err) != 0)
		return -1;
	if (strchr(task->name, '.'))
		return 0;
	for (; modules && *modules; modules++) {
		auto_free char *name = mem_printf("%s.%s", *modules, task->name);

		if (add_name(r, plugin, task, name, err) != 0)
			return -1;
	}
	return 0;
}

int registry_add_plugin(struct registry *r, const struct sm_plugin *plugin,
			const char *const *modules, struct err *err)
{
	if (!plugin->name)
		return err_set(err, ERR_INVALID, "a plug-in has no name");
	for (const struct sm_task *const *task = plugin->tasks; task && *task; task++)
		if (add_task(r, plugin, *task, modules, err) != 0)
			return -1;
	r->plugins =
		mem_realloc(r->plugins, (r->plugin_count + 1) * sizeof(const struct sm_plugin *));
	r->plugins[r->plugin_count++] = plugin;
	return 0;
}

const struct task_entry *registry_find(const struct registry *r, const char *name)
{
	return map_get(r->by_name, name);
}

bool task_entry_is_builtin(const struct task_entry *entry)
{
	return strncmp(entry->name, "celery.", strlen("celery.")) == 0;
}

bool task_entry_has_secrets(const struct task_entry *entry)
{
	return entry->decl->secrets && entry->decl->secrets[0];
}

const struct task_entry *registry_at(const struct registry *r, unsigned index)
{
	return index < r->count ? r->entries[index] : NULL;
}

unsigned registry_count(const struct registry *r)
{
	return r->count;
}

unsigned registry_plugin_count(const struct registry *r)
{
	return r->plugin_count;
}

const struct sm_plugin *registry_plugin_at(const struct registry *r, unsigned index)
{
	return index < r->plugin_count ? r->plugins[index] : NULL;
}
