#include "worker/control/status.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"

#define STATUS_MAX_BYTES       (4 * 1024 * 1024)
#define STATUS_MAX_CONNECTIONS 32

struct status_server {
	uv_pipe_t listener;
	status_fill_fn *fill;
	void *ctx;
	char *path;
	dev_t device; /* of our socket: another worker may have taken the path since */
	ino_t inode;
	struct list_node connections;
	unsigned connection_count;
	bool is_closing;
};

struct connection {
	uv_pipe_t pipe; /* .data = this */
	uv_write_t write;
	struct status_server *server;
	struct list_node node;
	struct str answer;
};

static void server_free_when_done(struct status_server *s)
{
	if (!s->is_closing || s->connection_count > 0 || s->listener.data)
		return;
	free(s->path);
	free(s);
}

static void on_connection_closed(uv_handle_t *handle)
{
	struct connection *c = handle->data;
	struct status_server *s = c->server;

	list_remove(&c->node);
	str_clear(&c->answer);
	free(c);
	s->connection_count--;
	server_free_when_done(s);
}

static void connection_close(struct connection *c)
{
	if (!uv_is_closing((uv_handle_t *)&c->pipe))
		uv_close((uv_handle_t *)&c->pipe, on_connection_closed);
}

static void on_written(uv_write_t *write, int status)
{
	struct connection *c = write->data;

	(void)status;
	connection_close(c);
}

static void connection_answer(struct connection *c)
{
	struct status_server *s = c->server;
	uv_buf_t bytes;

	s->fill(s->ctx, &c->answer);
	if (c->answer.len == 0) {
		connection_close(c);
		return;
	}
	bytes = uv_buf_init(c->answer.data, (unsigned)c->answer.len);
	c->write.data = c;
	if (uv_write(&c->write, (uv_stream_t *)&c->pipe, &bytes, 1, on_written) != 0)
		connection_close(c);
}

/* Above the limit a connection is taken and closed at once: left in the backlog it would keep the
 * loop awake. */
static void on_connection(uv_stream_t *listener, int status)
{
	struct status_server *s = listener->data;
	struct connection *c;

	if (status != 0 || s->is_closing)
		return;
	c = mem_calloc(1, sizeof(*c));
	c->server = s;
	str_init(&c->answer, STATUS_MAX_BYTES);
	uv_pipe_init(listener->loop, &c->pipe, 0);
	c->pipe.data = c;
	list_append(&s->connections, &c->node);
	s->connection_count++;
	if (uv_accept(listener, (uv_stream_t *)&c->pipe) != 0 ||
	    s->connection_count > STATUS_MAX_CONNECTIONS) {
		connection_close(c);
		return;
	}
	connection_answer(c);
}

static int check_folder(const char *folder, struct err *err)
{
	struct stat info;

	if (mkdir(folder, 0700) != 0 && errno != EEXIST)
		return err_errno(err, "status socket: folder %s", folder);
	if (stat(folder, &info) != 0)
		return err_errno(err, "status socket: folder %s", folder);
	if (!S_ISDIR(info.st_mode))
		return err_set(err, ERR_REFUSED, "status socket: %s is not a folder", folder);
	if (info.st_uid != geteuid() && info.st_uid != 0)
		return err_set(err, ERR_REFUSED,
			       "status socket: folder %s belongs to another user; name another "
			       "with --socket",
			       folder);
	if ((info.st_mode & 022) && !(info.st_mode & S_ISVTX))
		return err_set(err, ERR_REFUSED,
			       "status socket: others may write to folder %s; name another with "
			       "--socket",
			       folder);
	return 0;
}

/* Binds aside and renames, so that the path never leads nowhere and never to a socket with open
 * permissions. */
