/* The parts of task_message, split by step. Inside protocol/ only. */
#ifndef PROTOCOL_TASK_MESSAGE_IMPL_H
#define PROTOCOL_TASK_MESSAGE_IMPL_H

#include <jansson.h>
#include <stdbool.h>

#include "protocol/task_message.h"

/* Where header values come from: the header table (protocol 2), a mapping body (1), or both
 * (hybrid: the table wins). */
struct task_fields {
	const json_t *headers; /* NULL for protocol 1 */
	const json_t *body;    /* NULL for protocol 2 */
	const json_t *custom;  /* whose unknown keys are custom headers */
};

/* Borrowed; NULL when absent. */
json_t *task_field(const struct task_fields *f, const char *name);
/* The value of `utc`: false only for protocol 1 and hybrids that say so. */
bool task_fields_is_utc(const struct task_fields *f);
/* Everything but the body. */
enum intake task_fields_read(struct task_message *t, const struct task_fields *f,
			     const struct task_message_options *options, struct err *err);

/* args, kwargs and embed of [args, kwargs, embed]; t->body is the text. */
enum intake task_body_read_v2(struct task_message *t, struct err *err);
/* The same out of a mapping. */
enum intake task_body_read_v1(struct task_message *t, struct err *err);
/* Does the text hold a mapping that has the key? An error when it is a mapping that is not JSON. */
int task_body_has_key(const char *body, size_t len, const char *name, bool *ret_has,
		      struct err *err);

/* A text that is not empty and keeps its length as a C string: fit for a name or an id. */
bool task_text_is_name(const json_t *value);
/* Fills `err` with one line of printable text, cut at a character. Returns `intake`. */
enum intake task_fail(enum intake intake, struct err *err, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
