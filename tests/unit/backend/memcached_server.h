/* A memcached of one test, on a free port, killed with it. */
#ifndef TESTS_UNIT_BACKEND_MEMCACHED_SERVER_H
#define TESTS_UNIT_BACKEND_MEMCACHED_SERVER_H

#include "tests/unit/support/redis_server.h"

struct memcached_server {
	int port;
	pid_t pid;
	int fd; /* of a plain client */
};

static inline int memcached_try(const struct memcached_server *s)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static inline void memcached_start(struct memcached_server *s)
{
	char port[16];

	if (s->port == 0)
		s->port = redis_server_free_port();
	snprintf(port, sizeof(port), "%d", s->port);
	s->pid = fork();
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("memcached", "memcached", "-u", "nobody", "-l", "127.0.0.1", "-U", "0", "-p",
		       port, (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 500 && (s->fd = memcached_try(s)) < 0; i++)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	ck_assert_int_ge(s->fd, 0);
}

static inline void memcached_stop(struct memcached_server *s)
{
	close(s->fd);
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
}

/* One command with a short answer, whose lines end in "|". */
static inline const char *memcached_ask(struct memcached_server *s, const char *command,
					char answer[512])
{
	size_t len = 0;

	ck_assert_int_eq(write(s->fd, command, strlen(command)), (ssize_t)strlen(command));
	do {
		ssize_t got = read(s->fd, answer + len, 511 - len);

		ck_assert_int_gt(got, 0);
		len += (size_t)got;
		answer[len] = '\0';
	} while (strcmp(answer + len - 2, "\r\n") != 0 ||
		 (strncmp(answer, "VALUE", 5) == 0 && strcmp(answer + len - 5, "END\r\n") != 0));
	for (char *p = answer; (p = strstr(p, "\r\n")) != NULL;)
		memmove(p + 1, p + 2, strlen(p + 2) + 1), *p = '|';
	return answer;
}

#endif
