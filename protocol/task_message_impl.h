/* The parts of task_message, split by step. Inside protocol/ only. */
#ifndef PROTOCOL_TASK_MESSAGE_IMPL_H
#define PROTOCOL_TASK_MESSAGE_IMPL_H

#include <jansson.h>
#include <stdbool.h>

#include "protocol/task_message.h"

/* Where header values come from: the header table (protocol 2), a mapping body (1), or both
 * (hybrid: the table wins). Unknown headers are the table's alone. */
struct task_fields {
	const struct message *message;
	bool has_table;	    /* false for protocol 1 */
	const json_t *body; /* NULL for protocol 2 */
};

/* Borrowed. */
struct value task_field(const struct task_fields *f, enum header_name name);
/* All texts of headers and properties in one block, with these as name and id (no data: none). What
 * t->texts held before is gone, but `task` and `id` may point there. */
void task_texts_read(struct task_message *t, const struct task_fields *f, struct span task,
		     struct span id);
/* Everything but the body, and the texts where the head has read them all. */
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
bool task_text_is_name(const struct value *value);
/* Python's name of the value's type, for errors. */
const char *task_type_name(const struct value *value);
/* Fills `err` with one line of printable text, cut at a character. Returns `intake`. */
enum intake task_fail(enum intake intake, struct err *err, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