static int bind_socket(struct status_server *s, struct err *err)
{
	auto_free char *aside = mem_printf("%s.new", s->path);
	struct stat info;
	int failed;

	if (strlen(aside) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return err_set(err, ERR_LIMIT, "status socket: path %s is too long", s->path);
	unlink(aside);
	failed = uv_pipe_bind(&s->listener, aside);
	if (failed)
		return err_set(err, ERR_IO, "status socket %s: %s", s->path, uv_strerror(failed));
	if (chmod(aside, 0600) != 0 || stat(aside, &info) != 0)
		return err_errno(err, "status socket %s", s->path);
	failed = uv_listen((uv_stream_t *)&s->listener, STATUS_MAX_CONNECTIONS, on_connection);
	if (failed)
		return err_set(err, ERR_IO, "status socket %s: %s", s->path, uv_strerror(failed));
	if (rename(aside, s->path) != 0)
		return err_errno(err, "status socket %s", s->path);
	s->device = info.st_dev;
	s->inode = info.st_ino;
	return 0;
}

struct status_server *status_server_open(uv_loop_t *loop, const char *path, status_fill_fn *fill,
					 void *ctx, struct err *err)
{
	const char *slash = strrchr(path, '/');
	auto_free char *folder =
		slash && slash > path ? mem_dup(path, (size_t)(slash - path)) : mem_strdup(".");
	struct status_server *s;

	if (check_folder(folder, err) != 0)
		return NULL;
	s = mem_calloc(1, sizeof(*s));
	s->fill = fill;
	s->ctx = ctx;
	s->path = mem_strdup(path);
	list_init(&s->connections);
	uv_pipe_init(loop, &s->listener, 0);
	s->listener.data = s;
	if (bind_socket(s, err) != 0) {
		status_server_close(s);
		return NULL;
	}
	return s;
}

static void on_listener_closed(uv_handle_t *handle)
{
	struct status_server *s = handle->data;

	s->listener.data = NULL;
	server_free_when_done(s);
}

void status_server_close(struct status_server *s)
{
	struct stat info;
	struct list_node *at, *next;

	if (!s || s->is_closing)
		return;
	s->is_closing = true;
	if (s->inode && stat(s->path, &info) == 0 && info.st_dev == s->device &&
	    info.st_ino == s->inode)
		unlink(s->path);
	list_foreach_safe (at, next, &s->connections)
		connection_close(list_entry(at, struct connection, node));
	uv_close((uv_handle_t *)&s->listener, on_listener_closed);
}

static int wait_readable(int fd, int64_t until_us, struct err *err)
{
	for (;;) {
		int64_t left_us = until_us - clock_mono_us();
		struct pollfd wait = {.fd = fd, .events = POLLIN};
		int ready = left_us > 0 ? poll(&wait, 1, (int)(left_us / 1000 + 1)) : 0;

		if (ready > 0)
			return 0;
		if (ready == 0)
			return err_set(err, ERR_TIMEOUT, "the worker does not answer");
		if (errno != EINTR)
			return err_errno(err, "poll");
	}
}

static int read_answer(int fd, int timeout_ms, struct str *out, struct err *err)
{
	int64_t until_us = clock_mono_us() + (int64_t)timeout_ms * 1000;
	char chunk[4096];

	for (;;) {
		ssize_t len;

		if (wait_readable(fd, until_us, err) != 0)
			return -1;
		len = read(fd, chunk, sizeof(chunk));
		if (len == 0)
			return out->len > 0 ? 0
					    : err_set(err, ERR_IO, "the worker closed the socket");
		if (len < 0 && errno != EINTR && errno != EAGAIN)
			return err_errno(err, "status socket");
		if (len > 0 && str_add(out, chunk, (size_t)len) != 0)
			return err_set(err, ERR_LIMIT, "the answer is too long");
	}
}

/* A connected socket; -1 with `err`. */
static int connect_to(const char *path, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(err, ERR_LIMIT, "status socket: path %s is too long", path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(err, "socket");
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
		err_set(err, ERR_NOT_FOUND, "no worker listens at %s", path);
	else if (errno == EAGAIN) /* its backlog is full */
		err_set(err, ERR_TIMEOUT, "the worker does not answer");
	else
		err_errno(err, "status socket %s", path);
	close(fd);
	return -1;
}

int status_ask(const char *path, int timeout_ms, struct str *out, struct err *err)
{
	int fd = connect_to(path, err);
	int result;

	if (fd < 0)
		return -1;
	result = read_answer(fd, timeout_ms, out, err);
	close(fd);
	return result;
}

bool status_is_live(const char *path)
{
	struct err err = {0};
	int fd = connect_to(path, &err);

	if (fd >= 0)
		close(fd);
	return fd >= 0 || err.code == ERR_TIMEOUT;
}

static int is_socket_name(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 5 && strcmp(entry->d_name + len - 5, ".sock") == 0;
}

void status_remove_dead(const char *path)
{
	auto_free char *folder = mem_dup(path, (size_t)(strrchr(path, '/') - path));
	struct dirent **entries = NULL;
	int count = scandir(folder, &entries, is_socket_name, NULL);

	for (int i = 0; i < count; i++) {
		auto_free char *each = mem_printf("%s/%s", folder, entries[i]->d_name);

		struct err err = {0};
		int fd = connect_to(each, &err);

		/* A name appears only once somebody listens there: bind_socket. Any other error
		 * says nothing about the worker. */
		if (fd >= 0)
			close(fd);
		else if (err.code == ERR_NOT_FOUND)
			unlink(each);
		free(entries[i]);
	}
	free(entries);
}
