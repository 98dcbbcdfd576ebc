#include "backend/redis_op.h"

#include <stdlib.h>
#include <string.h>

#include "backend/redis_chord.h"
#include "base/mem.h"
#include "protocol/result.h"

#define OP_OVERHEAD_BYTES ((size_t)256)

struct redis_op *redis_op_new(const struct redis_arg *prefix, const char *id,
			      const struct redis_arg *record)
{
	size_t id_len = strlen(id), key_len = prefix->len + id_len;
	struct redis_op *op = mem_alloc(sizeof(*op) + key_len + 1 + record->len);
	char *behind = op->bytes + key_len + 1;

	*op = (struct redis_op){
		.key = {op->bytes, key_len},
		.record = {behind, record->len},
	};
	memcpy(op->bytes, prefix->data, prefix->len);
	memcpy(op->bytes + prefix->len, id, id_len + 1);
	if (record->len > 0)
		memcpy(behind, record->data, record->len);
	list_init(&op->node);
	return op;
}

size_t redis_op_cost(const struct redis_op *op)
{
	return op->record.len + (op->chord ? redis_chord_cost(op->chord) : 0) + OP_OVERHEAD_BYTES;
}

void redis_op_free(struct redis_op *op)
{
	list_remove(&op->node);
	free(op->refusal);
	redis_chord_free(op->chord);
	free(op);
}

int redis_op_command(struct redis_op *op, redis_conn_reply_fn *fn, const struct redis_arg *args,
		     int argc)
{
	return redis_conn_command(op->conn, args, argc, fn, op);
}

#define COMMAND(op, fn, ...)                                                                       \
	redis_op_command(                                                                          \
		(op), (fn), (const struct redis_arg[]){__VA_ARGS__},                               \
		(int)(sizeof((const struct redis_arg[]){__VA_ARGS__}) / sizeof(struct redis_arg)))

static void on_old_record(void *ctx, const redisReply *reply);

static void look_at_old(struct redis_op *op)
{
	op->way = REDIS_WAY_TRANSACTION;
	if (COMMAND(op, on_old_record, REDIS_ARG("GET"), op->key) < 0)
		redis_conn_restart(op->conn, "output is full");
}

static void on_script_answer(void *ctx, const redisReply *reply)
{
	struct redis_op *op = ctx;

	if (reply == NULL)
		return;
	if (reply->type == REDIS_REPLY_ERROR)
		op->events->refused(op, reply->str);
	else if (reply->type == REDIS_REPLY_INTEGER && reply->integer == 2)
		look_at_old(op);
	else
		op->events->stored(op);
}

static void on_get_answer(void *ctx, const redisReply *reply)
{
	struct redis_op *op = ctx;

	if (reply == NULL)
		return;
	if (reply->type == REDIS_REPLY_ERROR)
		op->events->refused(op, reply->str);
	else if (reply->type == REDIS_REPLY_STRING)
		op->events->found(op, reply->str, reply->len);
	else
		op->events->found(op, NULL, 0);
}

static void keep_refusal(struct redis_op *op, const redisReply *reply)
{
	if (reply->type == REDIS_REPLY_ERROR && op->refusal == NULL)
		op->refusal = mem_dup(reply->str, reply->len);
}

void redis_op_on_queued(void *ctx, const redisReply *reply)
{
	if (reply != NULL)
		keep_refusal(ctx, reply);
}

bool redis_op_all_accepted(struct redis_op *op, const redisReply *last)
{
	auto_free char *refusal = NULL;

	keep_refusal(op, last);
	refusal = op->refusal;
	op->refusal = NULL;
	if (refusal != NULL)
		op->events->refused(op, refusal);
	return refusal == NULL;
}

static void on_exec_answer(void *ctx, const redisReply *reply)
{
	struct redis_op *op = ctx;

	if (reply == NULL)
		return;
	for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
		keep_refusal(op, reply->element[i]);
	if (redis_op_all_accepted(op, reply))
		op->events->stored(op);
}

static void on_plain_set(void *ctx, const redisReply *reply)
{
	struct redis_op *op = ctx;

	if (reply == NULL)
		return;
	keep_refusal(op, reply);
	op->is_taken = reply->type == REDIS_REPLY_NIL;
}

