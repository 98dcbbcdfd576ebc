#include "worker/task/plugin.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

/* The handle is kept for the life of the process: entries of the registry point into it. */
static int load_file(struct registry *r, const char *path, const char *const *modules,
		     struct err *err)
{
	auto_free char *real = realpath(path, NULL);
	const struct sm_plugin *plugin;
	void *handle;

	if (!real)
		return err_errno(err, "plug-in '%s'", path);
	handle = dlopen(real, RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return err_set(err, ERR_INVALID, "plug-in '%s' cannot be opened: %s", path,
			       dlerror());
	plugin = dlsym(handle, "sm_plugin");
	if (!plugin)
		err_set(err, ERR_INVALID, "'%s' is no task plug-in: it has no symbol sm_plugin",
			path);
	else if (plugin->abi != SM_ABI)
		err_set(err, ERR_REFUSED,
			"plug-in '%s' was built for task ABI %u, this worker has ABI %u: build it "
			"with this worker's smallage/task.h",
			path, plugin->abi, (unsigned)SM_ABI);
	else if (plugin->task_size != sizeof(struct sm_task))
		err_set(err, ERR_REFUSED,
			"plug-in '%s' was built with a struct sm_task of %u bytes, this worker has "
			"%zu (both say ABI %u): build it with this worker's smallage/task.h",
			path, plugin->task_size, sizeof(struct sm_task), (unsigned)SM_ABI);
	else
		return registry_add_plugin(r, plugin, modules, err);
	dlclose(handle);
	return -1;
}

static int is_shared_object(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 3 && entry->d_name[0] != '.' && strcmp(entry->d_name + len - 3, ".so") == 0;
}

/* By bytes, so that the order does not depend on the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int load_folder(struct registry *r, const char *path, const char *const *modules,
		       struct err *err)
{
	struct dirent **names = NULL;
	int count = scandir(path, &names, is_shared_object, by_name);
	int ret = 0;

	if (count < 0)
		return err_errno(err, "plug-in folder '%s'", path);
	for (int i = 0; i < count; i++) {
		auto_free char *file = mem_printf("%s/%s", path, names[i]->d_name);

		if (ret == 0)
			ret = load_file(r, file, modules, err);
		free(names[i]);
	}
	free(names);
	return ret;
}

int plugin_load_path(struct registry *r, const char *path, const char *const *modules,
		     struct err *err)
{
	struct stat st;

	if (stat(path, &st) != 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			return err_set(err, ERR_NOT_FOUND,
				       "there is no plug-in file or folder '%s'", path);
		return err_errno(err, "plug-in '%s'", path);
	}
	return S_ISDIR(st.st_mode) ? load_folder(r, path, modules, err)
				   : load_file(r, path, modules, err);
}

/* `tail` below the folder that holds bin/. */
static char *beside_bin(const char *tail)
{
	char exe[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (len <= 0)
		return mem_printf("/usr/local/%s", tail);
	exe[len] = '\0';
	for (int up = 0; up < 2; up++) {
		char *slash = strrchr(exe, '/');

		if (slash)
			*slash = '\0';
	}
	return mem_printf("%s/%s", exe, tail);
}

char *plugin_default_dir(void)
{
	return beside_bin("lib/smallage/tasks");
}

char *plugin_share_dir(const char *name)
{
	auto_free char *tail = mem_printf("share/smallage/%s", name);

	return beside_bin(tail);
}
