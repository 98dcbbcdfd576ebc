#include "transport/stream.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "transport/stream_inside.h"

#define READ_SIZE		  ((size_t)64 * 1024)
#define READ_BUDGET		  ((size_t)512 * 1024) /* per turn, so that no peer starves the others */
#define OUTPUT_KEEP		  ((size_t)256 * 1024)
#define SEAL_AT_ONCE		  ((size_t)256 * 1024) /* by TLS, before the socket gets it */
#define CONNECT_TIMEOUT_DEFAULT_S 4

static void output_arm(struct stream *s);
static void input_read(struct stream *s);
static void secure_failed(struct stream *s, const struct err *why);
static bool secure_step(struct stream *s);

void stream_unref(struct stream *s)
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

void stream_drop_socket(struct stream *s)
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
	stream_drop_socket(s);
	stream_tls_free(s->tls); /* the context may be gone as soon as the stream is closed */
	s->tls = NULL;
	uv_timer_stop(&s->timer);
	uv_prepare_stop(&s->prepare);
	uv_idle_stop(&s->idle);
}

void stream_fail(struct stream *s, const struct err *why)
{
	stream_stop(s, STREAM_FAILED);
	s->events->on_failed(s->ctx, why);
}

static bool is_open(const struct stream *s)
{
	return s->state == STREAM_UP || s->state == STREAM_HANDSHAKE;
}

static void stream_fail_errno(struct stream *s, const char *what, int code)
{
	struct err err = {0};

	errno = code;
	err_errno(&err, "%s", what);
	stream_fail(s, &err);
}

static void on_ready(uv_poll_t *poll, int status, int events);

void stream_watch(struct stream *s)
{
	int want = s->state == STREAM_CONNECTING ? UV_WRITABLE
						 : UV_READABLE | (s->wants_write ? UV_WRITABLE : 0);

	if (!s->poll || want == s->poll_events)
		return;
	s->poll_events = want;
	if (want)
		uv_poll_start(s->poll, want, on_ready);
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

/* The peer that hung up has often said why. */
static void output_failed(struct stream *s, int code)
{
	if (s->tls && !s->is_ending) {
		s->is_ending = true;
		input_read(s);
	}
	if (is_open(s))
		stream_fail_errno(s, "write to the connection", code);
}

/* False when the stream has failed. */
static bool output_seal(struct stream *s)
{
	size_t len = s->out.len - s->out_start;
	struct err err = {0};

	if (stream_tls_sealed(s->tls)->len >= SEAL_AT_ONCE || len == 0)
		return true;
	len = len < SEAL_AT_ONCE ? len : SEAL_AT_ONCE;
	if (stream_tls_write(s->tls, s->out.data + s->out_start, len, &err) != 0) {
		stream_fail(s, &err);
		return false;
	}
	s->out_start += len;
	output_compact(s);
	return true;
}

/* False when the stream has failed. */
static bool output_send(struct stream *s)
{
	struct str *sealed = s->tls ? stream_tls_sealed(s->tls) : NULL;
	const char *data = sealed ? sealed->data : s->out.data + s->out_start;
	size_t len = sealed ? sealed->len : stream_pending(s);
	ssize_t done = len > 0 ? send(s->fd, data, len, MSG_NOSIGNAL) : 0;

	if (done < 0 && errno != EAGAIN && errno != EINTR) {
		output_failed(s, errno);
		return false;
	}
	if (done > 0 && sealed) {
		str_consume(sealed, (size_t)done);
	} else if (done > 0) {
		s->out_start += (size_t)done;
		output_compact(s);
	}
	if (done > 0)
		s->last_write_ms = uv_now(s->loop);
	s->wants_write = done < (ssize_t)len;
	return true;
}

static void output_write(struct stream *s)
{
	do {
		if ((s->tls && !output_seal(s)) || !output_send(s))
			return;
	} while (!s->wants_write && stream_pending(s) > 0);
	if (!s->wants_write) {
		str_shrink(&s->out, OUTPUT_KEEP);
		if (s->tls)
			str_shrink(stream_tls_sealed(s->tls), OUTPUT_KEEP);
	}
	stream_watch(s);
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

static char *input_room(struct stream *s, size_t *ret_room)
{
	if (s->in_cap - s->in_len < READ_SIZE / 2) {
		s->in_cap = s->in_len + READ_SIZE;
		s->in = mem_realloc(s->in, s->in_cap);
	}
	*ret_room = s->in_cap - s->in_len;
	return s->in + s->in_len;
}

/* `code` is an errno value, 0 for the peer's regular end. */
static void input_ended(struct stream *s, int code)
{
	struct err err = {0};

	if (s->tls)
		stream_tls_explain(s->tls, code, &err);
	if (err.code)
		secure_failed(s, &err);
	else
		stream_fail_errno(s, "connection lost", code ? code : ECONNRESET);
}

/* Takes bytes that came in, and what TLS still holds of them. True while the stream is up, or on
 * its way there. */
static bool input_open(struct stream *s, size_t len)
{
	size_t had = s->in_len, room;
	struct err err = {0};
	ssize_t got;

	stream_tls_feed(s->tls, len);
	if (s->state == STREAM_HANDSHAKE && !secure_step(s))
		return s->state == STREAM_HANDSHAKE;
	do {
		char *to = input_room(s, &room);

		got = stream_tls_read(s->tls, to, room, &err);
		s->in_len += got > 0 ? (size_t)got : 0;
	} while (got > 0);
	if (stream_tls_sealed(s->tls)->len > 0)
		output_arm(s);
	if (s->in_len > had && !input_deliver(s))
		return false;
	if (got == 0)
		return true;
	secure_failed(s, &err);
	return false;
}

static bool input_take(struct stream *s, size_t len)
{
	if (s->tls)
		return input_open(s, len);
	s->in_len += len;
	return input_deliver(s);
}

static void input_read(struct stream *s)
{
	size_t budget = READ_BUDGET, room = STREAM_TLS_READ_SIZE;

	while (budget > 0) {
		char *to = s->tls ? stream_tls_room(s->tls) : input_room(s, &room);
		ssize_t got = recv(s->fd, to, room, 0);

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0) {
			input_ended(s, got < 0 ? errno : 0);
			return;
		}
		s->last_read_ms = uv_now(s->loop);
		/* A short read has emptied the socket; the loop tells when there is more. */
		if (!input_take(s, (size_t)got) || (size_t)got < room)
			return;
		budget -= (size_t)got < budget ? (size_t)got : budget;
	}
}

/* Events of the socket */

/* An errno value, 0 = none. */
static int socket_error(int fd)
{
	int code = 0;
	socklen_t len = sizeof(code);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) != 0)
		return errno;
	return code;
}

