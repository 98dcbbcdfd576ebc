#include "transport/filesystem_spool.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/text.h"
#include "transport/envelope.h"

#define SPOOL_PREFIX ".smallage-"
#define NEW_PREFIX   ".new-smallage-" /* until its lock is held */
#define LOCK_NAME    "lock"
#define STALE_TEMP_S 3600
#define MARKED_NAME  "marked" /* a message while it gets its mark */

struct filesystem_spool {
	char *data_folder, *processed, *folder;
	size_t max_bytes;
	int lock_fd;
};

/* Only what any file system takes, and no dot: kombu's readers look at what follows the first. */
static void add_plain(struct str *out, const char *text)
{
	for (const char *p = text; *p != '\0' && out->len < 100; p++)
		str_addc(out, isalnum((unsigned char)*p) || *p == '-' ? *p : '_');
}

/* A new folder with its lock held from the first moment it has its name. */
static int make_spool(struct filesystem_spool *s, const char *node, struct err *err)
{
	auto_free char *early = NULL, *lock = NULL;
	auto_str name;
	char random[37];

	str_init(&name, 4096);
	uuid4(random);
	add_plain(&name, node ? node : "worker");
	str_addf(&name, "-%ld-%.8s", (long)getpid(), random);
	early = mem_printf("%s/" NEW_PREFIX "%s", s->data_folder, name.data);
	lock = mem_printf("%s/" LOCK_NAME, early);
	s->folder = mem_printf("%s/" SPOOL_PREFIX "%s", s->data_folder, name.data);
	if (mkdir(early, 0777) < 0)
		return err_errno(err, "create folder '%.300s'", early);
	s->lock_fd = open(lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (s->lock_fd < 0)
		return err_errno(err, "create '%.300s'", lock);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return err_errno(err, "lock '%.300s'", lock);
	if (rename(early, s->folder) < 0)
		return err_errno(err, "create folder '%.300s'", s->folder);
	return 0;
}

struct filesystem_spool *filesystem_spool_open(const char *data_folder, const char *processed,
					       const char *node, size_t max_bytes, struct err *err)
{
	struct filesystem_spool *s = mem_calloc(1, sizeof(*s));

	s->lock_fd = -1;
	s->max_bytes = max_bytes;
	s->data_folder = mem_strdup(data_folder);
	s->processed = mem_strdup(processed);
	if (make_spool(s, node, err) == 0)
		return s;
	filesystem_spool_close(s);
	return NULL;
}

/* Messages end in .msg; nothing else in a spool folder does. */
static bool is_message_name(const char *name)
{
	size_t len = strlen(name);

	return len > 4 && strcmp(name + len - 4, ".msg") == 0;
}

/* The mark goes into a copy which replaces the message before that leaves the folder, so no moment
 * has it twice or not at all. */
static int put_back(const struct filesystem_spool *s, const char *folder, const char *name,
		    struct err *err)
{
	auto_free char *path = mem_printf("%s/%s", folder, name);
	auto_free char *marked_path = mem_printf("%s/" MARKED_NAME, folder);
	auto_free char *target = mem_printf("%s/%s", s->data_folder, name);
	auto_str text, marked;
	int found;

	str_init(&text, s->max_bytes);
	str_init(&marked, STR_MAX_DEFAULT);
	found = file_read(&text, path, err);
	if (found <= 0)
		return found;
	if (envelope_mark_redelivered(&marked, text.data ? text.data : "", text.len, err) < 0)
		return -1;
	if (file_write(marked_path, marked.data, marked.len, err) < 0)
		return -1;
	if (rename(marked_path, path) < 0 || rename(path, target) < 0)
		return err_errno(err, "put back '%.300s'", path);
	return 0;
}

/* A message that cannot be marked still must not be lost. */
static int put_back_anyhow(const struct filesystem_spool *s, const char *folder, const char *name,
			   struct err *err)
{
	auto_free char *path = mem_printf("%s/%s", folder, name);
	auto_free char *target = mem_printf("%s/%s", s->data_folder, name);

	if (put_back(s, folder, name, NULL) == 0 || rename(path, target) == 0)
		return 0;
	return err_errno(err, "put back '%.300s'", path);
}

int filesystem_spool_put_back(struct filesystem_spool *s, const char *name, struct err *err)
{
	return put_back_anyhow(s, s->folder, name, err);
}

static unsigned put_back_all(const struct filesystem_spool *s, const char *folder)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	unsigned count = 0;

	if (dir == NULL)
		return 0;
	while ((entry = readdir(dir)) != NULL) {
		if (is_message_name(entry->d_name) &&
		    put_back_anyhow(s, folder, entry->d_name, NULL) == 0)
			count++;
	}
	closedir(dir);
	return count;
}

