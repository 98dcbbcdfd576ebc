/*
 * What is sent at most once: answers to remote control and questions to others. A list that answers
 * are pushed to lives on only as long as a client may read it, and what a killed client has left
 * behind in its list and in the binding table is taken away. contract: control.md 1.4, 7.5.
 */
#ifndef TRANSPORT_REDIS_POST_H
#define TRANSPORT_REDIS_POST_H

#include "transport/redis_router.h"

struct redis_post {
	struct redis_wire *wire;
	struct redis_router router;
	struct list_node letters; /* struct redis_letter.node: asked about, in order */
	struct list_node routing; /* the same, while the router has them */
	size_t bytes;
	struct map *clients; /* the queue of answers -> struct client, the longest silent first */
	/* How long answers wait for their reader; and when one who was silent is gone for sure. */
	uint64_t answer_ms, silence_ms;
	uint64_t posts, dropped;
};

void redis_post_init(struct redis_post *p, struct redis_wire *wire, struct map *types);
void redis_post_send(struct redis_post *p, const struct publication *publication);
/* To be called every second or so. */
void redis_post_tick(struct redis_post *p);
/* The connection is gone: nothing is sent again. */
void redis_post_down(struct redis_post *p);
void redis_post_clear(struct redis_post *p);

#endif
