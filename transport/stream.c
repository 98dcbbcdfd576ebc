#include "transport/stream.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

#define READ_SIZE		  ((size_t)64 * 1024)
#define READ_BUDGET		  ((size_t)512 * 1024) /* per turn, so that no peer starves the others */
#define OUTPUT_KEEP		  ((size_t)256 * 1024)
#define CONNECT_TIMEOUT_DEFAULT_S 4

enum stream_state { STREAM_CONNECTING, STREAM_UP, STREAM_FAILED, STREAM_CLOSED };

struct stream {
	uv_loop_t *loop;
	const struct stream_events *events;
	void *ctx;
	enum stream_state state;
	char *unix_path, *host;
	int port;
	uint64_t deadline_ms; /* of the whole connect */
	size_t max_input;

	int fd; /* -1 = none */
	uv_poll_t *poll;
	int poll_events;
	bool wants_write; /* the kernel took only a part */
	bool is_resolving;
	bool is_flushing, wants_flush; /* in on_flush; it asked to be called again */
	uv_timer_t timer;
	uv_prepare_t prepare;
	uv_idle_t idle; /* active while output waits: the loop must not sleep then */
	uv_getaddrinfo_t resolver;
	struct addrinfo *addresses, *next_address;
	struct err last_error;
	unsigned refs; /* open handles and requests; the memory goes with the last */

	struct str out;
	size_t out_start; /* bytes of `out` that the kernel already has */
	char *in;
	size_t in_len, in_cap;
	uint64_t last_read_ms, last_write_ms;
};

static void address_try(struct stream *s);
static void poll_ready(uv_poll_t *poll, int status, int events);
static void output_arm(struct stream *s);

static void stream_unref(struct stream *s)
{
	if (--s->refs > 0)
		return;
	str_clear(&s->out);
	free(s->in);
	free(s->unix_path);
	free(s->host);
	if (s->addresses)
		freeaddrinfo(s->addresses);
	free(s);
}

static void handle_closed(uv_handle_t *handle)
{
	stream_unref(handle->data);
}

static void poll_closed(uv_handle_t *handle)
{
	struct stream *s = handle->data;

	free(handle);
	stream_unref(s);
}

static void socket_drop(struct stream *s)
{
	if (s->poll) {
		uv_close((uv_handle_t *)s->poll, poll_closed);
		s->poll = NULL;
		s->poll_events = 0;
	}
	if (s->fd >= 0) {
		close(s->fd);
		s->fd = -1;
	}
}

static void stream_stop(struct stream *s, enum stream_state state)
{
	s->state = state;
	socket_drop(s);
	uv_timer_stop(&s->timer);
	uv_prepare_stop(&s->prepare);
	uv_idle_stop(&s->idle);
}

static void stream_fail(struct stream *s, const struct err *why)
{
	stream_stop(s, STREAM_FAILED);
	s->events->on_failed(s->ctx, why);
}

static void stream_fail_errno(struct stream *s, const char *what, int code)
{
	struct err err = {0};

	errno = code;
	err_errno(&err, "%s", what);
	stream_fail(s, &err);
}

static void poll_update(struct stream *s)
{
	int want = s->state == STREAM_CONNECTING ? UV_WRITABLE
						 : UV_READABLE | (s->wants_write ? UV_WRITABLE : 0);

	if (!s->poll || want == s->poll_events)
		return;
	s->poll_events = want;
	if (want)
		uv_poll_start(s->poll, want, poll_ready);
	else
		uv_poll_stop(s->poll);
}

/* Output */

/* Moving the rest only when half is gone keeps a large backlog from being moved at every write. */
static void output_compact(struct stream *s)
{
	if (s->out_start < s->out.len / 2)
		return;
	str_consume(&s->out, s->out_start);
	s->out_start = 0;
}

