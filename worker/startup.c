#include "worker/startup.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "worker/finish/unlock.h"
#include "worker/task/builtin.h"
#include "worker/task/plugin.h"

int startup_open_log(const struct config *config, enum log_format format, struct err *err)
{
	if (config->log_format && strcmp(config->log_format, "json") == 0)
		format = LOG_JSON;
	else if (config->log_format && strcmp(config->log_format, "text") == 0)
		format = LOG_TEXT;
	if (log_open(config->log_file, format, log_level_parse(config->log_level, LOG_WARNING)) < 0)
		return err_errno(err, "cannot open the log file '%s'", config->log_file);
	log_set_process("MainProcess");
	return 0;
}

int startup_load_plugins(struct registry *registry, struct config *config, struct err *err)
{
	const char *const *modules = (const char *const *)config->task_modules;
	auto_free char *shipped = plugin_default_dir();

	if (registry_add_plugin(registry, &builtin_plugin, NULL, err) < 0 ||
	    registry_add_plugin(registry, &unlock_plugin, NULL, err) < 0 ||
	    plugin_load_path(registry, shipped, modules, err) < 0)
		return -1;
	for (char **path = config->imports; path && *path; path++)
		if (plugin_load_path(registry, *path, modules, err) < 0)
			return -1;
	for (unsigned i = 0; i < registry_plugin_count(registry); i++)
		config_declare(config, registry_plugin_at(registry, i)->settings);
	return config_check_unknown(config, err);
}

enum pool_kind startup_pool_kind(const struct config *config)
{
	switch (config->worker_pool) {
	case CONFIG_THREADS:
		return POOL_THREADS;
	case CONFIG_SOLO:
		return POOL_SOLO;
	case CONFIG_PREFORK:
		break;
	}
	return POOL_PREFORK;
}

char **startup_template_dirs(const struct config *config)
{
	size_t count = 0;

	while (config->template_dirs && config->template_dirs[count])
		count++;
	char **dirs = mem_calloc(count + 2, sizeof(*dirs));

	for (size_t i = 0; i < count; i++)
		dirs[i] = mem_strdup(config->template_dirs[i]);
	dirs[count] = plugin_share_dir("templates");
	return dirs;
}

void startup_free_dirs(char **dirs)
{
	for (char **dir = dirs; dir && *dir; dir++)
		free(*dir);
	free(dirs);
}
