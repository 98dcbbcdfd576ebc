/*
 * What became of the tasks, by name, for the metrics: plain numbers behind a task's index in the
 * registry, so that counting is an addition and no look-up. A name that was never received costs a
 * pointer.
 */
#ifndef WORKER_REQUEST_TALLY_H
#define WORKER_REQUEST_TALLY_H

#include "base/metrics.h"
#include "worker/task/registry.h"

enum tally_end {
	TALLY_SUCCEEDED,
	TALLY_FAILED,	/* raised, or could not send what was to follow */
	TALLY_TIMEOUT,	/* hard time limit */
	TALLY_LOST,	/* its process died */
	TALLY_RETRIED,	/* will run again: not an end of the task */
	TALLY_REQUEUED, /* given back to the broker: likewise */
	TALLY_IGNORED,
	TALLY_REJECTED,
	TALLY_REVOKED,	 /* expired, revoked, or terminated by remote control */
	TALLY_CANCELLED, /* cut off by a cold stop */
	TALLY_END_COUNT
};
const char *tally_end_name(enum tally_end end);

/* Where the time of waiting begins. */
enum tally_since {
	TALLY_RECEIVED, /* when this worker got the message */
	TALLY_SENT,	/* the message says when it was sent */
	TALLY_SINCE_COUNT
};
const char *tally_since_name(enum tally_since since);

struct tally {
	uint64_t received, ends[TALLY_END_COUNT];
	struct histogram run, wait[TALLY_SINCE_COUNT];
};

struct tallies {
	const struct registry *registry;
	struct tally **by_task;	    /* NULL until the task is received */
	struct metric_set *answers; /* service, provider, answer; made when the first one comes */
};

extern const char *const tally_answer_labels[];

void tallies_init(struct tallies *all, const struct registry *registry);
void tallies_clear(struct tallies *all);
/* Never NULL: made when it is missing. */
struct tally *tally_of(struct tallies *all, const struct task_entry *task);
/* NULL when the task was never received. */
const struct tally *tally_at(const struct tallies *all, unsigned index);

/* What a body noted with sm_answered: lines "service\tprovider\tanswer\n". Task code may have run
 * wild, so lines of another form do not count. */
void tally_answers(struct tallies *all, const char *lines);

#endif
