/*
 * The results of the parts of a group, put together in the form that the group has: a list, with a
 * list inside for each group inside. Source: celery/result.py (result_from_tuple, ResultSet.join,
 * join_native), celery/backends/redis.py (_unpack_chord_result).
 */
#ifndef WORKER_FINISH_JOIN_H
#define WORKER_FINISH_JOIN_H

#include "base/map.h"
#include "worker/finish/finish.h"

/* The first part that failed. */
struct join_failure {
	char *task_id;	 /* NULL = none did */
	char *exception; /* JSON text of an object, as in a record */
};
void join_failure_clear(struct join_failure *failure);

struct join {
	const struct config *config;
	json_t *group; /* list of result tuples; NULL = the values stand in the order they came */
	struct map *values;
	struct str flat; /* without a group: "[a, b" */
	size_t count;	 /* of values */
	struct join_failure failure;
};
void join_init(struct join *j, const struct config *config);
void join_clear(struct join *j);

/* A saved GroupResult, as it was stored: {"result": [[id, parent], [tuples]]}. */
int join_read_group(struct join *j, const char *record, size_t len, struct err *err);
/* One part by a member of a chord, [1, id, state, result]. */
int join_add_member(struct join *j, const char *member, size_t len, struct err *err);
/* One part by its record. 0 = it has not ended. */
int join_add_record(struct join *j, const char *task_id, const char *record, size_t len,
		    struct err *err);
/* The ids of the group's tasks, in order; the strings are the group's. Returns how many there are.
 */
size_t join_ids(const struct join *j, const char **ret_ids, size_t max);
/* Appends the list. Where a part failed, -1 and `failure` is set. */
int join_write(struct join *j, struct str *out, struct err *err);
/* The exception behind the failure; no data when there is none. */
struct span join_cause(const struct join *j);

#endif
