/*
 * Signatures: how a task that is to be sent later travels inside another task's message. Sources:
 * celery/canvas.py (Signature), celery/app/base.py (send_task), celery/app/amqp.py (as_task_v2,
 * _create_task_sender). contract: tasks.md 6.1, 6.2
 */
#ifndef PROTOCOL_SIGNATURE_H
#define PROTOCOL_SIGNATURE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "protocol/message.h"
#include "protocol/task_message.h"

/* One signature with its options checked. Borrows everything from the value it was read from; NULL
 * and the values named are "not given". */
struct signature {
	const char *task;
	const char *subtask_type; /* "chain", "group", "chord"; NULL for a plain task */
	const json_t *args, *kwargs;
	bool is_immutable;
	/* options; `options` itself is NULL when there are none */
	const json_t *options;
	const char *task_id, *group_id, *root_id, *parent_id, *shadow, *origin, *argsrepr,
		*kwargsrepr, *reply_to;
	const char *queue, *exchange, *exchange_type, *routing_key;
	const json_t *link, *link_error, *chain, *chord, *headers, *stamped_headers;
	int64_t group_index; /* -1 */
	int64_t retries, replaced_task_nesting;
	int priority;				/* -1 */
	int delivery_mode;			/* 0 */
	int64_t delay_us;			/* of countdown; 0 */
	int64_t expires_in_us;			/* of a number; TIME_UNSET */
	int64_t eta_us, expires_us;		/* TIME_UNSET */
	double time_limit_s, soft_time_limit_s; /* 0 */
	enum tristate ignore_result;
};
int signature_read(struct signature *s, const json_t *value, struct err *err);

/* What whoever sends it adds. Texts are borrowed. */
struct signature_call {
	/* JSON text in place of each argument that is `mark` (the same value, not an equal one): so
	 * a large result is not made a tree. */
	struct span argument;
	const json_t *mark;
	const char *parent_id, *root_id; /* where the options name none */
	const char *fresh_id;		 /* likewise; needed then */
	const char *origin;
	int64_t now_us;
	size_t max_bytes; /* of the body */
	/* Are arguments of this task not to be described? NULL = they may be, of any. */
	bool (*has_secrets)(const void *ctx, const char *task);
	const void *secrets_ctx;
};

/* A task message on its way out. Where the routing is not given the worker decides. */
struct outgoing {
	struct task_message message; /* priority: -1 = not given */
	char *queue, *exchange, *exchange_type, *routing_key;
	char *route_name;  /* of the task by which task_routes is asked; NULL = the message's */
	int delivery_mode; /* 0 = not given */
};
void outgoing_clear(struct outgoing *out);
/* Makes the message. Fails only where the body would be too large. */
int signature_apply(struct outgoing *out, const struct signature *s,
		    const struct signature_call *call, struct err *err);

#endif