static void remove_spool(const char *folder)
{
	auto_free char *marked = mem_printf("%s/" MARKED_NAME, folder);
	auto_free char *lock = mem_printf("%s/" LOCK_NAME, folder);

	unlink(marked);
	unlink(lock);
	rmdir(folder);
}

static bool has_messages(const char *folder)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	bool found = false;

	if (dir == NULL)
		return false;
	while (!found && (entry = readdir(dir)) != NULL)
		found = is_message_name(entry->d_name);
	closedir(dir);
	return found;
}

/* A spool whose lock can be had has no owner. The lock is kept meanwhile: two that recover must not
 * meet. */
static unsigned recover_one(struct filesystem_spool *s, const char *folder)
{
	auto_free char *lock = mem_printf("%s/" LOCK_NAME, folder);
	auto_fd fd = open(lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	unsigned count;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return 0;
	count = put_back_all(s, folder);
	if (!has_messages(folder))
		remove_spool(folder);
	return count;
}

static bool has_prefix(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* What a writer left that died before its rename. */
static void remove_stale_temp(const char *path)
{
	struct stat info;

	if (lstat(path, &info) == 0 && S_ISREG(info.st_mode) &&
	    info.st_mtime < (time_t)(clock_wall_us() / 1000000) - STALE_TEMP_S)
		unlink(path);
}

unsigned filesystem_spool_recover(struct filesystem_spool *s)
{
	DIR *dir = opendir(s->data_folder);
	const struct dirent *entry;
	unsigned count = 0;

	if (dir == NULL)
		return 0;
	while ((entry = readdir(dir)) != NULL) {
		auto_free char *path = NULL;

		if (entry->d_name[0] != '.')
			continue;
		path = mem_printf("%s/%s", s->data_folder, entry->d_name);
		if (has_prefix(entry->d_name, FILESYSTEM_TEMP_PREFIX))
			remove_stale_temp(path);
		else if (has_prefix(entry->d_name, SPOOL_PREFIX) && strcmp(path, s->folder) != 0)
			count += recover_one(s, path);
	}
	closedir(dir);
	return count;
}

int filesystem_spool_claim(struct filesystem_spool *s, const char *name, struct err *err)
{
	auto_free char *from = mem_printf("%s/%s", s->data_folder, name);
	auto_free char *to = mem_printf("%s/%s", s->folder, name);

	if (rename(from, to) == 0)
		return 0;
	return errno == ENOENT ? 1 : err_errno(err, "take '%.300s'", from);
}

int filesystem_spool_set_aside(struct filesystem_spool *s, const char *name, struct err *err)
{
	auto_free char *folder = mem_printf("%s/rejected", s->data_folder);
	auto_free char *from = mem_printf("%s/%s", s->data_folder, name);
	auto_free char *to = mem_printf("%s/%s", folder, name);

	if (folder_make(folder, err) < 0)
		return -1;
	if (rename(from, to) == 0)
		return 0;
	return errno == ENOENT ? 1 : err_errno(err, "move aside '%.300s'", from);
}

/* The folder for what was worked on may be another file system. */
static int keep_copy(const struct filesystem_spool *s, const char *path, const char *kept)
{
	auto_str text;

	str_init(&text, s->max_bytes);
	if (rename(path, kept) == 0)
		return 0;
	if (errno != EXDEV || file_read(&text, path, NULL) <= 0)
		return -1;
	return file_write(kept, text.data ? text.data : "", text.len, NULL);
}

char *filesystem_spool_path(const struct filesystem_spool *s, const char *name)
{
	return mem_printf("%s/%s", s->folder, name);
}

void filesystem_spool_release(struct filesystem_spool *s, const char *name)
{
	auto_free char *path = mem_printf("%s/%s", s->folder, name);
	auto_free char *kept = NULL;

	if (s->processed) {
		kept = mem_printf("%s/%s", s->processed, name);
		keep_copy(s, path, kept);
	}
	/* What was worked on must not come back, even when it cannot be kept. */
	unlink(path);
}

void filesystem_spool_close(struct filesystem_spool *s)
{
	if (s == NULL)
		return;
	if (s->lock_fd >= 0 && !has_messages(s->folder))
		remove_spool(s->folder);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s->data_folder);
	free(s->processed);
	free(s->folder);
	free(s);
}