static void output_write(struct stream *s)
{
	ssize_t done = send(s->fd, s->out.data + s->out_start, stream_pending(s), MSG_NOSIGNAL);

	if (done < 0 && errno != EAGAIN && errno != EINTR) {
		stream_fail_errno(s, "write to the connection", errno);
		return;
	}
	if (done > 0) {
		s->out_start += (size_t)done;
		output_compact(s);
		s->last_write_ms = uv_now(s->loop);
	}
	s->wants_write = stream_pending(s) > 0;
	if (!s->wants_write)
		str_shrink(&s->out, OUTPUT_KEEP);
	poll_update(s);
}

static void idle_ready(uv_idle_t *idle)
{
	(void)idle; /* being active is all it is for */
}

static void prepare_ready(uv_prepare_t *prepare)
{
	struct stream *s = prepare->data;

	uv_prepare_stop(&s->prepare);
	uv_idle_stop(&s->idle);
	if (s->events->on_flush) {
		s->is_flushing = true;
		s->events->on_flush(s->ctx);
		s->is_flushing = false;
	}
	if (s->state == STREAM_UP && stream_pending(s) > 0 && !s->wants_write)
		output_write(s);
	/* With the kernel's buffer full it is called when there is room again. */
	if (s->wants_flush && !s->wants_write)
		output_arm(s);
	s->wants_flush = false;
}

static void output_arm(struct stream *s)
{
	if (s->state != STREAM_UP || s->is_flushing)
		return;
	/* A prepare handle started by another prepare callback runs in the next turn only; the idle
	 * handle makes sure that this turn does not sleep. */
	uv_idle_start(&s->idle, idle_ready);
	uv_prepare_start(&s->prepare, prepare_ready);
}

void stream_wake(struct stream *s)
{
	s->wants_flush = s->is_flushing;
	output_arm(s);
}

struct str *stream_output(struct stream *s)
{
	output_arm(s);
	return &s->out;
}

int stream_write(struct stream *s, const void *data, size_t len)
{
	if (len > s->out.max - s->out.len && s->out_start > 0) {
		str_consume(&s->out, s->out_start);
		s->out_start = 0;
	}
	if (len > s->out.max - s->out.len)
		return -1;
	return str_add(stream_output(s), data, len);
}

/* Input */

/* True while the stream is still up. */
static bool input_deliver(struct stream *s)
{
	size_t used = s->events->on_data(s->ctx, s->in, s->in_len);
	struct err err = {0};

	if (s->state != STREAM_UP)
		return false;
	s->in_len -= used;
	if (used > 0 && s->in_len > 0)
		memmove(s->in, s->in + used, s->in_len);
	if (s->in_len <= s->max_input)
		return true;
	err_set(&err, ERR_LIMIT, "the peer sent a unit of more than %zu bytes", s->max_input);
	stream_fail(s, &err);
	return false;
}

static void input_read(struct stream *s)
{
	size_t budget = READ_BUDGET;

	while (budget > 0) {
		if (s->in_cap - s->in_len < READ_SIZE / 2) {
			s->in_cap = s->in_len + READ_SIZE;
			s->in = mem_realloc(s->in, s->in_cap);
		}
		size_t room = s->in_cap - s->in_len;
		ssize_t got = recv(s->fd, s->in + s->in_len, room, 0);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0) {
			stream_fail_errno(s, "connection lost", got < 0 ? errno : ECONNRESET);
			return;
		}
		s->in_len += (size_t)got;
		s->last_read_ms = uv_now(s->loop);
		/* A short read has emptied the socket; the loop tells when there is more. */
		if (!input_deliver(s) || (size_t)got < room)
			return;
		budget -= (size_t)got < budget ? (size_t)got : budget;
	}
}

/* Connecting */

static int socket_error(int fd)
{
	int code = 0;
	socklen_t len = sizeof(code);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) != 0)
		return errno;
	return code;
}

static void connect_finished(struct stream *s)
{
	s->state = STREAM_UP;
	uv_timer_stop(&s->timer);
	s->last_read_ms = s->last_write_ms = uv_now(s->loop);
	poll_update(s);
	stream_wake(s);
	s->events->on_connected(s->ctx);
}

