/*
 * Celery task messages, protocol 2, 1 and the hybrid, to one struct. Sources:
 * celery/app/amqp.py (as_task_v1, as_task_v2), celery/worker/strategy.py (default,
 * proto1_to_proto2, hybrid_to_proto2), celery/worker/consumer/consumer.py (create_task_handler,
 * on_*).
 *
 * A caller proceeds in two steps, because Celery looks the task up before it decodes a v2 body:
 *   1. task_message_head  - which protocol, which task name and id (v1: this decodes the body);
 *   2. look the name up in the registry;
 *   3. task_message_decode - everything else, body included.
 * Arguments stay opaque: spans of JSON text inside `body`, checked to be valid.
 */
#ifndef PROTOCOL_TASK_MESSAGE_H
#define PROTOCOL_TASK_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "protocol/content.h"
#include "protocol/message.h"

/* What is to be done with a message that cannot run. contract: tasks.md 1.7, 9, 10 */
enum intake {
	INTAKE_OK,
	INTAKE_UNKNOWN_MESSAGE, /* no task named: WARNING, reject */
	INTAKE_DECODE_ERROR,	/* body does not decode: CRITICAL, ack */
	INTAKE_INVALID_TASK,	/* decoded, but not a task message: ERROR, reject */
	INTAKE_REFUSED_CONTENT, /* content type not accepted, `task` header there: ERROR, reject */
	INTAKE_ETA_OVERFLOW,	/* ERROR, FAILURE OverflowError stored, reject */
	/* v2 kwargs not a mapping, args not a list: FAILURE InvalidTaskError stored, reject */
	INTAKE_BAD_KWARGS,
};

enum tristate { TRI_NULL = -1, TRI_FALSE = 0, TRI_TRUE = 1 };

#define TIME_UNSET INT64_MIN

/* Strings are NUL-terminated, NULL when absent or null, unless said. They live in `texts` or are
 * static, and may share bytes: nobody frees one. Who builds a message puts them there with
 * arena_dup(&t->texts, ...) or lends what lives longer. */
struct task_message {
	int protocol;	  /* 2, 1; a hybrid counts as 1 */
	const char *task; /* name; never NULL after head */
	const char *id;	  /* never NULL after decode */
	const char *shadow;
	const char *root_id;
	const char *parent_id;
	const char *group;
	const char *origin;
	const char *lang;
	const char *argsrepr; /* v1: NULL */
	const char *kwargsrepr;
	int64_t eta_us;	     /* Unix microseconds, TIME_UNSET when there is none */
	int64_t expires_us;  /* likewise */
	int64_t sent_us;     /* likewise, 0 when the message does not say */
	int64_t group_index; /* -1 = null */
	int64_t retries;
	int64_t replaced_task_nesting;
	double time_limit_s;	  /* hard; 0 = unset */
	double soft_time_limit_s; /* 0 = unset */
	enum tristate ignore_result;
	const char *stamped_headers; /* JSON text of an array, or NULL */
	const char *stamps;	     /* JSON text of an object, or NULL when empty */
	const char *custom_headers;  /* JSON text of an object of all other headers (x-death family
					left out), or NULL when there are none */
	/* The body, taken over from the message. */
	char *body;
	size_t body_len;
	struct span args,
		kwargs; /* JSON texts of an array and of an object, inside body or static */
	struct span callbacks, errbacks, chain,
		chord; /* JSON text, .data NULL when null or absent */
	/* From the message's properties. */
	const char *correlation_id; /* NULL when absent */
	const char *reply_to;
	const char *exchange, *routing_key;
	int priority; /* -1 when absent */
	bool is_redelivered;
	struct arena texts;
};

struct task_message_options {
	struct content_options content;
	/* v1 with utc=false: naive times mean ... (Celery 5.7.0 takes them as UTC even then) */
	bool naive_is_local;
	int local_offset_s; /* ... this offset from UTC */
};

void task_message_init(struct task_message *t);
void task_message_clear(struct task_message *t);

/* Undoes the compression of the body, and of protocol 1 its serializer. On anything but INTAKE_OK
 * `err` holds the line to log, without the "Received ..." lead-in; `t` then keeps what was found
 * (task, id may be NULL). */
enum intake task_message_head(struct task_message *t, struct message *m,
			      const struct task_message_options *options, struct err *err);
/* Takes m->body over (m->body becomes NULL) on every outcome. */
enum intake task_message_decode(struct task_message *t, struct message *m,
				const struct task_message_options *options, struct err *err);

/*
 * Writing: the 19 headers of protocol 2 as a new json_t object, and the body triple. Used for
 * retries and by `smallage call`. x-death headers never go out again.
 */
json_t *task_message_headers(const struct task_message *t);
int task_message_write_body(struct str *out, const struct task_message *t);

#endif
