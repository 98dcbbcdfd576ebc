/*
 * What follows a task that has ended: its links, the next step of its chain, its errbacks, and the
 * records of the steps that will never run. Pure: from a message to messages. Only signatures of
 * plain tasks; canvas_check refuses the rest before the task runs. Sources: celery/app/trace.py
 * (_dispatch_callbacks_and_chain), celery/backends/base.py (mark_as_failure, _fail_chain,
 * _call_task_errbacks), celery/canvas.py (group). contract: tasks.md 4.1, 6.3, 6.4, 6.9
 */
#ifndef PROTOCOL_CANVAS_H
#define PROTOCOL_CANVAS_H

#include "protocol/signature.h"

/* Does the message name anything that follows it? */
bool canvas_is_empty(const struct task_message *t);
bool canvas_has_errbacks(const struct task_message *t);
/* -1 when something in it is not a plain task, or cannot be read. */
int canvas_check(const struct task_message *t, struct err *err);

/* Messages to send, in order. */
struct canvas {
	struct outgoing *all;
	size_t count;
	char *children; /* JSON text for the record of the task that ended; NULL = none */
};
void canvas_init(struct canvas *c);
void canvas_clear(struct canvas *c);

struct canvas_options {
	const char *origin;
	int64_t now_us;
	size_t max_bytes; /* of one body */
	/* As in struct signature_call; may be NULL. */
	bool (*has_secrets)(const void *ctx, const char *task);
	const void *secrets_ctx;
};
/* The links and the next step of the chain; `result` is JSON text. */
int canvas_after_success(struct canvas *c, const struct task_message *t, struct span result,
			 const struct canvas_options *options, struct err *err);
/* The errbacks, called with the id of the task that failed. */
int canvas_after_failure(struct canvas *c, const struct task_message *t,
			 const struct canvas_options *options, struct err *err);

/* Called for each step behind a failed one that has a result somebody may wait for. The signature
 * is valid until return. */
typedef void canvas_step_fn(void *ctx, const struct signature *step);
void canvas_each_step_left(const struct task_message *t, canvas_step_fn *step, void *ctx);

#endif
