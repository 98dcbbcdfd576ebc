/* How many tasks of each name have begun. A shadow name counts as a name of its own, as in Celery;
 * producers may make up any number of those, so only the first ones are told apart. */
#ifndef WORKER_CONSUME_TOTALS_H
#define WORKER_CONSUME_TOTALS_H

#include <jansson.h>
#include <stdint.h>

#include "worker/request/request.h"

#define TOTALS_SHADOWS_MAX 1000

struct totals {
	const struct registry *registry;
	uint64_t *by_task;     /* by index of the task */
	struct map *by_shadow; /* name to uint64_t *; NULL while there is none */
};

void totals_init(struct totals *t, const struct registry *registry);
void totals_clear(struct totals *t);
void totals_add(struct totals *t, const struct request *r);
/* {name: count} of those that are not 0; new reference. */
json_t *totals_json(const struct totals *t);

#endif
