/*
 * Chords, from the side of the tasks in their headers: each part that ends is reported to the
 * result store; whoever reports the last one joins the results and sends the body, or fails the
 * chord. Sources: celery/backends/base.py and redis.py (on_chord_part_return,
 * chord_error_from_stack, _fail_chain). contract: tasks.md 6.6, 6.8
 *
 * Other than in Celery the body of a failed chord reports to the chord that it is a part of itself:
 * there the outer chord would wait for ever.
 */
#ifndef WORKER_FINISH_CHORD_H
#define WORKER_FINISH_CHORD_H

#include "worker/finish/finish.h"
#include "worker/finish/join.h"

/* A part of a chord that has ended. */
struct chord_part {
	const struct task_message *by; /* the task that ended here, by its own end or another's;
					  must outlive the callback */
	const char *task_id, *group_id;
	int64_t index;	  /* -1 = none */
	struct span body; /* JSON text of the signature that follows the chord */
	enum task_state state;
	struct span result; /* JSON text: a value, or an exception's object */
};
/* All is confirmed that the end of the part has caused. */
typedef void chord_done_fn(void *ctx, const struct err *err);

/* Does the store of this worker want to be told of parts? */
bool chord_is_reported(const struct finish *f, const struct task_message *t);
/* Copies all but `by`. `done` is called once, maybe at once. */
void chord_report(struct finish *f, const struct chord_part *part, chord_done_fn *done, void *ctx);

/* For a step that will never run, and fails with this exception: reports it where it is a part of a
 * chord. Returns false when it is none; `done` is not called then. */
bool chord_report_step(struct finish *f, const struct task_message *by,
		       const struct signature *step, struct span exception, chord_done_fn *done,
		       void *ctx);

/* All parts of a chord have ended; what is to become of it. */
struct chord_end {
	struct finish *finish;
	const struct task_message *by;
	const char *group_id;
	struct span body;
};
/* Sends the body with the results. Where that fails, `done` gets why. */
void chord_send_body(const struct chord_end *end, struct span results, chord_done_fn *done,
		     void *ctx);
/* The chord has failed: errbacks of the body, its record and those of what follows it. `cause` is
 * the JSON text of the exception behind it, .data NULL = none. Logs. */
void chord_fail(const struct chord_end *end, const char *text, struct span cause,
		chord_done_fn *done, void *ctx);
/* What a ChordError says of a join that did not come about, `why`, because of a part that failed or
 * otherwise. To be freed. */
char *chord_failure_text(const struct join_failure *failure, const struct err *why);
/* repr() of the exception in a record. To be freed. */
char *chord_exception_repr(struct span exception);

#endif
