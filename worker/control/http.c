#include "worker/control/http.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "worker/control/http_library.h"

#define SWEEP_MS 1000

struct http_server {
	struct http_library mhd;
	struct MHD_Daemon *daemon;
	const struct http_route *routes;
	void *ctx;
	char *url;
	uv_poll_t poll;	  /* on the library's own epoll descriptor */
	uv_timer_t timer; /* for its time limits and ours */
	unsigned open_handles;
	struct list_node connections; /* the one that did nothing for longest is first */
	unsigned connection_count;
};

struct connection {
	struct list_node node;
	int fd;		  /* the library's */
	int64_t since_us; /* of the connection, or of its last complete answer */
	bool is_shut;
};

/* --- requests --- */

static enum MHD_Result send_answer(struct http_server *s, struct MHD_Connection *connection,
				   struct http_answer *answer)
{
	struct MHD_Response *response;
	enum MHD_Result result;
	size_t len = answer->body.len;

	response = s->mhd.create_response_from_buffer(len, str_detach(&answer->body),
						      MHD_RESPMEM_MUST_FREE);
	if (!response)
		return MHD_NO;
	s->mhd.add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type);
	s->mhd.add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	s->mhd.add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (answer->status == MHD_HTTP_METHOD_NOT_ALLOWED)
		s->mhd.add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = s->mhd.queue_response(connection, answer->status, response);
	s->mhd.destroy_response(response);
	return result;
}

static void say(struct http_answer *answer, unsigned status, const char *text)
{
	answer->status = status;
	answer->type = "text/plain; charset=utf-8";
	str_reset(&answer->body);
	str_puts(&answer->body, text);
}

static const struct http_route *route_find(const struct http_server *s, const char *path)
{
	const struct http_route *route = s->routes;

	while (route->path && strcmp(route->path, path) != 0)
		route++;
	return route->path ? route : NULL;
}

static bool is_read_only(const char *method)
{
	return strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
	       strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *path,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_len, void **seen)
{
	struct http_server *s = ctx;
	const struct http_route *route = route_find(s, path);
	struct http_answer answer = {.status = MHD_HTTP_OK, .body = STR_INIT(HTTP_BODY_MAX)};
	bool is_first = *seen == NULL;

	(void)version, (void)upload;
	*seen = s;
	if (!is_read_only(method)) {
		say(&answer, MHD_HTTP_METHOD_NOT_ALLOWED, "GET and HEAD only\n");
	} else if (is_first) {
		return MHD_YES; /* answered now, the connection could not be used again */
	} else if (*upload_len > 0) {
		say(&answer, MHD_HTTP_BAD_REQUEST, "no body, please\n");
	} else if (!route) {
		say(&answer, MHD_HTTP_NOT_FOUND, "there are /live, /ready and /metrics\n");
	} else {
		answer.type = route->type;
		route->fill(s->ctx, &answer);
		if (answer.body.is_full)
			say(&answer, MHD_HTTP_INTERNAL_SERVER_ERROR, "the answer is too long\n");
	}
	*upload_len = 0;
	return send_answer(s, connection, &answer);
}

/* --- connections --- */

static void touch(struct http_server *s, struct connection *c)
{
	c->since_us = clock_mono_us();
	list_remove(&c->node);
	list_append(&s->connections, &c->node);
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **seen,
			 enum MHD_RequestTerminationCode code)
{
	struct http_server *s = ctx;
	const union MHD_ConnectionInfo *info =
		s->mhd.get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	(void)seen, (void)code;
	if (info && info->socket_context)
		touch(s, info->socket_context);
}

static void on_connection(void *ctx, struct MHD_Connection *connection, void **own,
			  enum MHD_ConnectionNotificationCode code)
{
	struct http_server *s = ctx;
	struct connection *c = *own;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *info =
			s->mhd.get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

		*own = c = mem_calloc(1, sizeof(*c));
		c->fd = info->connect_fd;
		c->since_us = clock_mono_us();
		list_append(&s->connections, &c->node);
		s->connection_count++;
		return;
	}
	if (!c)
		return;
	*own = NULL;
	list_remove(&c->node);
	s->connection_count--;
	free(c);
}

/* The library sees the end of the stream, and closes. */
static void shut(struct connection *c)
{
	if (!c->is_shut)
		shutdown(c->fd, SHUT_RDWR);
	c->is_shut = true;
}

/* Ends the connections that have had their time; returns in how many ms to look again, -1 = never.
 */