static void connect_failed(struct stream *s, int code)
{
	socket_drop(s);
	err_clear(&s->last_error);
	errno = code;
	if (s->unix_path)
		err_errno(&s->last_error, "connect to %s", s->unix_path);
	else
		err_errno(&s->last_error, "connect to %s:%d", s->host, s->port);
	address_try(s);
}

static void poll_ready(uv_poll_t *poll, int status, int events)
{
	struct stream *s = poll->data;
	int code;

	if (s->state == STREAM_CONNECTING) {
		code = socket_error(s->fd);
		if (code == 0)
			connect_finished(s);
		else
			connect_failed(s, code);
		return;
	}
	/* After an error of the socket libuv stops the watcher, but what the peer said last may
	 * still be there to read, and it names the cause. */
	if ((events & UV_READABLE) || status < 0)
		input_read(s);
	if (s->state == STREAM_UP && status < 0) {
		code = socket_error(s->fd);
		stream_fail_errno(s, "connection lost", code ? code : ECONNRESET);
	}
	if (s->state != STREAM_UP || !(events & UV_WRITABLE))
		return;
	output_write(s);
	if (s->state == STREAM_UP && !s->wants_write)
		stream_wake(s); /* who was waiting for room goes on */
}

static void socket_tune(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},	  {SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, 60},  {IPPROTO_TCP, TCP_KEEPCNT, 9},
		{IPPROTO_TCP, TCP_KEEPINTVL, 10},
	};

	/* A kernel that refuses one of these still gives a working connection. */
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
				 sizeof(int));
}

/* 0, or an errno value. */
static int socket_connect(struct stream *s, int family, const struct sockaddr *address,
			  socklen_t len)
{
	s->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return errno;
	if (family != AF_UNIX)
		socket_tune(s->fd);
	if (connect(s->fd, address, len) != 0 && errno != EINPROGRESS)
		return errno;

	uv_poll_t *poll = mem_calloc(1, sizeof(*poll));
	int rc = uv_poll_init(s->loop, poll, s->fd);
	if (rc != 0) {
		free(poll);
		return -rc;
	}
	poll->data = s;
	s->poll = poll;
	s->refs++;
	poll_update(s);
	return 0;
}

static void unix_try(struct stream *s)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct err err = {0};
	int rc = ENAMETOOLONG;

	if (strlen(s->unix_path) < sizeof(address.sun_path)) {
		memcpy(address.sun_path, s->unix_path, strlen(s->unix_path));
		rc = socket_connect(s, AF_UNIX, (const struct sockaddr *)&address, sizeof(address));
	}
	if (rc == 0)
		return;
	errno = rc;
	err_errno(&err, "connect to %s", s->unix_path);
	stream_fail(s, &err);
}

static void deadline_passed(uv_timer_t *timer)
{
	struct stream *s = timer->data;
	struct err err = {0};

	if (s->next_address && uv_now(s->loop) < s->deadline_ms) {
		connect_failed(s, ETIMEDOUT);
		return;
	}
	if (s->unix_path)
		err_set(&err, ERR_TIMEOUT, "connect to %s: timed out", s->unix_path);
	else
		err_set(&err, ERR_TIMEOUT, "connect to %s:%d: timed out", s->host, s->port);
	stream_fail(s, &err);
}

/* Each address gets an equal part of the time that is left, so that one which swallows packets
 * does not hide the next. */
static void address_timer(struct stream *s)
{
	uint64_t now = uv_now(s->loop);
	uint64_t left = s->deadline_ms > now ? s->deadline_ms - now : 1;
	unsigned count = 1;

	for (struct addrinfo *a = s->next_address; a; a = a->ai_next)
		count++;
	uv_timer_start(&s->timer, deadline_passed, left / count + 1, 0);
}

