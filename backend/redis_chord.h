/*
 * What the Redis store does for a chord: one operation of the queue each, of one command or
 * several. Keys with the prefix celery-taskset-meta-<group id>: .j the members (sorted set or
 * list), .s the size, .t members added later, .d who has reported, .c who sends the body; without a
 * suffix the saved GroupResult. contract: tasks.md 6.6, celery/backends/redis.py
 */
#ifndef BACKEND_REDIS_CHORD_H
#define BACKEND_REDIS_CHORD_H

#include "backend/redis_keys.h"
#include "backend/redis_op.h"

/* `done`, or for a part `got`, are called by redis_chord_ended. */
struct redis_op *redis_chord_start(const struct redis_keys *keys,
				   const struct backend_chord *chord);
struct redis_op *redis_chord_add(const struct redis_keys *keys, const char *group_id,
				 const char *task_id);
struct redis_op *redis_chord_part(const struct redis_keys *keys,
				  const struct backend_chord_part *part,
				  const struct backend_chord_events *events);
struct redis_op *redis_chord_end(const struct redis_keys *keys,
				 const struct backend_chord_end *end);

/* For redis_op.c; and for its owner, to tell who asked. */
int redis_chord_send(struct redis_op *op, const struct redis_script_names *scripts);
void redis_chord_ended(const struct redis_op *op, const struct err *err);
size_t redis_chord_cost(const struct redis_chord *c);
void redis_chord_free(struct redis_chord *c);

#endif
