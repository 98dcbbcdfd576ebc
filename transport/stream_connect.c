/* From a name to a connected socket: each address of the name is tried in turn. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/mem.h"
#include "transport/stream_inside.h"

static void address_try(struct stream *s);

void connect_failed(struct stream *s, int code)
{
	stream_drop_socket(s);
	err_clear(&s->last_error);
	errno = code;
	if (s->unix_path)
		err_errno(&s->last_error, "connect to %s", s->unix_path);
	else
		err_errno(&s->last_error, "connect to %s:%d", s->host, s->port);
	address_try(s);
}

static void socket_tune(int fd, const struct stream_keepalive *k)
{
	const struct {
		int level, name, value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{SOL_SOCKET, SO_KEEPALIVE, !k->is_off},
		{IPPROTO_TCP, TCP_KEEPIDLE, k->idle_s > 0 ? k->idle_s : 60},
		{IPPROTO_TCP, TCP_KEEPCNT, k->count > 0 ? k->count : 9},
		{IPPROTO_TCP, TCP_KEEPINTVL, k->interval_s > 0 ? k->interval_s : 10},
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
		socket_tune(s->fd, &s->keepalive);
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
	stream_watch(s);
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

	if (s->state == STREAM_CONNECTING && s->next_address && uv_now(s->loop) < s->deadline_ms) {
		connect_failed(s, ETIMEDOUT);
		return;
	}
	if (s->state == STREAM_HANDSHAKE)
		err_set(&err, ERR_TIMEOUT,
			"connect to %s:%d: TLS: the server did not answer in time (does it speak "
			"TLS on this port?)",
			s->host, s->port);
	else if (s->unix_path)
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

void connect_secure(struct stream *s)
{
	uint64_t now = uv_now(s->loop);

	s->state = STREAM_HANDSHAKE;
	uv_timer_start(&s->timer, deadline_passed, s->deadline_ms > now ? s->deadline_ms - now : 1,
		       0);
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
		stream_drop_socket(s);
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

void connect_start(struct stream *s)
{
	uint64_t timeout_ms = s->deadline_ms;

	s->deadline_ms = uv_now(s->loop) + timeout_ms;
	uv_timer_start(&s->timer, deadline_passed, timeout_ms, 0);
	if (s->unix_path)
		unix_try(s);
	else
		resolve_start(s);
}
