/* What the settings say about the keys of a Redis store: their names and how long they live. */
#ifndef BACKEND_REDIS_KEYS_H
#define BACKEND_REDIS_KEYS_H

#include "backend/backend.h"
#include "transport/redis_conn.h"

#define REDIS_SECONDS_SIZE 12

struct redis_keys {
	struct redis_arg task, group; /* prefixes: the global one and Celery's */
	/* Seconds as text; "0" = never. */
	char expires[REDIS_SECONDS_SIZE], failure_expires[REDIS_SECONDS_SIZE];
	char chord_expires[REDIS_SECONDS_SIZE], group_expires[REDIS_SECONDS_SIZE];
	/* For how long a worker has a completed chord to itself: to gather the results, to send the
	 * body; and for how long it is known that the body was sent. */
	char claim[REDIS_SECONDS_SIZE], publish[REDIS_SECONDS_SIZE], done[REDIS_SECONDS_SIZE];
	bool is_ordered; /* result_chord_ordered */
};

int redis_keys_read(struct redis_keys *k, const struct backend_options *options, struct err *err);
void redis_keys_clear(struct redis_keys *k);

#endif
