#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define READ_SIZE ((size_t)16384)

void file_close_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

int folder_make(const char *path, struct err *err)
{
	auto_free char *part = mem_strdup(path);

	for (char *p = part; *p != '\0'; p++) {
		if (*p != '/' || p == part)
			continue;
		*p = '\0';
		if (mkdir(part, 0777) < 0 && errno != EEXIST)
			return err_errno(err, "create folder '%.300s'", part);
		*p = '/';
	}
	if (mkdir(part, 0777) < 0 && errno != EEXIST)
		return err_errno(err, "create folder '%.300s'", part);
	return 0;
}

int file_read(struct str *out, const char *path, struct err *err)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat info;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(err, "open '%.300s'", path);
	if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode))
		return err_set(err, ERR_INVALID, "'%.300s' is no regular file", path);
	for (;;) {
		size_t left = out->max - out->len;
		size_t size = left < READ_SIZE ? left : READ_SIZE;
		char probe;
		ssize_t n = read(fd, size ? str_reserve(out, size) : &probe, size ? size : 1);

		if (n == 0)
			return 1;
		if (n < 0 && errno != EINTR)
			return err_errno(err, "read '%.300s'", path);
		if (n > 0 && size == 0)
			return err_set(err, ERR_LIMIT, "'%.300s' is larger than %zu bytes", path,
				       out->max);
		str_commit(out, n > 0 ? (size_t)n : 0);
	}
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno != EINTR)
			return -1;
		data += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int file_write(const char *path, const void *data, size_t len, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
	int failed;

	if (fd < 0)
		return err_errno(err, "create '%.300s'", path);
	failed = write_all(fd, data, len);
	if (failed)
		err_errno(err, "write '%.300s'", path);
	/* Network folders report a full disk only here. */
	if (close(fd) < 0 && !failed)
		failed = err_errno(err, "write '%.300s'", path);
	if (failed)
		unlink(path);
	return failed ? -1 : 0;
}
