/* Between a client and a Redis server: the first connection is cut right before the command that
 * begins with `cut`; what came before it reaches the server. Or else, with redis_relay_start_deaf,
 * right before the answer that holds `cut`. Later connections pass. */
#ifndef TESTS_UNIT_BACKEND_REDIS_RELAY_H
#define TESTS_UNIT_BACKEND_REDIS_RELAY_H

#include <poll.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "tests/unit/support/redis_server.h"

struct redis_relay {
	int port, listener;
	pid_t pid;
};

static inline int relay_connect(int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0)
		_exit(1);
	return fd;
}

static inline void relay_pass(int client, int server, const char *cut, const char *cut_answer)
{
	char bytes[65536];
	struct pollfd fds[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};

	while (poll(fds, 2, -1) > 0) {
		ssize_t len;
		const char *at;

		if (fds[1].revents) {
			len = read(server, bytes, sizeof(bytes));
			if (len > 0 && cut_answer &&
			    memmem(bytes, (size_t)len, cut_answer, strlen(cut_answer)))
				return;
			if (len <= 0 || write(client, bytes, (size_t)len) != len)
				return;
		}
		if (!fds[0].revents)
			continue;
		len = read(client, bytes, sizeof(bytes));
		if (len <= 0)
			return;
		at = cut ? memmem(bytes, (size_t)len, cut, strlen(cut)) : NULL;
		if (write(server, bytes, at ? (size_t)(at - bytes) : (size_t)len) < 0)
			return;
		if (at == NULL)
			continue;
		/* The answer says that the server has carried out what it got. */
		(void)!read(server, bytes, sizeof(bytes));
		return;
	}
}

/* Any number of connections at a time; the first that brings `cut` is cut. */
static inline void relay_serve_all(int listener, int server_port, const char *cut)
{
	bool *is_cut = mmap(NULL, sizeof(*is_cut), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int client = accept(listener, NULL, NULL);

		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			relay_pass(client, relay_connect(server_port), NULL, *is_cut ? NULL : cut);
			*is_cut = true;
			_exit(0);
		}
		close(client);
	}
}

static inline void redis_relay_begin(struct redis_relay *r, int server_port, const char *cut,
				     const char *cut_answer)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t len = sizeof(at);

	r->listener = socket(AF_INET, SOCK_STREAM, 0);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(r->listener, (const struct sockaddr *)&at, len), 0);
	ck_assert_int_eq(getsockname(r->listener, (struct sockaddr *)&at, &len), 0);
	ck_assert_int_eq(listen(r->listener, 8), 0);
	r->port = ntohs(at.sin_port);
	r->pid = fork();
	ck_assert_int_ge(r->pid, 0);
	if (r->pid > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (cut_answer)
		relay_serve_all(r->listener, server_port, cut_answer);
	for (;; cut = NULL) {
		int client = accept(r->listener, NULL, NULL), server = relay_connect(server_port);

		relay_pass(client, server, cut, NULL);
		close(client);
		close(server);
	}
}

static inline void redis_relay_start(struct redis_relay *r, int server_port, const char *cut)
{
	redis_relay_begin(r, server_port, cut, NULL);
}

static inline void redis_relay_start_deaf(struct redis_relay *r, int server_port, const char *cut)
{
	redis_relay_begin(r, server_port, NULL, cut);
}

static inline void redis_relay_stop(struct redis_relay *r)
{
	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	close(r->listener);
}

#endif
