/*
 * Canvas: what is to be sent when a task has ended (its links, the next step of its chain, its
 * errbacks), when a chord is complete or has failed, when a task replaces itself, and when anybody
 * calls a signature. Pure: from messages and signatures to messages. Sources: celery/canvas.py,
 * celery/app/trace.py (_dispatch_callbacks_and_chain), celery/app/task.py (replace, add_to_chord),
 * celery/backends/base.py (_fail_chain, _call_task_errbacks, chord_error_from_stack). contract:
 * tasks.md 6
 *
 * Ids that Celery would draw at random are made of the id of the task that causes the message and
 * of the message's position, so that a repeat after a crash sends the same ids.
 */
#ifndef PROTOCOL_CANVAS_H
#define PROTOCOL_CANVAS_H

#include "protocol/signature.h"

/* Does the message name anything that follows it? */
bool canvas_is_empty(const struct task_message *t);
bool canvas_has_links(const struct task_message *t); /* or a chain */
bool canvas_has_errbacks(const struct task_message *t);
/* -1 when something in it cannot be read. */
int canvas_check(const struct task_message *t, struct err *err);

/* A chord that the messages begin. */
struct canvas_chord {
	char *group_id;
	size_t size;	  /* parts that will report */
	size_t before;	  /* index in all[]: stored before this message goes out */
	char *group;	  /* JSON text: the result tuple of its header, [[id, null], [...]] */
	bool keeps_group; /* members have results of a nested form: the join needs `group` */
};

/* Messages to send, in order. */
struct canvas {
	struct outgoing *all;
	size_t count;
	struct canvas_chord *chords; /* by `before` */
	size_t chord_count;
	char *children; /* JSON text: list of what was called, for the caller's record; NULL = none
			 */
};
void canvas_init(struct canvas *c);
void canvas_clear(struct canvas *c);

/* How the result backend completes chords. */
enum canvas_chords {
	CHORDS_NONE,	/* not at all: to begin one is an error */
	CHORDS_COUNTED, /* Redis: by a count of the parts */
	CHORDS_SAVED,	/* memcached: likewise, with the group saved */
	CHORDS_POLLED,	/* others: a celery.chord_unlock task is sent */
};

struct canvas_options {
	const char *origin;
	int64_t now_us;
	size_t max_bytes; /* of one body */
	/* As in struct signature_call; may be NULL. */
	bool (*has_secrets)(const void *ctx, const char *task);
	const void *secrets_ctx;
	enum canvas_chords chords;
	bool inherits_priority; /* task_inherit_parent_priority */
	/* Is this errback of the task with that id called in this worker (with request, exception
	 * and traceback)? Then no message is made of it. Asked once per errback; NULL = none is. */
	bool (*takes_errback)(void *ctx, const struct signature *errback, const char *failed_id);
	void *errback_ctx;
};

/*
 * All of these add to `c`, which was initialized; on error it is empty again.
 */

/* The links and the next step of the chain; `result` is JSON text. */
int canvas_after_success(struct canvas *c, const struct task_message *t, struct span result,
			 const struct canvas_options *options, struct err *err);
/* The errbacks, called with the id of the task that failed. */
int canvas_after_failure(struct canvas *c, const struct task_message *t,
			 const struct canvas_options *options, struct err *err);

/* Who calls a signature. Texts are borrowed. */
struct canvas_call {
	struct span argument; /* JSON text put in front of the arguments; .data NULL = none */
	const char *parent_id, *root_id; /* of the calling task; NULL = nobody's */
	const char *seed;		 /* what fresh ids are made of; NULL = they are random */
	int priority;			 /* of the calling task's delivery; -1 = none */
};
/* Any signature: of a task, chain, group, chord. Its result's id is its option `task_id`, where it
 * has one. */
int canvas_apply(struct canvas *c, const json_t *signature, const struct canvas_call *call,
		 const struct canvas_options *options, struct err *err);

/* The signature takes the place of the task that runs. ERR_INVALID when Celery would refuse it. */
int canvas_replace(struct canvas *c, const struct task_message *t, const json_t *signature,
		   const struct canvas_options *options, struct err *err);
/* The signature becomes one more part of the chord that the task is a part of. The chord's count
 * of extra parts must be raised by one before the message goes out. Without an option `task_id`
 * its id is random. */
int canvas_add_to_chord(struct canvas *c, const struct task_message *t, const json_t *signature,
			const struct canvas_options *options, struct err *err);

/* The chord is complete: its body, called by `t` (the part that completed it, whose t->chord is the
 * body then, or celery.chord_unlock). `results` is the JSON text of a list. */
int canvas_chord_body(struct canvas *c, const struct task_message *t, struct span body,
		      struct span results, const struct canvas_options *options, struct err *err);

/* Called for each task that will never run and has a result somebody may wait for. The signature is
 * valid until return; step->chord is set where the task was a part of a chord, to which it reports
 * with its group_id and group_index. */
typedef void canvas_step_fn(void *ctx, const struct signature *step);
/* The steps behind a failed task. */
void canvas_each_step_left(const struct task_message *t, canvas_step_fn *step, void *ctx);

/* A chord has failed. The errbacks of its body, which are called before the records are stored, and
 * the tasks that fail with it: `step` for those with the ChordError, `member` for the members of a
 * group body and the group itself, which get the exception behind it. */
int canvas_chord_failed(struct canvas *c, struct span body, canvas_step_fn *step,
			canvas_step_fn *member, void *ctx, const struct canvas_options *options,
			struct err *err);

#endif
