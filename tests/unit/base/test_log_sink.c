#include "base/log_sink.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define SOME 4000 /* lines, more than any pipe holds */

static char got[1 << 22];

/* What can be read without waiting. */
static const char *drain(int fd)
{
	size_t len = 0;

	for (;;) {
		struct pollfd more = {.fd = fd, .events = POLLIN};
		ssize_t n = poll(&more, 1, 50) > 0 ? read(fd, got + len, sizeof(got) - 1 - len) : 0;

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	got[len] = '\0';
	return got;
}

static unsigned count_of(const char *text, const char *part)
{
	unsigned count = 0;

	while ((text = strstr(text, part)) != NULL) {
		count++;
		text++;
	}
	return count;
}

/* Two ends of a pipe (0) or a socket (1); [1] is to be written to. */
static void make_ends(int kind, int ends[2])
{
	if (kind == 0)
		ck_assert_int_eq(pipe(ends), 0);
	else
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
}

static double seconds_since(int64_t start_us)
{
	return (double)(clock_mono_us() - start_us) / 1e6;
}

START_TEST(a_reader_that_does_not_read_costs_a_moment_once)
{
	for (int kind = 0; kind < 2; kind++) {
		int64_t start_us = clock_mono_us();
		struct log_sink s;
		unsigned taken = 0;
		int ends[2];

		make_ends(kind, ends);
		log_sink_open(&s, ends[1]);
		for (int i = 0; i < SOME; i++)
			taken += log_sink_put(&s, "a line of some length, and a number of them\n",
					      44);
		ck_assert_double_lt(seconds_since(start_us), 2.0);
		ck_assert_double_ge(seconds_since(start_us), LOG_PATIENCE_MS / 1000.0);
		ck_assert_uint_gt(taken, 100);
		ck_assert_uint_eq(s.dropped, SOME - taken);
		(void)drain(ends[0]);
		ck_assert(log_sink_put(&s, "back\n", 5));
		ck_assert(!s.is_stuck);
		ck_assert_uint_eq(log_sink_take_dropped(&s), SOME - taken);
		ck_assert_uint_eq(log_sink_take_dropped(&s), 0);
		ck_assert_str_eq(strrchr(drain(ends[0]), '\n') - 4, "back\n");
		log_sink_close(&s);
	}
}
END_TEST

START_TEST(a_line_that_was_begun_is_ended_before_the_next)
{
	static char big[300001];
	struct log_sink s;
	int ends[2];
	size_t seen = 0;

	make_ends(0, ends);
	log_sink_open(&s, ends[1]);
	memset(big, 'x', sizeof(big) - 2);
	big[sizeof(big) - 2] = '\n';
	ck_assert(log_sink_put(&s, big, sizeof(big) - 1));
	ck_assert_uint_gt(s.rest_len, 0);
	ck_assert(!log_sink_put(&s, "second\n", 7));
	for (int i = 0; i < 10; i++) {
		seen += strlen(drain(ends[0]));
		if (log_sink_put(&s, "third\n", 6))
			break;
	}
	drain(ends[0]);
	seen += strlen(got);
	ck_assert_uint_eq(seen, sizeof(big) - 1 + 6);
	ck_assert_uint_eq(count_of(got, "\nthird\n"), 1);
	ck_assert_uint_eq(count_of(got, "second"), 0);
	log_sink_close(&s);
}
END_TEST

START_TEST(a_descriptor_that_others_share_keeps_its_flags)
{
	struct log_sink s;
	int ends[2];

	make_ends(0, ends);
	log_sink_open(&s, ends[1]);
	ck_assert(s.is_own);
	ck_assert_int_eq(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_ne(fcntl(s.fd, F_GETFL) & O_NONBLOCK, 0);
	log_sink_close(&s);
}
END_TEST

START_TEST(a_pipe_that_cannot_be_opened_again_does_not_block_either)
{
	struct log_sink s;
	int ends[2];

	make_ends(0, ends);
	log_sink_open(&s, ends[1]);
	(void)close(s.fd);
	s.fd = ends[1];
	s.is_own = false;
	for (int i = 0; i < SOME; i++)
		(void)log_sink_put(&s, "a line of some length, and a number of them\n", 44);
	ck_assert_uint_gt(s.dropped, 0);
	log_sink_close(&s);
}
END_TEST

START_TEST(a_reader_that_is_gone_stops_nobody)
{
	struct log_sink s;
	int ends[2];

	signal(SIGPIPE, SIG_IGN);
	make_ends(0, ends);
	log_sink_open(&s, ends[1]);
	(void)close(ends[0]);
	ck_assert(log_sink_put(&s, "a\n", 2));
	ck_assert_uint_eq(s.dropped, 0);
	log_sink_close(&s);
}
END_TEST

static void *read_slowly(void *arg)
{
	int fd = *(int *)arg;
	char chunk[2000];

	while (read(fd, chunk, sizeof(chunk)) > 0)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	return NULL;
}

START_TEST(a_slow_reader_gets_every_line)
{
	struct log_sink s;
	pthread_t reader;
	int ends[2];

	make_ends(0, ends);
	log_sink_open(&s, ends[1]);
	ck_assert_int_eq(pthread_create(&reader, NULL, read_slowly, &ends[0]), 0);
	for (int i = 0; i < SOME; i++)
		ck_assert(log_sink_put(&s, "a line of some length, and a number of them\n", 44));
	log_sink_close(&s);
	(void)close(ends[1]);
	ck_assert_int_eq(pthread_join(reader, NULL), 0);
}
END_TEST

START_TEST(the_log_says_how_many_lines_are_missing)
{
	int ends[2];
	unsigned long dropped = 0;

	make_ends(0, ends);
	ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
	ck_assert_int_eq(log_open(NULL, LOG_TEXT, LOG_INFO), 0);
	for (int i = 0; i < SOME; i++)
		log_info("line");
	unsigned before = count_of(drain(ends[0]), "] line\n");

	log_info("line");
	log_info("line");
	const char *notice = strstr(drain(ends[0]), "WARNING/MainProcess] ");

	ck_assert_ptr_nonnull(notice);
	ck_assert_int_eq(
		sscanf(notice, "WARNING/MainProcess] %lu lines of the log were dropped", &dropped),
		1);
	ck_assert_uint_eq(before + dropped, SOME);
	ck_assert_uint_eq(count_of(got, "] line\n"), 2);
	ck_assert_uint_eq(count_of(got, "dropped"), 1);
}
END_TEST

START_TEST(a_child_does_not_tell_what_its_parent_dropped)
{
	struct log_sink s;
	int ends[2], status;

	make_ends(0, ends);
	log_sink_open(&s, ends[1]);
	for (int i = 0; i < SOME; i++)
		(void)log_sink_put(&s, "a line of some length, and a number of them\n", 44);
	ck_assert_uint_gt(s.dropped, 0);
	pid_t child = fork();

	if (child == 0)
		_exit(log_sink_take_dropped(&s) == 0 ? 0 : 1);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_gt(log_sink_take_dropped(&s), 0);
	log_sink_close(&s);
}
END_TEST
