/* A redis-server of one test, on a free port, killed with it. Stop and start keep the port; data
 * survive a stop by SIGTERM or SIGKILL when it was started with persistence. */
#ifndef TESTS_UNIT_SUPPORT_REDIS_SERVER_H
#define TESTS_UNIT_SUPPORT_REDIS_SERVER_H

#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/support/temp_folder.h"

struct redis_server {
	int port;
	pid_t pid;
	char folder[64], socket[80];
	bool has_persistence;
	/* Not NULL: TLS only, with server.pem, server.key and ca.pem of this folder; clients have
	 * to show a certificate of that CA. */
	const char *tls_folder;
};

static inline int redis_server_free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	close(fd);
	return ntohs(address.sin_port);
}

/* A blocking client that is let in; NULL when the server does not answer yet. */
static inline redisContext *redis_server_try(const struct redis_server *s)
{
	redisContext *c = redisConnectUnix(s->socket);
	redisReply *reply;
	bool is_ready;

	if (c == NULL || c->err) {
		redisFree(c);
		return NULL;
	}
	reply = redisCommand(c, "PING");
	/* A server that wants a password is ready too. */
	is_ready = reply && (reply->type == REDIS_REPLY_STATUS ||
			     (reply->str && strncmp(reply->str, "NOAUTH", 6) == 0));
	freeReplyObject(reply);
	if (is_ready)
		return c;
	redisFree(c);
	return NULL;
}

/* A command of this client, and its answer. */
static inline redisReply *redis_server_ask(redisContext *client, const char *format, ...)
{
	va_list args;
	redisReply *reply;

	va_start(args, format);
	reply = redisvCommand(client, format, args);
	va_end(args);
	ck_assert_ptr_nonnull(reply);
	return reply;
}

/* Never returns. */
static inline void redis_server_run(const struct redis_server *s)
{
	char port[16], cert[128] = "", key[128] = "", ca[128] = "";
	bool has_tls = s->tls_folder != NULL;

	snprintf(port, sizeof(port), "%d", s->port);
	if (has_tls) {
		snprintf(cert, sizeof(cert), "%s/server.pem", s->tls_folder);
		snprintf(key, sizeof(key), "%s/server.key", s->tls_folder);
		snprintf(ca, sizeof(ca), "%s/ca.pem", s->tls_folder);
	}
	execlp("redis-server", "redis-server", "--port", has_tls ? "0" : port, "--tls-port",
	       has_tls ? port : "0", "--tls-cert-file", cert, "--tls-key-file", key,
	       "--tls-ca-cert-file", ca, "--bind", "127.0.0.1", "--unixsocket", s->socket, "--dir",
	       s->folder, "--save", "", "--appendonly", s->has_persistence ? "yes" : "no",
	       "--appendfsync", "no", (char *)NULL);
	_exit(127);
}

static inline void redis_server_start(struct redis_server *s)
{
	int64_t deadline = clock_mono_us() + 8000000;
	redisContext *c = NULL;

	s->pid = fork();
	ck_assert_int_ge(s->pid, 0);
	if (s->pid == 0) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, 1);
		redis_server_run(s);
	}
	while ((c = redis_server_try(s)) == NULL && clock_mono_us() < deadline)
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	ck_assert_msg(c != NULL, "redis-server does not start");
	redisFree(c);
}

static inline void redis_server_init(struct redis_server *s)
{
	memset(s, 0, sizeof(*s));
	temp_folder_make(s->folder);
	snprintf(s->socket, sizeof(s->socket), "%s/redis.sock", s->folder);
	s->port = redis_server_free_port();
}

static inline void redis_server_stop(struct redis_server *s, int signal)
{
	if (s->pid <= 0)
		return;
	kill(s->pid, signal);
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
}

static inline void redis_server_clear(struct redis_server *s)
{
	redis_server_stop(s, SIGKILL);
	temp_folder_remove(s->folder);
}

#endif