static void address_try(struct stream *s)
{
	if (s->unix_path) {
		stream_fail(s, &s->last_error);
		return;
	}
	while (s->next_address) {
		struct addrinfo *a = s->next_address;
		s->next_address = a->ai_next;
		int rc = socket_connect(s, a->ai_family, a->ai_addr, a->ai_addrlen);
		if (rc == 0) {
			address_timer(s);
			return;
		}
		socket_drop(s);
		err_clear(&s->last_error);
		errno = rc;
		err_errno(&s->last_error, "connect to %s:%d", s->host, s->port);
	}
	stream_fail(s, &s->last_error);
}

static void resolve_failed(struct stream *s, const char *why)
{
	struct err err = {0};

	err_set(&err, ERR_IO, "look up host %s: %s", s->host, why);
	stream_fail(s, &err);
}

static void resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *result)
{
	struct stream *s = request->data;

	s->is_resolving = false;
	s->addresses = s->next_address = result;
	if (s->state == STREAM_CONNECTING) {
		if (status != 0)
			resolve_failed(s, uv_strerror(status));
		else
			address_try(s);
	}
	stream_unref(s);
}

static void resolve_start(struct stream *s)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
	char port[16];

	snprintf(port, sizeof(port), "%d", s->port);
	/* Addresses need no resolver (and none of its threads); "localhost" is 127.0.0.1 here as in
	 * kombu. */
	const char *host = strcmp(s->host, "localhost") == 0 ? "127.0.0.1" : s->host;
	if (getaddrinfo(host, port, &hints, &s->addresses) == 0) {
		s->next_address = s->addresses;
		address_try(s);
		return;
	}
	s->addresses = NULL;
	hints.ai_flags = 0;
	s->resolver.data = s;
	int rc = uv_getaddrinfo(s->loop, &s->resolver, resolved, host, port, &hints);
	if (rc != 0) {
		resolve_failed(s, uv_strerror(rc));
		return;
	}
	s->is_resolving = true;
	s->refs++;
}

static void open_started(uv_timer_t *timer)
{
	struct stream *s = timer->data;
	uint64_t timeout_ms = s->deadline_ms;

	s->deadline_ms = uv_now(s->loop) + timeout_ms;
	uv_timer_start(&s->timer, deadline_passed, timeout_ms, 0);
	if (s->unix_path)
		unix_try(s);
	else
		resolve_start(s);
}

struct stream *stream_open(const struct stream_options *options)
{
	struct stream *s = mem_calloc(1, sizeof(*s));
	double timeout_s = options->connect_timeout_s > 0 ? options->connect_timeout_s
							  : CONNECT_TIMEOUT_DEFAULT_S;

	s->loop = options->loop;
	s->events = options->events;
	s->ctx = options->ctx;
	s->unix_path = mem_strdup(options->unix_path);
	s->host = mem_strdup(options->host ? options->host : "localhost");
	s->port = options->port;
	s->max_input = options->max_input ? options->max_input : READ_SIZE;
	s->fd = -1;
	str_init(&s->out, options->max_output);
	s->deadline_ms = (uint64_t)(timeout_s * 1000); /* a span until open_started */

	uv_timer_init(s->loop, &s->timer);
	uv_prepare_init(s->loop, &s->prepare);
	uv_idle_init(s->loop, &s->idle);
	s->timer.data = s->prepare.data = s->idle.data = s;
	s->refs = 3;
	/* Through the loop, so that a failure never comes from inside this call. */
	uv_timer_start(&s->timer, open_started, 0, 0);
	return s;
}

size_t stream_pending(const struct stream *s)
{
	return s->out.len - s->out_start;
}

uint64_t stream_last_read_ms(const struct stream *s)
{
	return s->last_read_ms;
}

uint64_t stream_last_write_ms(const struct stream *s)
{
	return s->last_write_ms;
}

void stream_close(struct stream *s)
{
	if (!s)
		return;
	stream_stop(s, STREAM_CLOSED);
	if (s->is_resolving)
		uv_cancel((uv_req_t *)&s->resolver);
	uv_close((uv_handle_t *)&s->timer, handle_closed);
	uv_close((uv_handle_t *)&s->prepare, handle_closed);
	uv_close((uv_handle_t *)&s->idle, handle_closed);
}