static void stream_up(struct stream *s)
{
	s->state = STREAM_UP;
	uv_timer_stop(&s->timer);
	s->last_read_ms = s->last_write_ms = uv_now(s->loop);
	stream_watch(s);
	stream_wake(s);
	s->events->on_connected(s->ctx);
}

/* TLS before anything else */

static void secure_failed(struct stream *s, const struct err *why)
{
	struct err err = *why;

	if (s->state == STREAM_HANDSHAKE)
		err_prefix(&err, "connect to %s:%d: ", s->host, s->port);
	stream_fail(s, &err);
}

/* Why we refuse the server, or a goodbye: so it need not take the end for an attack. */
static void secure_say_last(struct stream *s)
{
	const struct str *sealed = stream_tls_sealed(s->tls);

	if (sealed->len > 0)
		(void)!send(s->fd, sealed->data, sealed->len, MSG_NOSIGNAL);
}

/* True when the stream is up now. */
static bool secure_step(struct stream *s)
{
	struct err err = {0};
	int done = stream_tls_handshake(s->tls, &err);

	if (done < 0) {
		secure_say_last(s);
		secure_failed(s, &err);
		return false;
	}
	if (!output_send(s))
		return false;
	if (done > 0)
		stream_up(s);
	else
		stream_watch(s);
	return s->state == STREAM_UP;
}

void stream_connected(struct stream *s)
{
	if (!s->tls_context) {
		stream_up(s);
		return;
	}
	s->tls = stream_tls_new(s->tls_context, s->host);
	connect_secure(s);
	(void)secure_step(s);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct stream *s = poll->data;
	int code;

	if (s->state == STREAM_CONNECTING) {
		code = socket_error(s->fd);
		if (code == 0)
			stream_connected(s);
		else
			connect_failed(s, code);
		return;
	}
	/* After an error of the socket libuv stops the watcher, but what the peer said last may
	 * still be there to read, and it names the cause. */
	if ((events & UV_READABLE) || status < 0)
		input_read(s);
	if (is_open(s) && status < 0)
		input_ended(s, socket_error(s->fd));
	if (!is_open(s) || !(events & UV_WRITABLE))
		return;
	if (s->state == STREAM_HANDSHAKE) {
		if (output_send(s))
			stream_watch(s);
		return;
	}
	output_write(s);
	if (s->state == STREAM_UP && !s->wants_write)
		stream_wake(s); /* who was waiting for room goes on */
}

static void open_started(uv_timer_t *timer)
{
	connect_start(timer->data);
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
	s->tls_context = options->tls;
	s->keepalive = options->keepalive;
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
	return s->out.len - s->out_start + (s->tls ? stream_tls_sealed(s->tls)->len : 0);
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
	if (s->tls && s->state == STREAM_UP) {
		stream_tls_end(s->tls);
		secure_say_last(s);
	}
	stream_stop(s, STREAM_CLOSED);
	if (s->is_resolving)
		uv_cancel((uv_req_t *)&s->resolver);
	uv_close((uv_handle_t *)&s->timer, handle_closed);
	uv_close((uv_handle_t *)&s->prepare, handle_closed);
	uv_close((uv_handle_t *)&s->idle, handle_closed);
}
