#include "transport/filesystem_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/mem.h"

struct filesystem_watch {
	uv_poll_t poll;
	int fd;
	filesystem_watch_fn *fn;
	filesystem_watch_done_fn *done;
	void *ctx;
};

/* Returns whether the folder is lost. */
static bool handle_events(struct filesystem_watch *w, const char *data, size_t len)
{
	struct inotify_event event;
	bool is_lost = false;

	for (size_t at = 0; at + sizeof(event) <= len; at += sizeof(event) + event.len) {
		memcpy(&event, data + at, sizeof(event));
		if (event.mask & IN_Q_OVERFLOW)
			w->fn(w->ctx, NULL);
		else if (event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT))
			is_lost = true;
		else if (event.len > 0 && !(event.mask & IN_ISDIR))
			w->fn(w->ctx, data + at + sizeof(event));
	}
	return is_lost;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct filesystem_watch *w = poll->data;
	char buffer[16384];
	bool is_lost = status < 0;
	ssize_t n;

	(void)events;
	while ((n = read(w->fd, buffer, sizeof(buffer))) > 0)
		is_lost = handle_events(w, buffer, (size_t)n) || is_lost;
	w->done(w->ctx, is_lost);
}

struct filesystem_watch *filesystem_watch_open(uv_loop_t *loop, const char *folder,
					       filesystem_watch_fn *fn,
					       filesystem_watch_done_fn *done, void *ctx,
					       struct err *err)
{
	const uint32_t mask =
		IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	struct filesystem_watch *w;

	if (fd < 0 || inotify_add_watch(fd, folder, mask) < 0) {
		err_errno(err, "inotify");
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	w = mem_calloc(1, sizeof(*w));
	w->fd = fd;
	w->fn = fn;
	w->done = done;
	w->ctx = ctx;
	uv_poll_init(loop, &w->poll, fd);
	w->poll.data = w;
	uv_poll_start(&w->poll, UV_READABLE, on_readable);
	return w;
}

static void on_closed(uv_handle_t *handle)
{
	struct filesystem_watch *w = handle->data;

	close(w->fd);
	free(w);
}

void filesystem_watch_close(struct filesystem_watch *w)
{
	if (w != NULL)
		uv_close((uv_handle_t *)&w->poll, on_closed);
}
