/*
 * The master's view of its pool, shared by pool.c (the interface), pool_slot.c (which job goes
 * where, and its limits), pool_end.c (what a slot says, and how jobs end), pool_link.c (bytes to
 * and from a slot), pool_unit.c (processes) and pool_size.c (how many of them).
 *
 * A unit is what dies together: a process with one slot (prefork), with all slots (threads), or a
 * thread of ours (solo). A slot runs one job after the other. A link is one life of a slot's
 * socket. A job is on exactly one list: `ready` (no slot), its slot's `jobs`, or `ended`.
 */
#ifndef WORKER_POOL_POOL_STATE_H
#define WORKER_POOL_POOL_STATE_H

#include "base/heap.h"
#include "base/str.h"
#include "worker/pool/pool.h"
#include "worker/pool/share.h"
#include "worker/pool/solo.h"
#include "worker/pool/spawner.h"

#define POOL_SHORT_US 1000 /* with shorter average run times a slot gets jobs ahead */
#define POOL_SLOW_US  2000 /* a job running longer than this loses what waits behind it */
#define POOL_LOOK_US  1000 /* from what may have begun a job until it is looked whether it has */
#define POOL_BIG      ((size_t)8 << 10) /* a larger job goes to an idle slot, uncopied */

struct pool_link {
	uv_poll_t poll;
	struct pool_slot *slot;
	int fd;
	int events; /* polled for; 0 = none */
	bool is_eof;
	struct str in; /* an incomplete frame; with `tail` set: prefix and head */
	struct frame frame;
	char *tail; /* being read into; NULL = none */
	size_t tail_done;
	uint32_t ring_at;     /* bytes taken out of the ring */
	uint16_t next_number; /* of the frame whose turn it is */
	bool is_visiting;     /* inside link_visit: callbacks may want to look again */
};

struct pool_slot {
	struct list_node node;	     /* on pool->by_load while there is room */
	struct list_node dirty_node; /* on pool->dirty while there is something new to write */
	struct pool *pool;
	struct pool_unit *unit;
	struct share_slot *share;
	unsigned index;
	struct pool_link *link; /* NULL = not connected */
	struct list_node jobs;	/* in order of sending; the first one may run */
	unsigned outstanding;	/* their number */
	unsigned next_place;
	unsigned room;	  /* counted in pool->room */
	uint64_t runs;	  /* outcomes of this process */
	uint64_t written; /* jobs ever written to this slot, whoever runs it */
	double average_us;
	bool has_average;
	bool is_slow;	   /* the running job took longer than POOL_SLOW_US */
	bool is_finishing; /* inside the callbacks of the first job's end */
	bool is_closed;	   /* our sending side is shut: it ends after what it has */
	/* Output: small frames are copied, then comes at most one big job's tail. */
	struct str out;
	size_t out_done;
	struct pool_job *big;
	size_t big_done;
	bool is_blocked; /* the socket is full */
	/* Moments at which slot_tick has something to do; 0 = none. */
	struct heap_node due;
	int64_t look_us, signal_us, kill_us, respawn_us;
	int64_t look_step_us;
	unsigned signals_left;
};

enum pool_doom {
	DOOM_NONE,
	DOOM_RETIRED,	 /* recycled or stopped: ends by itself */
	DOOM_TIMEOUT,	 /* hard limit */
	DOOM_TERMINATED, /* pool_terminate */
	DOOM_KILLED,	 /* pool_kill, or its frames made no sense */
};

struct pool_unit {
	unsigned index;
	struct pool_slot *slots;
	unsigned slot_count;
	pid_t pid;
	bool is_alive;	     /* from the command to fork until the report of its end */
	bool has_run;	     /* began at least one job */
	bool is_broken;	     /* spoke nonsense and was killed for it */
	bool is_wanted;	     /* counted in pool->wanted: replaced when it ends */
	bool is_stale;	     /* older than the last pool_restart */
	enum pool_doom doom; /* not NONE: gets no more jobs */
};

/* A command that waits until the spawner's socket takes it. */
struct pool_command {
	struct spawner_command command;
	int fd; /* closed once sent; -1 = none */
};

