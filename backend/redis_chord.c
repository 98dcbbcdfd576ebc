#include "backend/redis_chord.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

/* Members that come with the answer to a report, and by how many more are asked for at once: about
 * as many as make READ_BYTES. */
#define FIRST_MEMBERS 16
#define READ_MOST     1024
#define READ_BYTES    ((size_t)1 << 20)

enum kind { CHORD_START, CHORD_ADD, CHORD_PART, CHORD_END };

struct redis_chord {
	enum kind kind;
	const struct redis_keys *keys;
	const struct redis_script_names *scripts; /* of the last send */
	struct redis_arg id;			  /* of `.d`: task id and place */
	struct redis_arg place;			  /* behind the colon of `id` */
	struct redis_arg data;			  /* a member, or a saved group */
	struct redis_arg j, t, s, d, c;		  /* keys */
	char size[24], token[33];
	size_t data_len;
	bool is_error;

	const struct backend_chord_events *events; /* of a part */
	/* from the answers */
	enum backend_chord_status status;
	size_t count, read, read_bytes;
	char bytes[];
};

/* Making */

static struct redis_arg put(char **to, const char *text, size_t len, const char *suffix)
{
	struct redis_arg arg = {*to, len + strlen(suffix)};

	if (len > 0)
		memcpy(*to, text, len);
	memcpy(*to + len, suffix, arg.len - len + 1);
	*to += arg.len + 1;
	return arg;
}

static struct redis_op *op_new(enum kind kind, const struct redis_keys *keys, const char *group_id,
			       const char *id, const struct redis_arg *data)
{
	struct redis_op *op = redis_op_new(&keys->group, group_id, &(struct redis_arg){0});
	size_t room = 5 * (op->key.len + 3) + strlen(id) + 1 + data->len + 1;
	struct redis_chord *c = mem_calloc(1, sizeof(*c) + room);
	char *to = c->bytes;
	const char *colon;

	c->kind = kind;
	c->keys = keys;
	c->j = put(&to, op->key.data, op->key.len, ".j");
	c->t = put(&to, op->key.data, op->key.len, ".t");
	c->s = put(&to, op->key.data, op->key.len, ".s");
	c->d = put(&to, op->key.data, op->key.len, ".d");
	c->c = put(&to, op->key.data, op->key.len, ".c");
	c->id = put(&to, id, strlen(id), "");
	c->data = put(&to, data->data, data->len, "");
	colon = strrchr(c->id.data, ':');
	if (colon)
		c->place = (struct redis_arg){colon + 1, strlen(colon + 1)};
	op->chord = c;
	return op;
}

struct redis_op *redis_chord_start(const struct redis_keys *keys, const struct backend_chord *chord)
{
	const struct redis_arg group = {chord->group, chord->group ? chord->group_len : 0};
	struct redis_op *op = op_new(CHORD_START, keys, chord->group_id, "", &group);

	snprintf(op->chord->size, sizeof(op->chord->size), "%zu", chord->size);
	return op;
}

struct redis_op *redis_chord_add(const struct redis_keys *keys, const char *group_id,
				 const char *task_id)
{
	auto_free char *id = mem_printf("added %s", task_id);

	return op_new(CHORD_ADD, keys, group_id, id, &(struct redis_arg){0});
}

/* As many hexadecimal digits as Celery's. */
static void token_make(char token[33])
{
	char id[37];
	size_t len = 0;

	uuid4(id);
	for (const char *c = id; *c; c++)
		if (*c != '-')
			token[len++] = *c;
	token[len] = '\0';
}

struct redis_op *redis_chord_part(const struct redis_keys *keys,
				  const struct backend_chord_part *part,
				  const struct backend_chord_events *events)
{
	const struct redis_arg data = {part->member, part->len};
	auto_free char *id = part->index < 0
				     ? mem_printf("%s:+inf", part->task_id)
				     : mem_printf("%s:%lld", part->task_id, (long long)part->index);
	struct redis_op *op = op_new(CHORD_PART, keys, part->group_id, id, &data);

	snprintf(op->chord->size, sizeof(op->chord->size), "%zu", part->size);
	token_make(op->chord->token);
	op->chord->events = events;
	return op;
}

struct redis_op *redis_chord_end(const struct redis_keys *keys, const struct backend_chord_end *end)
{
	struct redis_op *op = op_new(CHORD_END, keys, end->group_id, "", &(struct redis_arg){0});

	snprintf(op->chord->token, sizeof(op->chord->token), "%s", end->token);
	op->chord->is_error = end->is_error;
	return op;
}

