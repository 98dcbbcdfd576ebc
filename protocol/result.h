/*
 * Result records as Celery stores them: key order and spacing of Python's json.dumps. Sources:
 * celery/backends/base.py (_get_result_meta, prepare_exception). contract: tasks.md 5.
 */
#ifndef PROTOCOL_RESULT_H
#define PROTOCOL_RESULT_H

#include <stdbool.h>

#include "base/str.h"
#include "protocol/content.h"
#include "protocol/message.h"
#include "protocol/state.h"

/* Fields of task_meta; strings borrowed; NULL = null or left out as said. */
struct result_record {
	const char *status;    /* "SUCCESS", a custom name, ... */
	struct span result;    /* JSON text; .data NULL = null */
	const char *traceback; /* text or NULL */
	struct span children;  /* JSON text; .data NULL = "[]" */
	int64_t date_done_us;  /* Unix microseconds; 0 = null */
	int date_offset_s;     /* zone of date_done */
	const char *group_id;  /* left out when NULL */
	const char *parent_id; /* left out when NULL */
	/* result_extended; all left out when name is NULL */
	const char *name;
	struct span args, kwargs; /* JSON texts */
	const char *worker;
	int64_t retries;
	const char *queue;		      /* delivery routing key */
	const char *stamped_headers, *stamps; /* JSON texts or NULL */
	const char *task_id;
};
int result_encode(struct str *out, const struct result_record *r);

/* Appends the stamps that stamped_headers names, as they stand in a record: "key": value, ... */
void result_add_stamps(struct str *out, const struct result_record *r);

/* {"exc_type": type, "exc_message": args, "exc_module": module}; `args` is JSON text of a list. */
int result_exception(struct str *out, const char *module, const char *type, struct span args);

/* As result_serializer and result_compression say: Celery puts a mark before what is compressed.
 * *ret_label (may be NULL): what it is written in. */
int result_pack(struct str *record, const struct content_form *form,
		struct content_label *ret_label, struct err *err);
/* Appends the JSON text of a stored record, whatever it is written in. With `options` only what
 * they accept; NULL accepts all. */
int result_unpack(struct str *out, const char *record, size_t len,
		  const struct content_options *options, struct err *err);

/* The state in a stored record, packed or not, TASK_PENDING when it cannot be read. */
enum task_state result_state_of(const char *record, size_t len);
/* Of a record's JSON text (result_unpack): the parts of a SUCCESS. `children` is without data when
 * there are none. False when it is another state's, or cannot be read. */
bool result_read_success(struct span record, struct span *ret_result, struct span *ret_children);
/* Does the record tell of a task that has not begun: PENDING, RECEIVED, RETRY, REJECTED? Only over
 * such a one may somebody who does not run the task put REVOKED. False when it cannot be read. */
bool result_is_waiting(const char *record, size_t len);

#endif
