/*
 * Who executes. One interface, three drivers: prefork (a process per slot, forked by an early,
 * single-threaded spawner), threads (one executor process with a thread per slot), solo (one thread
 * of this process, for debugging). All of them run the same slot code (pool/slot.c) and talk frames
 * over a socket pair; a small shared page per slot says which job was started, so that "accepted"
 * costs no system call and a dead slot's unstarted jobs can be given to another one.
 *
 * Threads: loop thread only. Calls never block.
 */
#ifndef WORKER_POOL_POOL_H
#define WORKER_POOL_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/err.h"
#include "base/list.h"
#include "protocol/task_message.h"
#include "worker/task/job.h"
#include "worker/task/registry.h"

struct pool;

enum pool_kind { POOL_PREFORK, POOL_THREADS, POOL_SOLO };

/* One task to run. Embedded in the request; the spans and strings are borrowed until on_done. */
struct pool_job {
	/* set by the caller */
	const struct task_entry *task;
	const char *id;
	int retries, max_retries;
	bool is_redelivered;
	struct span args, kwargs, custom_headers;
	const struct task_message *message; /* for what else the task asks; NULL = not known */
	/* 0 = none. Both count from acceptance, also when both are set (Celery then starts the hard
	 * clock when the soft one rings: the same moment). */
	double soft_limit_s, hard_limit_s;
	/* the pool's own */
	struct list_node node;
	uint64_t serial;
	struct pool_slot *slot;
	int64_t started_us; /* monotonic; 0 = not accepted yet */
	unsigned place;	    /* in the slot's shared page */
	bool is_soft_sent, is_killed, is_terminated, is_refused;
};

struct pool_events {
	/* The slot began with the body. `started_wall_us` for the request's time_start. */
	void (*on_accepted)(void *ctx, struct pool_job *job, pid_t pid);
	void (*on_state)(void *ctx, struct pool_job *job, const char *state, const char *meta,
			 size_t len);
	/* The body sends a task: a signature as JSON text. pool_sent is to be called once it is
	 * done with, before or after on_done. */
	void (*on_send)(void *ctx, struct pool_job *job, enum job_send how, const char *signature,
			size_t len);
	/* The soft limit of this job passed; the body has been told. */
	void (*on_soft_limit)(void *ctx, struct pool_job *job);
	/* Any end but pool_take_back. Always preceded by on_accepted, except for jobs that were
	 * terminated before they began or whose id is too long to be run (a failure). Takes
	 * nothing: the pool clears the outcome. */
	void (*on_done)(void *ctx, struct pool_job *job, struct outcome *outcome);
	/* A free slot may have appeared: the pump should run. */
	void (*on_room)(void *ctx);
	/* One line for the log (child exited with signal 9 (SIGKILL), replaced, over memory
	 * limit...). */
	void (*on_notice)(void *ctx, int level, const char *text);
	/* The pool cannot go on (spawner gone). */
	void (*on_fatal)(void *ctx, const char *text);
};

struct pool_options {
	uv_loop_t *loop;
	enum pool_kind kind;
	unsigned concurrency;	  /* to begin with; 0 = 1, unless max_concurrency is set */
	unsigned max_concurrency; /* that pool_grow may reach (prefork); 0 = concurrency */
	const struct registry *registry;
	const struct pool_events *events;
	void *ctx;
	unsigned max_tasks_per_child;		  /* 0 = no limit */
	uint64_t max_memory_per_child_kib;	  /* 0 = no limit */
	size_t max_payload_bytes;		  /* arguments or result; larger results fail */
	const char *(*setting)(const char *name); /* for the task API */
	const char *node_name;			  /* likewise; may be NULL */
	const char *const *template_dirs;
};

/* Forks the spawner. To be called before any thread exists and any connection is open. */
int pool_prepare(struct pool **ret_pool, const struct pool_options *options, struct err *err);
/* Starts the slots, once the loop is there (options->loop may be set late by this call). */
int pool_start(struct pool *p, uv_loop_t *loop, struct err *err);
/* How many more jobs the pool wants right now. With short tasks that is more than the free slots (a
 * slot gets a few ahead); what waits behind a slow task is moved to a free slot. */
unsigned pool_room(const struct pool *p);
void pool_submit(struct pool *p, struct pool_job *job);
/* What on_send gave, `len` bytes, is with its server or has failed: the body may send more. */
void pool_sent(struct pool *p, struct pool_job *job, size_t len);
/* Takes back a job that was not started; false when it was. */
bool pool_take_back(struct pool *p, struct pool_job *job);
/* Kills the slot that runs it (prefork only; else the soft flag is raised). on_done follows with
 * OUTCOME_TERMINATED. May be called again, with a signal that it does not survive. SIGUSR1 tells
 * the body that its soft limit has passed, as in Celery, and nothing else. */
void pool_terminate(struct pool *p, struct pool_job *job, int signal);
/* Ends idle slots now, busy ones when done; `on_stopped` when no slot is left (from inside the call
 * when the pool was never started). */
void pool_stop(struct pool *p, void (*on_stopped)(void *ctx), void *ctx);
/* Kills everything at once. */
void pool_kill(struct pool *p);
/* Ends what is left of the pool. Not from inside its callbacks. The loop must turn once more for
 * the handles to be released. */
void pool_free(struct pool *p);

/* The size. Prefork only; the other kinds have the size they began with. Celery's rules and texts:
 * shrinking ends idle processes only, as many as there are, and fails when those were too few. */
unsigned pool_size(const struct pool *p); /* processes or threads there are to be */
int pool_grow(struct pool *p, unsigned n, struct err *err);
int pool_shrink(struct pool *p, unsigned n, struct err *err);
/* Replaces all processes, one after the other, each when it has nothing to do. Nothing but prefork
 * can do that: false. */
bool pool_restart(struct pool *p);

/* One process of a prefork pool, by its place. */
struct pool_process {
	pid_t pid;	  /* 0 = none at the moment */
	uint64_t written; /* jobs written to the process in this place, now and before */
	bool is_writing;  /* a job is on its way in pieces */
};
/* False behind the last place. */
bool pool_process_at(const struct pool *p, unsigned place, struct pool_process *ret);

struct pool_stats {
	unsigned slots, busy;
	uint64_t accepted, done, lost, recycled;
	pid_t pids[64]; /* the first 64 */
	unsigned pid_count;
};
void pool_stats(const struct pool *p, struct pool_stats *ret_stats);
const char *pool_kind_name(enum pool_kind kind);

#endif
