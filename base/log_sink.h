/*
 * Where log lines go: a descriptor. A file takes them always. A pipe or a socket may have a reader
 * that does not read; then a line is waited for once, briefly, and from there on lines are dropped
 * and counted until the reader is back: who only wants to log must not stop for ever.
 *
 * Terminals are written to as they are: who stops one (Ctrl-S) wants to see the rest later.
 */
#ifndef BASE_LOG_SINK_H
#define BASE_LOG_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LOG_PATIENCE_MS 250 /* for a reader that is slow */

struct log_sink {
	int fd;
	bool may_refuse; /* a pipe or a socket */
	bool is_socket;
	bool is_own;   /* opened here: to be closed, and never blocks */
	bool is_stuck; /* the last line was not taken */
	uint64_t dropped;
	/* The end of a line whose beginning the reader has got; of this process only. */
	char *rest;
	size_t rest_len;
	pid_t owner;
};

/* `fd` stays the caller's. */
void log_sink_open(struct log_sink *s, int fd);
void log_sink_close(struct log_sink *s);
/* All of it, or nothing: false, and counted as dropped. A line that was begun counts as taken; its
 * end goes first next time. Not thread-safe when may_refuse. */
bool log_sink_put(struct log_sink *s, const char *line, size_t len);
/* Lines dropped since the last call for which the caller will say so. */
uint64_t log_sink_take_dropped(struct log_sink *s);

#endif
