#include "backend/redis_op.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/result.h"

#define OP_OVERHEAD_BYTES ((size_t)256)

/* The first SET is all that almost every store takes: no key was there. Otherwise only the
 * first bytes of the old record cross into Lua, unless somebody else wrote it. A compressed record
 * (its first byte is 0) cannot be read there and counts as no SUCCESS. */
const char redis_store_script[] =
	"local key, record, ttl = KEYS[1], ARGV[1], ARGV[2]\n"
	"local is_new\n"
	"if ttl == '0' then is_new = redis.call('SET', key, record, 'NX')\n"
	"else is_new = redis.call('SET', key, record, 'EX', ttl, 'NX') end\n"
	"if not is_new then\n"
	"  local old = redis.call('GETRANGE', key, 0, 19)\n"
	"  if old == '{\"status\": \"SUCCESS\"' then return 0 end\n"
	"  if string.sub(old, 1, 12) ~= '{\"status\": \"' then\n"
	"    local ok, meta = pcall(cjson.decode, redis.call('GET', key))\n"
	"    if ok and type(meta) == 'table' and meta.status == 'SUCCESS' then return 0 end\n"
	"  end\n"
	"  if ttl == '0' then redis.call('SET', key, record)\n"
	"  else redis.call('SETEX', key, ttl, record) end\n"
	"end\n"
	"redis.call('PUBLISH', key, record)\n"
	"return 1\n";

size_t redis_op_cost(const struct redis_op *op)
{
	return op->len + OP_OVERHEAD_BYTES;
}

void redis_op_free(struct redis_op *op)
{
	list_remove(&op->node);
	free(op->key);
	free(op->record);
	free(op->refusal);
	free(op);
}

/* The callbacks below need to do nothing for reply NULL: when a connection dies, the owner takes
 * back all that was on its way. */
static int command(struct redis_op *op, redis_conn_reply_fn *fn, int argc, const char **argv)
{
	size_t lens[6];

	for (int i = 0; i < argc; i++)
		lens[i] = op->record && argv[i] == op->record ? op->len : strlen(argv[i]);
	return redis_conn_command(op->conn, argc, argv, lens, fn, op);
}

static void on_script_answer(void *ctx, const redisReply *reply)
{
	struct redis_op *op = ctx;

	if (reply == NULL)
		return;
	if (reply->type == REDIS_REPLY_ERROR)
		op->events->refused(op, reply->str);
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

static void on_queued(void *ctx, const redisReply *reply)
{
	if (reply != NULL)
		keep_refusal(ctx, reply);
}

static void on_exec_answer(void *ctx, const redisReply *reply)
{
	struct redis_op *op = ctx;
	auto_free char *refusal = NULL;

	if (reply == NULL)
		return;
	for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
		keep_refusal(op, reply->element[i]);
	keep_refusal(op, reply);
	refusal = op->refusal;
	op->refusal = NULL;
	if (refusal != NULL)
		op->events->refused(op, refusal);
	else
		op->events->stored(op);
}

static int set_send(struct redis_op *op)
{
	char seconds[16];

	if (op->expires_s <= 0)
		return command(op, on_queued, 3, (const char *[]){"SET", op->key, op->record});
	snprintf(seconds, sizeof(seconds), "%d", op->expires_s);
	return command(op, on_queued, 4, (const char *[]){"SETEX", op->key, seconds, op->record});
}

/* Without scripts the check and the store are two steps, as in Celery. */
static void on_old_record(void *ctx, const redisReply *reply)
{
	struct redis_op *op = ctx;

	if (reply == NULL)
		return;
	if (reply->type == REDIS_REPLY_ERROR) {
		op->events->refused(op, reply->str);
		return;
	}
	if (reply->type == REDIS_REPLY_STRING &&
	    result_state_of(reply->str, reply->len) == TASK_SUCCESS) {
		op->events->stored(op);
		return;
	}
	mem_free_ptr(&op->refusal);
	if (command(op, on_queued, 1, (const char *[]){"MULTI"}) < 0 || set_send(op) < 0 ||
	    command(op, on_queued, 3, (const char *[]){"PUBLISH", op->key, op->record}) < 0 ||
	    command(op, on_exec_answer, 1, (const char *[]){"EXEC"}) < 0)
		redis_conn_restart(op->conn, "output is full");
}

int redis_op_send(struct redis_op *op, struct redis_conn *conn, const char *script_sha)
{
	char seconds[16];

	op->conn = conn;
	if (op->got)
		return command(op, on_get_answer, 2, (const char *[]){"GET", op->key});
	if (script_sha == NULL)
		return command(op, on_old_record, 2, (const char *[]){"GET", op->key});
	snprintf(seconds, sizeof(seconds), "%d", op->expires_s);
	return command(op, on_script_answer, 6,
		       (const char *[]){"EVALSHA", script_sha, "1", op->key, op->record, seconds});
}
