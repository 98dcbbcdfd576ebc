#include "transport/redis_unacked.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/broker_redis.h"

#define BATCH_MOST 1000

/* Records that leave kombu's hash and index together. */
struct batch {
	struct broker_redis *owner;
	unsigned generation;
	bool has_failed;
	size_t count;
	uint64_t numbers[];
};

void redis_unacked_init(struct broker_redis *r)
{
	list_init(&r->answers.backs);
	list_init(&r->answers.stops);
	list_init(&r->answers.reading);
	list_init(&r->answers.pushing);
	list_init(&r->answers.routing);
}

void redis_unacked_field(const struct broker_redis *r, uint64_t number, char out[REDIS_FIELD_BYTES])
{
	snprintf(out, REDIS_FIELD_BYTES, "%s:%llu", r->lease.id, (unsigned long long)number);
}

void redis_unacked_ack(struct broker_redis *r, uint64_t number)
{
	struct redis_unacked *u = &r->answers;

	if (u->ack_count == u->ack_cap) {
		u->ack_cap = u->ack_cap ? u->ack_cap * 2 : 256;
		u->acks = mem_realloc(u->acks, u->ack_cap * sizeof(*u->acks));
	}
	u->acks[u->ack_count++] = number;
	redis_wake(r);
}

/* Those that the server has not confirmed are sent again: no harm where they had arrived. */
static void batch_end(struct batch *batch)
{
	struct broker_redis *r = batch->owner;

	r->answers.acks_in_flight -= batch->count;
	if (batch->has_failed && batch->generation == r->lease.generation)
		for (size_t i = 0; i < batch->count; i++)
			redis_unacked_ack(r, batch->numbers[i]);
	free(batch);
	redis_wake(r);
}

static void note_failure(struct batch *batch, const redisReply *reply)
{
	if (reply != NULL && reply->type == REDIS_REPLY_INTEGER)
		return;
	batch->has_failed = true;
	if (reply != NULL) {
		batch->owner->answers.is_stuck = true;
		redis_trouble(batch->owner, "acking messages", reply);
	}
}

static void on_hdel(void *ctx, const redisReply *reply)
{
	note_failure(ctx, reply);
}

static void on_zrem(void *ctx, const redisReply *reply)
{
	note_failure(ctx, reply);
	batch_end(ctx);
}

/* The record first: from then on nobody can put the message back. */
static int batch_send(struct broker_redis *r, struct batch *batch)
{
	auto_free struct redis_arg *args = mem_calloc(batch->count + 2, sizeof(*args));
	auto_free char *texts = mem_alloc(batch->count * REDIS_FIELD_BYTES);
	int argc = (int)batch->count + 2;

	for (size_t i = 0; i < batch->count; i++) {
		char *text = texts + i * REDIS_FIELD_BYTES;

		redis_unacked_field(r, batch->numbers[i], text);
		args[i + 2] = (struct redis_arg){text, strlen(text)};
	}
	args[0] = REDIS_ARG("HDEL");
	args[1] = (struct redis_arg){r->unacked, strlen(r->unacked)};
	if (redis_conn_command(r->conn, args, argc, on_hdel, batch) < 0)
		return -1;
	args[0] = REDIS_ARG("ZREM");
	args[1] = (struct redis_arg){r->index, strlen(r->index)};
	/* Without its turn in the index nobody waits for the batch but the other answer. */
	if (redis_conn_command(r->conn, args, argc, on_zrem, batch) < 0)
		redis_conn_restart(r->conn, "its output is full");
	return 0;
}

static void acks_flush(struct broker_redis *r)
{
	struct redis_unacked *u = &r->answers;
	size_t sent = 0;

	while (sent < u->ack_count) {
		size_t count = u->ack_count - sent < BATCH_MOST ? u->ack_count - sent : BATCH_MOST;
		struct batch *batch =
			mem_calloc(1, sizeof(*batch) + count * sizeof(batch->numbers[0]));

		batch->owner = r;
		batch->generation = r->lease.generation;
		batch->count = count;
		memcpy(batch->numbers, u->acks + sent, count * sizeof(batch->numbers[0]));
		if (batch_send(r, batch) < 0) {
			free(batch);
			break;
		}
		u->acks_in_flight += count;
		sent += count;
	}
	u->ack_count -= sent;
	memmove(u->acks, u->acks + sent, u->ack_count * sizeof(*u->acks));
}

void redis_unacked_flush(struct broker_redis *r)
{
	if (!r->is_connected || r->answers.is_stuck)
		return;
	if (r->answers.ack_count > 0)
		acks_flush(r);
	redis_back_flush(r);
}

bool redis_unacked_is_done(const struct broker_redis *r)
{
	return r->answers.ack_count == 0 && r->answers.acks_in_flight == 0 &&
	       r->answers.back_count == 0;
}

void redis_unacked_forget_ours(struct broker_redis *r)
{
	r->answers.ack_count = 0;
}

void redis_unacked_clear(struct broker_redis *r)
{
	free(r->answers.acks);
	redis_back_clear(r);
}