struct pool {
	struct pool_options options;
	struct share_slot *share;
	size_t share_bytes;
	/* Those that exist or once did; one that is neither wanted nor alive is taken by the next
	 * growth. Each keeps its place in the shared memory. */
	struct pool_unit **units;
	unsigned unit_count, units_alive, wanted;
	unsigned max_units, slots_per_unit;
	struct list_node by_load[FRAME_PLACES]; /* slots with room by jobs outstanding */
	struct list_node ready, ended, dirty;
	unsigned ready_count;
	unsigned room;
	uint64_t serial;
	struct heap due;
	int64_t armed_us; /* the timer's moment; 0 = not running */
	unsigned early_deaths;
	int64_t fork_told_us; /* the last line about a fork that failed; 0 = none */
	/* the spawner */
	pid_t spawner_pid;
	int spawner_fd;
	struct pool_command *commands;
	size_t command_count, command_cap;
	struct solo *solo;
	/* the loop */
	uv_timer_t timer;
	uv_prepare_t prepare; /* runs while has_work */
	uv_idle_t idle;	      /* keeps the loop from waiting until it has */
	uv_poll_t spawner_poll;
	unsigned open_handles;
	bool is_started, is_stopping, is_killed, has_work, has_new_room, is_told_stopped,
		is_told_fatal, is_restarting;
	bool is_left_behind; /* a thread that cannot be ended still uses this */
	void (*on_stopped)(void *ctx);
	void *stopped_ctx;
	struct pool_stats stats;
	char scratch[16 << 10], ring_copy[RING_BYTES];
};

/* pool.c */
void pool_wake(struct pool *p); /* runs the end of this loop turn's work */
void pool_arm(struct pool *p);	/* sets the timer for the earliest slot */
void pool_notice(struct pool *p, int level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* pool_slot.c */
struct pool_job *slot_first(const struct pool_slot *slot); /* NULL when it is idle */
struct share_place *slot_place(const struct pool_job *job);
void slot_look_in(struct pool_slot *slot, int64_t delay_us);
void slot_begin(struct pool_slot *slot, struct pool_job *job);	/* says so once */
void slot_detach(struct pool_slot *slot, struct pool_job *job); /* the caller knows where to */
void pool_wake_sleeper(_Atomic uint32_t *word);
void pool_job_parts(const struct pool_job *job, struct frame_run *run); /* of its frame's tail */
void slot_refresh(struct pool_slot *slot);  /* after anything that changes its room */
void slot_schedule(struct pool_slot *slot); /* after anything that changes its moments */
void slot_tick(struct pool_slot *slot, int64_t now_us);
void slot_written(struct pool_slot *slot);		       /* all output has left */
bool slot_steal(struct pool_slot *slot, struct pool_job *job); /* true: the job is off the slot */
void slot_steal_queued(struct pool_slot *slot); /* all behind the first, to `ready` */
void slot_interrupt(struct pool_slot *slot, struct pool_job *job);
/* Kills the process for the sake of its running job; false when that job is over already. */
bool slot_doom(struct pool_slot *slot, enum pool_doom doom, int signal);
void slot_retire(struct pool_slot *slot, int exit_code);
void pool_dispatch(struct pool *p);

/* pool_end.c */
int slot_frame(struct pool_slot *slot, const struct frame *f, char **tail, struct err *err);
void slot_abandon(struct pool_slot *slot, const char *how); /* its process is gone */

/* pool_link.c */
void link_open(struct pool_slot *slot, int fd);
void link_flush(struct pool_slot *slot);
void link_visit(struct pool_slot *slot); /* takes what is in the ring, rung for or not */
void link_drain(struct pool_slot *slot); /* reads what a dead process left behind */
void link_close(struct pool_slot *slot);

/* pool_unit.c */
int unit_start(struct pool_unit *unit, struct err *err);
void unit_doom(struct pool_unit *unit, enum pool_doom doom, int signal); /* 0 = no signal */
void unit_signal(struct pool_unit *unit, int signal);
void unit_exited(struct pool_unit *unit, int status);
void unit_respawn(struct pool_unit *unit);
void pool_send_commands(struct pool *p);
void pool_command(struct pool *p, const struct spawner_command *command, int fd);

/* pool_size.c */
struct pool_unit *pool_add_unit(struct pool *p); /* wanted, not started */
void unit_vacate(struct pool_unit *unit);	 /* it has ended and nobody wants another */
bool pool_is_replacing(const struct pool *p);	 /* a wanted process is on its way */
void pool_roll(struct pool *p);			 /* the next step of a restart */

#endif
