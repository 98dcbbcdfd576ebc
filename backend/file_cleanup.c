/* Mirrors celery/backends/filesystem.py, cleanup(). */
#include "backend/file_cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

struct cleanup {
	uv_work_t work;
	char *folder;
	time_t before;
};

static bool is_ours(const char *name)
{
	static const char *const prefixes[] = {"celery-task-meta-", "celery-taskset-meta-",
					       "chord-unlock-"};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

/* In a thread: there may be very many. */
static void on_work(uv_work_t *work)
{
	const struct cleanup *c = work->data;
	DIR *dir = opendir(c->folder);
	const struct dirent *entry;
	struct stat st;

	while (dir && (entry = readdir(dir)) != NULL)
		if (is_ours(entry->d_name) &&
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    st.st_mtime < c->before)
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
}

static void on_work_done(uv_work_t *work, int status)
{
	struct cleanup *c = work->data;

	(void)status;
	free(c->folder);
	free(c);
}

void file_cleanup(uv_loop_t *loop, const char *folder, double expires_s)
{
	struct cleanup *c;

	if (expires_s <= 0)
		return;
	c = mem_calloc(1, sizeof(*c));
	c->work.data = c;
	c->folder = mem_strdup(folder);
	c->before = (time_t)((double)clock_wall_us() / 1e6 - expires_s);
	uv_queue_work(loop, &c->work, on_work, on_work_done);
}