size_t redis_chord_cost(const struct redis_chord *c)
{
	return c->data.len;
}

void redis_chord_free(struct redis_chord *c)
{
	free(c);
}

void redis_chord_ended(const struct redis_op *op, const struct err *err)
{
	const struct redis_chord *c = op->chord;
	struct backend_chord_state state = {
		.status = c->status,
		.count = c->count,
		.token = c->token,
	};

	if (c->kind == CHORD_PART)
		c->events->got(op->ctx, &state, err);
	else
		op->done(op->ctx, err);
}

/* Sending */

static struct redis_arg text_arg(const char *text)
{
	return (struct redis_arg){text, strlen(text)};
}

#define SCRIPT_ARGS_MAX 16

/* The arguments behind the script's name and the number of its keys. */
static int script_send(struct redis_op *op, enum redis_script script, redis_conn_reply_fn *fn,
		       unsigned keys, const struct redis_arg *args, int argc)
{
	const struct redis_script_names *names = op->chord->scripts;
	struct redis_arg all[3 + SCRIPT_ARGS_MAX];
	char count[12];

	snprintf(count, sizeof(count), "%u", keys);
	all[0] = names ? REDIS_ARG("EVALSHA") : REDIS_ARG("EVAL");
	all[1] = text_arg(names ? names->sha[script] : redis_script_text[script]);
	all[2] = text_arg(count);
	memcpy(all + 3, args, (size_t)argc * sizeof(*args));
	return redis_op_command(op, fn, all, 3 + argc);
}

#define SCRIPT(op, script, fn, keys, ...)                                                          \
	script_send(                                                                               \
		(op), (script), (fn), (keys), (const struct redis_arg[]){__VA_ARGS__},             \
		(int)(sizeof((const struct redis_arg[]){__VA_ARGS__}) / sizeof(struct redis_arg)))

static void on_done(void *ctx, const redisReply *reply)
{
	struct redis_op *op = ctx;

	if (reply && redis_op_all_accepted(op, reply))
		op->events->stored(op);
}

static int set_send(struct redis_op *op, redis_conn_reply_fn *fn, struct redis_arg key,
		    struct redis_arg value, const char *seconds)
{
	const struct redis_arg args[] = {REDIS_ARG("SET"), key, value, REDIS_ARG("EX"),
					 text_arg(seconds)};

	return redis_op_command(op, fn, args, strcmp(seconds, "0") == 0 ? 3 : 5);
}

/* A frozen chord that is applied again has the same group id, but is a new run. */
static int start_send(struct redis_op *op)
{
	struct redis_chord *c = op->chord;
	const char *seconds = c->keys->chord_expires;
	const struct redis_arg delete[] = {REDIS_ARG("DEL"), c->c};

	if (redis_op_command(op, redis_op_on_queued, delete, 2) < 0)
		return -1;
	if ((c->data.len > 0 &&
	     set_send(op, redis_op_on_queued, op->key, c->data, c->keys->chord_expires) < 0) ||
	    set_send(op, on_done, c->s, text_arg(c->size), seconds) < 0)
		redis_conn_restart(op->conn, "output is full");
	return 0;
}

/* The answer to a part's report, and what follows when it was the last */

static void part_fail(struct redis_op *op)
{
	op->events->refused(op, "ERR it answers to the report of a chord what cannot be read");
}

static void members_tell(struct redis_op *op, const redisReply *members)
{
	struct redis_chord *c = op->chord;

	for (size_t i = 0; i < members->elements; i++) {
		const redisReply *member = members->element[i];

		if (member->type != REDIS_REPLY_STRING)
			continue;
		c->events->member(op->ctx, member->str, member->len);
		c->read++;
		c->read_bytes += member->len;
	}
}

static void read_on(struct redis_op *op);

static void on_members(void *ctx, const redisReply *reply)
{
	struct redis_op *op = ctx;

	if (!reply)
		return;
	if (reply->type == REDIS_REPLY_ERROR) {
		op->events->refused(op, reply->str);
	} else if (reply->type != REDIS_REPLY_ARRAY) {
		part_fail(op);
	} else {
		members_tell(op, reply);
		/* There are fewer than were counted: another worker is done with it. */
		if (reply->elements == 0)
			op->chord->count = op->chord->read;
		read_on(op);
	}
}

static void on_extended(void *ctx, const redisReply *reply)
{
	struct redis_op *op = ctx;

	if (!reply)
		return;
	if (reply->type == REDIS_REPLY_ERROR) {
		op->events->refused(op, reply->str);
		return;
	}
	op->chord->status = reply->type == REDIS_REPLY_INTEGER && reply->integer == 1
				    ? BACKEND_CHORD_COMPLETE
				    : BACKEND_CHORD_LOST;
	op->events->stored(op);
}