static void on_plain_published(void *ctx, const redisReply *reply)
{
	struct redis_op *op = ctx;

	if (reply == NULL || !redis_op_all_accepted(op, reply))
		return;
	if (op->is_taken)
		op->events->taken(op);
	else
		op->events->stored(op);
}

static bool expires(const struct redis_op *op)
{
	return op->seconds.data[0] != '0';
}

static int set_send(struct redis_op *op)
{
	if (!expires(op))
		return COMMAND(op, redis_op_on_queued, REDIS_ARG("SET"), op->key, op->record);
	return COMMAND(op, redis_op_on_queued, REDIS_ARG("SETEX"), op->key, op->seconds,
		       op->record);
}

static int publish_send(struct redis_op *op, redis_conn_reply_fn *fn)
{
	return COMMAND(op, fn, REDIS_ARG("PUBLISH"), op->key, op->record);
}

static bool is_own_record(const struct redis_op *op, const redisReply *reply)
{
	return reply->len == op->record.len && memcmp(reply->str, op->record.data, reply->len) == 0;
}

static bool is_kept(const struct redis_op *op, const redisReply *old)
{
	if (old->type != REDIS_REPLY_STRING)
		return false;
	if (op->is_revoke)
		return !result_is_waiting(old->str, old->len);
	return result_state_of(old->str, old->len) == TASK_SUCCESS;
}

/* Without scripts the check and the store are two steps, as in Celery. */
static void on_old_record(void *ctx, const redisReply *reply)
{
	struct redis_op *op = ctx;
	int rc;

	if (reply == NULL)
		return;
	if (reply->type == REDIS_REPLY_ERROR) {
		op->events->refused(op, reply->str);
		return;
	}
	if (!is_kept(op, reply)) {
		rc = COMMAND(op, redis_op_on_queued, REDIS_ARG("MULTI")) < 0 || set_send(op) < 0 ||
		     publish_send(op, redis_op_on_queued) < 0 ||
		     COMMAND(op, on_exec_answer, REDIS_ARG("EXEC")) < 0;
	} else if (is_own_record(op, reply)) {
		rc = publish_send(op, on_exec_answer) < 0;
	} else {
		op->events->stored(op);
		return;
	}
	if (rc)
		redis_conn_restart(op->conn, "output is full");
}

static int plain_send(struct redis_op *op)
{
	int rc = expires(op) ? COMMAND(op, on_plain_set, REDIS_ARG("SET"), op->key, op->record,
				       REDIS_ARG("EX"), op->seconds, REDIS_ARG("NX"))
			     : COMMAND(op, on_plain_set, REDIS_ARG("SET"), op->key, op->record,
				       REDIS_ARG("NX"));

	if (rc < 0)
		return -1;
	op->way = REDIS_WAY_PLAIN;
	op->may_go_plain = op->is_taken = false;
	if (publish_send(op, on_plain_published) < 0)
		redis_conn_restart(op->conn, "output is full");
	return 0;
}

static int script_send(struct redis_op *op, const char *sha)
{
	const struct redis_arg args[] = {
		REDIS_ARG("EVALSHA"), {sha, strlen(sha)}, REDIS_ARG("1"),      op->key,
		op->record,	      op->seconds,	  REDIS_ARG("revoke"),
	};

	op->way = REDIS_WAY_SCRIPT;
	return redis_op_command(op, on_script_answer, args, op->is_revoke ? 7 : 6);
}

int redis_op_send(struct redis_op *op, struct redis_conn *conn,
		  const struct redis_script_names *scripts)
{
	op->conn = conn;
	mem_free_ptr(&op->refusal);
	if (op->chord)
		return redis_chord_send(op, scripts);
	if (op->got)
		return COMMAND(op, on_get_answer, REDIS_ARG("GET"), op->key);
	if (op->may_go_plain)
		return plain_send(op);
	if (scripts)
		return script_send(op, scripts->sha[REDIS_SCRIPT_STORE]);
	op->way = REDIS_WAY_TRANSACTION;
	return COMMAND(op, on_old_record, REDIS_ARG("GET"), op->key);
}
