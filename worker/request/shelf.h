/*
 * Where requests wait whose ETA is not near: packed, because there may be very many (a Python
 * worker needs nine kilobytes for each). On the shelf they still count as WAITING_ETA;
 * requests_find and eta.h take them down, and so does whoever wants to change one.
 */
#ifndef WORKER_REQUEST_SHELF_H
#define WORKER_REQUEST_SHELF_H

#include "base/map.h"
#include "worker/request/request.h"

struct shelved {
	struct heap_node due; /* by ETA */
	struct shelved *index_next;
	const struct task_entry *task;
	int64_t received_us;
	uint64_t tag;
	unsigned session;
	unsigned char packed[];
};

/* Puts a request that waits for its ETA there, and frees it. False, and nothing was done, where
 * that is not worth it or would lose something. */
bool shelf_put(struct requests *all, struct request *r);
/* The one due first; NULL when there is none. */
struct shelved *shelf_first(const struct requests *all);
/* A request again, on the list of those that wait. */
struct request *shelf_take(struct requests *all, struct shelved *s);
struct shelved *shelf_find(const struct requests *all, const char *id, int64_t retries);
/* Takes down all that have one of these ids (keys of the map). */
void shelf_take_ids(struct requests *all, const struct map *ids);
/* For looking at one: in no list and not to be changed; request_discard frees it. */
struct request *shelf_look(const struct requests *all, const struct shelved *s);
void shelf_clear(struct requests *all);

#endif
