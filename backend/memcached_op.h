/*
 * One operation on memcached: the commands it takes, one after the other, and what their answers
 * mean. Those of many operations are on their way at once; the owner sends a command of each and
 * hands its answer in.
 *
 * A store looks at the old record (gets) and replaces just that one (cas), or adds one where there
 * is none: a SUCCESS is kept, whoever stores at the same time. A record that most likely finds no
 * other is added at once.
 */
#ifndef BACKEND_MEMCACHED_OP_H
#define BACKEND_MEMCACHED_OP_H

#include "backend/memcached_place.h"
#include "backend/pending.h"
#include "base/str.h"

enum memcached_kind {
	MEMCACHED_STORE,
	MEMCACHED_READ,
	MEMCACHED_CHORD_START,
	MEMCACHED_CHORD_PART,
	MEMCACHED_CHORD_END,
};

enum memcached_step {
	MEMCACHED_FIRST,
	MEMCACHED_ADD,
	MEMCACHED_GETS,
	MEMCACHED_CAS,
	MEMCACHED_SAVE_GROUP,
	MEMCACHED_BEGIN_COUNT,
	MEMCACHED_MARK,
	MEMCACHED_GET_GROUP,
	MEMCACHED_COUNT,
	MEMCACHED_LOOK_AT_COUNT,
	MEMCACHED_DROP_GROUP,
	MEMCACHED_DROP_COUNT,
};

struct memcached_op {
	struct pending_op base;
	uint64_t number; /* in the order of the calls */
	enum memcached_kind kind;
	enum memcached_step step; /* whose answer is next */
	bool is_only;
	uint64_t cas;
	struct str value; /* the record, or the group */
	/* of a chord */
	char *task_id;
	struct str task_ids; /* each with its NUL */
	const struct backend_chord_events *events;
	void *chord_ctx;
	bool was_marked; /* this part was counted before */
	bool is_unsure;	 /* whether it was counted is not known: a connection was lost */
	bool is_group_gone;
	size_t count;
	struct err refusal; /* of an id that cannot be a key */
};

/* One answer, whole. */
struct memcached_answer {
	const char *line; /* "STORED", without its end; NUL-terminated */
	bool has_value;
	const char *value;
	size_t len;
	uint64_t cas;
};

enum memcached_verdict {
	MEMCACHED_NEXT, /* op->step says what to send */
	MEMCACHED_DONE,
	MEMCACHED_LATER, /* the server cannot now */
	MEMCACHED_BAD,	 /* it refuses: `err` */
	MEMCACHED_LOST,	 /* it does not speak as memcached does: `err` */
};

struct memcached_op *memcached_op_new(enum memcached_kind kind);
void memcached_op_free(struct pending_op *base);
/* Ids become keys: at most 250 bytes, no spaces. */
int memcached_op_check(const struct memcached_op *op, const struct memcached_keys *keys,
		       struct err *err);
/* The next command. */
void memcached_op_write(struct memcached_op *op, const struct memcached_keys *keys,
			struct str *out);
enum memcached_verdict memcached_op_take(struct memcached_op *op,
					 const struct memcached_answer *answer, struct err *err);
/* The connection is gone: it begins anew. */
void memcached_op_begin_anew(struct memcached_op *op);

/* Bytes of the first whole answer in `data`; 0 = more are needed, -1 = this is no memcached. `line`
 * gets the first line. */
ptrdiff_t memcached_answer_read(struct memcached_answer *answer, char line[256], const char *data,
				size_t len);
#define MEMCACHED_MAX_VALUE ((size_t)256 << 20)

#endif