static size_t next_count(const struct redis_chord *c)
{
	size_t each = c->read_bytes / (c->read ? c->read : 1) + 1, count = READ_BYTES / each;

	return count < 1 ? 1 : count > READ_MOST ? READ_MOST : count;
}

static void read_on(struct redis_op *op)
{
	struct redis_chord *c = op->chord;
	char from[24], to[24];
	int result;

	if (c->read >= c->count) {
		result = SCRIPT(op, REDIS_SCRIPT_CHORD_EXTEND, on_extended, 2, c->c, c->s,
				text_arg(c->token), text_arg(c->keys->publish));
	} else {
		const struct redis_arg args[] = {
			c->keys->is_ordered ? REDIS_ARG("ZRANGE") : REDIS_ARG("LRANGE"),
			c->j,
			{from, (size_t)snprintf(from, sizeof(from), "%zu", c->read)},
			{to, (size_t)snprintf(to, sizeof(to), "%zu", c->read + next_count(c) - 1)},
		};

		result = redis_op_command(op, on_members, args, 4);
	}
	if (result < 0)
		redis_conn_restart(op->conn, "output is full");
}

static void group_tell(struct redis_op *op, const redisReply *group)
{
	bool is_kept = group->type == REDIS_REPLY_STRING;

	op->chord->events->begin(op->ctx, is_kept ? group->str : NULL, is_kept ? group->len : 0);
}

static bool is_number(const redisReply *reply, size_t at)
{
	return at < reply->elements && reply->element[at]->type == REDIS_REPLY_INTEGER;
}

static void on_part(void *ctx, const redisReply *reply)
{
	struct redis_op *op = ctx;
	struct redis_chord *c = op->chord;

	if (!reply)
		return;
	if (reply->type == REDIS_REPLY_ERROR) {
		op->events->refused(op, reply->str);
		return;
	}
	if (reply->type != REDIS_REPLY_ARRAY || !is_number(reply, 0) || !is_number(reply, 1) ||
	    (reply->element[1]->integer == 1 &&
	     (reply->elements < 4 || reply->element[3]->type != REDIS_REPLY_ARRAY))) {
		part_fail(op);
		return;
	}
	c->count = reply->element[0]->integer < 0 ? 0 : (size_t)reply->element[0]->integer;
	c->status = BACKEND_CHORD_OPEN;
	if (reply->element[1]->integer == 2) {
		op->events->busy(op);
		return;
	}
	if (reply->element[1]->integer != 1) {
		op->events->stored(op);
		return;
	}
	group_tell(op, reply->element[2]);
	members_tell(op, reply->element[3]);
	c->status = BACKEND_CHORD_COMPLETE;
	if (c->count <= FIRST_MEMBERS)
		op->events->stored(op);
	else
		read_on(op);
}

static int part_send(struct redis_op *op)
{
	struct redis_chord *c = op->chord;
	const struct redis_keys *k = c->keys;
	char first[12];

	c->read = c->read_bytes = 0;
	snprintf(first, sizeof(first), "%d", FIRST_MEMBERS);
	return SCRIPT(op, REDIS_SCRIPT_CHORD_PART, on_part, 6, c->j, c->t, c->s, c->d, op->key,
		      c->c, c->id, c->data, k->is_ordered ? c->place : REDIS_ARG(""),
		      text_arg(c->size), text_arg(k->chord_expires), text_arg(k->group_expires),
		      text_arg(k->claim), text_arg(k->publish), text_arg(c->token),
		      text_arg(first));
}

int redis_chord_send(struct redis_op *op, const struct redis_script_names *scripts)
{
	struct redis_chord *c = op->chord;

	c->scripts = scripts;
	op->way = REDIS_WAY_SCRIPT;
	if (c->kind == CHORD_START)
		return start_send(op);
	if (c->kind == CHORD_PART)
		return part_send(op);
	if (c->kind == CHORD_ADD)
		return SCRIPT(op, REDIS_SCRIPT_CHORD_ADD, on_done, 2, c->d, c->t, c->id,
			      text_arg(c->keys->chord_expires));
	return SCRIPT(op, REDIS_SCRIPT_CHORD_END, on_done, 5, c->c, c->j, c->t, c->s, c->d,
		      text_arg(c->token), text_arg(c->is_error ? "" : c->keys->done));
}
