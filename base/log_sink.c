#include "base/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

/* A description of our own: O_NONBLOCK on the one we were given would be set for everybody who has
 * it, the shell that started us among them. */
static int open_own(int fd)
{
	char path[40];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

void log_sink_open(struct log_sink *s, int fd)
{
	struct stat info;
	int own;

	*s = (struct log_sink){.fd = fd};
	if (fstat(fd, &info) != 0)
		return;
	s->is_socket = S_ISSOCK(info.st_mode);
	s->may_refuse = s->is_socket || S_ISFIFO(info.st_mode);
	own = S_ISFIFO(info.st_mode) ? open_own(fd) : -1;
	if (own < 0)
		return;
	s->fd = own;
	s->is_own = true;
}

void log_sink_close(struct log_sink *s)
{
	if (s->is_own)
		(void)close(s->fd);
	free(s->rest);
	*s = (struct log_sink){.fd = -1};
}

static bool has_room(const struct log_sink *s, int timeout_ms)
{
	struct pollfd room = {.fd = s->fd, .events = POLLOUT};

	return poll(&room, 1, timeout_ms) > 0;
}

static ssize_t put_some(const struct log_sink *s, const char *data, size_t len)
{
	if (s->is_socket)
		return send(s->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (!s->may_refuse || s->is_own)
		return write(s->fd, data, len);
	/* A pipe that we may not open: where there is room, a page fits. */
	if (!has_room(s, 0)) {
		errno = EAGAIN;
		return -1;
	}
	return write(s->fd, data, len < PIPE_BUF ? len : PIPE_BUF);
}

/* How much was taken. One write, so that records of processes sharing a file do not mix; more only
 * if it was short. A reader that is gone takes everything: nobody is left to tell. */
static size_t put(struct log_sink *s, const char *data, size_t len)
{
	int64_t until_us = 0;
	size_t done = 0;

	while (done < len) {
		ssize_t n = put_some(s, data + done, len - done);

		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0 || errno != EAGAIN)
			return len;
		int64_t now_us = clock_mono_us();

		if (until_us == 0)
			until_us = now_us + (s->is_stuck ? 0 : LOG_PATIENCE_MS * 1000);
		if (now_us >= until_us || !has_room(s, (int)((until_us - now_us) / 1000 + 1)))
			break;
	}
	return done;
}

/* What a parent process left to say is not the child's to say. */
static void disown(struct log_sink *s)
{
	if ((!s->rest && !s->dropped) || s->owner == getpid())
		return;
	free(s->rest);
	s->rest = NULL;
	s->rest_len = 0;
	s->dropped = 0;
}

static bool put_rest(struct log_sink *s)
{
	size_t done = put(s, s->rest, s->rest_len);

	s->rest_len -= done;
	memmove(s->rest, s->rest + done, s->rest_len);
	if (s->rest_len)
		return false;
	free(s->rest);
	s->rest = NULL;
	return true;
}

bool log_sink_put(struct log_sink *s, const char *line, size_t len)
{
	size_t done = 0;

	disown(s);
	if (!s->rest || put_rest(s))
		done = put(s, line, len);
	s->is_stuck = done < len;
	if (done == len)
		return true;
	s->owner = getpid();
	if (done == 0) {
		s->dropped++;
		return false;
	}
	s->rest_len = len - done;
	s->rest = mem_dup(line + done, s->rest_len);
	return true;
}

uint64_t log_sink_take_dropped(struct log_sink *s)
{
	uint64_t dropped;

	disown(s);
	dropped = s->dropped;
	s->dropped = 0;
	return dropped;
}
