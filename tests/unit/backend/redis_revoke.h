/* A revoke, for the tests of the Redis store. */
#ifndef TESTS_UNIT_BACKEND_REDIS_REVOKE_H
#define TESTS_UNIT_BACKEND_REDIS_REVOKE_H

#include "tests/unit/backend/redis_fixture.h"

#define RETRY	"{\"status\": \"RETRY\", \"result\": {}}"
#define REVOKED "{\"status\": \"REVOKED\", \"result\": {}}"

static inline void store_revoke(struct fixture *x, const char *id)
{
	struct backend_record record = record_of(id, TASK_REVOKED, REVOKED, false);

	record.is_revoke = true;
	backend_store(x->backend, &record, on_done, x);
}

#endif
