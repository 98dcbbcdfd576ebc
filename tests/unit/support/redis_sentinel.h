/* A Redis Sentinel of one test, on a free port, that watches one master named "mymaster" and may
 * fail it over by itself. */
#ifndef TESTS_UNIT_SUPPORT_REDIS_SENTINEL_H
#define TESTS_UNIT_SUPPORT_REDIS_SENTINEL_H

#include "tests/unit/support/redis_server.h"

/* `more` is added to its configuration. */
static inline void redis_sentinel_start(struct redis_server *s, int master_port, const char *more)
{
	char file[128];
	int64_t deadline = clock_mono_us() + 8000000;
	redisContext *c = NULL;
	FILE *out;

	redis_server_init(s);
	snprintf(file, sizeof(file), "%s/sentinel.conf", s->folder);
	out = fopen(file, "w");
	ck_assert_ptr_nonnull(out);
	fprintf(out,
		"port %d\nbind 127.0.0.1\nunixsocket %s\ndir %s\n"
		"sentinel monitor mymaster 127.0.0.1 %d 1\n"
		"sentinel down-after-milliseconds mymaster 500\n"
		"sentinel failover-timeout mymaster 3000\n%s\n",
		s->port, s->socket, s->folder, master_port, more);
	fclose(out);
	s->pid = fork();
	ck_assert_int_ge(s->pid, 0);
	if (s->pid == 0) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, 1);
		execlp("redis-server", "redis-server", file, "--sentinel", (char *)NULL);
		_exit(127);
	}
	while ((c = redis_server_try(s)) == NULL && clock_mono_us() < deadline)
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	ck_assert_msg(c != NULL, "the Sentinel does not start");
	redisFree(c);
}

#endif