static int64_t sweep(struct http_server *s)
{
	int64_t now_us = clock_mono_us();
	unsigned too_many = s->connection_count > HTTP_CONNECTIONS_CALM
				    ? s->connection_count - HTTP_CONNECTIONS_CALM
				    : 0;
	struct list_node *at, *next;

	list_foreach_safe (at, next, &s->connections) {
		struct connection *c = list_entry(at, struct connection, node);
		int64_t age_ms = (now_us - c->since_us) / 1000;

		if (age_ms < HTTP_CONNECTION_MIN_MS)
			return too_many > 0 ? HTTP_CONNECTION_MIN_MS - age_ms : SWEEP_MS;
		if (age_ms >= HTTP_PATIENCE_S * 1000 || too_many > 0)
			shut(c);
		else
			return SWEEP_MS;
		if (too_many > 0)
			too_many--;
	}
	return s->connection_count > 0 ? SWEEP_MS : -1;
}

/* --- the loop --- */

static void on_timer(uv_timer_t *timer);

static void turn(struct http_server *s)
{
	MHD_UNSIGNED_LONG_LONG library_ms;
	bool was_full = s->connection_count >= HTTP_CONNECTIONS_MAX;
	int64_t wait_ms;

	s->mhd.run(s->daemon);
	/* It listens again from the beginning of a run on, and connections end in its middle. */
	if (was_full && s->connection_count < HTTP_CONNECTIONS_MAX)
		s->mhd.run(s->daemon);
	wait_ms = sweep(s);
	if (s->mhd.get_timeout(s->daemon, &library_ms) == MHD_YES &&
	    (wait_ms < 0 || (int64_t)library_ms < wait_ms))
		wait_ms = (int64_t)library_ms;
	if (wait_ms < 0)
		uv_timer_stop(&s->timer);
	else
		uv_timer_start(&s->timer, on_timer, (uint64_t)wait_ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
	turn(timer->data);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	(void)status, (void)events;
	turn(poll->data);
}

/* --- life --- */

static void server_free(struct http_server *s)
{
	free(s->url);
	free(s);
}

static int start_daemon(struct http_server *s, int fd, struct err *err)
{
	s->daemon = s->mhd.start_daemon(
		MHD_USE_EPOLL, 0, NULL, NULL, on_request, s, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_PATIENCE_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, HTTP_HEAD_MAX, MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, s, MHD_OPTION_END);
	if (!s->daemon) {
		close(fd);
		return err_set(err, ERR_INTERNAL, "libmicrohttpd does not start");
	}
	return 0;
}

static int join_loop(struct http_server *s, uv_loop_t *loop, struct err *err)
{
	const union MHD_DaemonInfo *info =
		s->mhd.get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);

	if (!info || uv_poll_init(loop, &s->poll, info->epoll_fd) != 0)
		return err_set(err, ERR_INTERNAL, "libmicrohttpd has no epoll descriptor");
	uv_timer_init(loop, &s->timer);
	s->poll.data = s->timer.data = s;
	s->open_handles = 2;
	uv_poll_start(&s->poll, UV_READABLE, on_ready);
	return 0;
}

struct http_server *http_server_open(uv_loop_t *loop, const char *address,
				     const struct http_route *routes, void *ctx, struct err *err)
{
	struct http_server *s = mem_calloc(1, sizeof(*s));
	auto_str url = STR_INIT(256);
	int fd;

	s->routes = routes;
	s->ctx = ctx;
	list_init(&s->connections);
	if (http_library_load(&s->mhd, err) == 0 &&
	    (fd = http_address_listen(address, &url, err)) >= 0 && start_daemon(s, fd, err) == 0) {
		s->url = str_detach(&url);
		if (join_loop(s, loop, err) == 0)
			return s;
		s->mhd.stop_daemon(s->daemon);
	}
	server_free(s);
	return NULL;
}

const char *http_server_url(const struct http_server *s)
{
	return s->url;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct http_server *s = handle->data;

	if (--s->open_handles == 0)
		server_free(s);
}

void http_server_close(struct http_server *s)
{
	if (!s || !s->daemon)
		return;
	uv_poll_stop(&s->poll); /* before its descriptor goes */
	uv_close((uv_handle_t *)&s->poll, on_handle_closed);
	uv_close((uv_handle_t *)&s->timer, on_handle_closed);
	s->mhd.stop_daemon(s->daemon);
	s->daemon = NULL;
}
