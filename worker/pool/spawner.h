/*
 * The spawner: a small single-threaded process, forked from the master before anything else is
 * there, that forks and reaps the executing processes. Forking stays fast and safe however large
 * and threaded the master gets, and since the reaper is also the one that kills, a signal cannot
 * hit a process number that was given away again.
 *
 * Master and spawner talk over a SOCK_SEQPACKET pair, one message per packet. The spawner ends when
 * the master's end is closed or the master dies, and takes its children along.
 */
#ifndef WORKER_POOL_SPAWNER_H
#define WORKER_POOL_SPAWNER_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "worker/pool/pool.h"
#include "worker/pool/share.h"

/* Makes blocking calls of a body return EINTR; sent to the thread that runs it. */
#define POOL_INTERRUPT_SIGNAL SIGUSR1
/* The exit code of a recycled process, as billiard's EX_RECYCLE. */
#define POOL_EXIT_RECYCLE 155

enum spawner_verb {
	SPAWNER_ADD,	   /* slot `slot` of `unit` gets the descriptor that comes along */
	SPAWNER_FORK,	   /* fork `unit` with the slots added since */
	SPAWNER_SIGNAL,	   /* kill(unit, signal) */
	SPAWNER_INTERRUPT, /* POOL_INTERRUPT_SIGNAL to the thread of `slot` of `unit` */
};
struct spawner_command {
	uint32_t verb, unit, slot;
	int32_t signal;
};

enum spawner_event { SPAWNER_FORKED, SPAWNER_FORK_FAILED, SPAWNER_EXITED };
struct spawner_report {
	uint32_t event, unit;
	int32_t pid;
	int32_t status; /* of wait(2); errno for FORK_FAILED */
};

/* Everything an executing process is made of. */
struct executor {
	const struct pool_options *pool;
	struct share_slot *share; /* of the first slot */
	unsigned first_slot, slot_count;
	const int *fds; /* one per slot */
};

/* Forks the spawner for up to `max_units` processes of `slots_per_unit` slots each. `share` has a
 * block per slot. *ret_fd is non-blocking. */
int spawner_start(const struct pool_options *options, struct share_slot *share, unsigned max_units,
		  unsigned slots_per_unit, pid_t *ret_pid, int *ret_fd, struct err *err);
/* `fd` -1 = none. -1 with errno (EAGAIN: try again when the socket is writable). */
int spawner_send(int spawner, const struct spawner_command *command, int fd);
/* 1 = got one, 0 = none now, -1 = the spawner is gone. */
int spawner_receive(int spawner, struct spawner_report *ret);

/* The process of a unit, in prefork.c and threads.c: returns its exit code. */
int prefork_main(const struct executor *x);
int threads_main(const struct executor *x);

#endif
