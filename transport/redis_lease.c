#include "transport/redis_lease.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "transport/broker_redis.h"

#define NODES_MOST     10000
#define LATE_US	       ((int64_t)2 * 1000000) /* an answer that took longer is no contact */
#define STALL_US       ((int64_t)6 * 1000000) /* between two of our ticks */
#define FORGET_DEAD_US ((int64_t)600 * 1000000)
#define CHUNK	       500
#define RENEW_US       ((int64_t)5 * 1000000)
#define RENEW_PER_S    2000

static void new_id(struct broker_redis *r)
{
	char text[37];
	size_t n = 0;

	uuid4(text);
	for (const char *c = text; *c; c++)
		if (*c != '-')
			r->lease.id[n++] = *c;
	r->lease.id[n] = '\0';
	r->lease.generation++;
	r->lease.was_registered = false;
}

void redis_lease_init(struct broker_redis *r)
{
	new_id(r);
	r->lease.nodes = map_new();
}

static void nodes_forget(struct broker_redis *r, unsigned but_round)
{
	struct map_entry *e = map_first(r->lease.nodes);

	while (e) {
		struct redis_node *node = map_value(e);
		auto_free char *id = mem_strdup(map_key(e));

		e = map_next(e);
		if (but_round == 0 || node->round != but_round) {
			map_del(r->lease.nodes, id);
			free(node);
		}
	}
}

void redis_lease_clear(struct broker_redis *r)
{
	if (r->lease.nodes == NULL)
		return;
	nodes_forget(r, 0);
	map_free(r->lease.nodes);
}

bool redis_lease_is_sure(const struct broker_redis *r)
{
	return r->lease.is_registered &&
	       (int64_t)uv_now(r->loop) * 1000 - r->lease.answered_us < REDIS_SURE_US;
}

/* Who is there */

static void bury_answered(void *ctx, const redisReply *reply)
{
	(void)reply; /* the next renewal shows it, to all */
	redis_lease_ask(ctx);
}

void redis_lease_bury(struct broker_redis *r, const char *id, const char *number)
{
	struct redis_arg args[] = {{0},
				   {0},
				   REDIS_ARG("1"),
				   {r->nodes, strlen(r->nodes)},
				   {id, strlen(id)},
				   {number, strlen(number)}};

	(void)redis_script_call(&r->scripts, r->conn, REDIS_SCRIPT_BURY, args, 6, bury_answered, r);
}

static void ignore(void *ctx, const redisReply *reply)
{
	(void)ctx;
	(void)reply;
}

/* Nothing of it is left, and it would have heard by now. */
static void forget_dead(struct broker_redis *r, const char *name)
{
	const struct redis_arg args[] = {
		REDIS_ARG("ZREM"), {r->nodes, strlen(r->nodes)}, {name, strlen(name)}};

	(void)redis_conn_command(r->conn, args, 3, ignore, NULL);
}

static void judge(struct broker_redis *r, const char *name, struct redis_node *node, int64_t now)
{
	size_t len = strlen(REDIS_NODE_DEAD);
	int64_t since = node->since_us > r->lease.contact_us ? node->since_us : r->lease.contact_us;

	if (strncmp(name, REDIS_NODE_DEAD, len) == 0) {
		if (!node->is_clean)
			redis_sweep_node(r, name + len);
		else if (now - node->since_us > FORGET_DEAD_US)
			forget_dead(r, name);
	} else if (strcmp(name, r->lease.id) != 0 && now - since >= REDIS_LEASE_US) {
		redis_lease_bury(r, name, node->number);
	}
}

static void see(struct broker_redis *r, const char *name, const char *number, int64_t now)
{
	struct redis_node *node = map_get(r->lease.nodes, name);

	if (node == NULL) {
		node = mem_calloc(1, sizeof(*node));
		map_put(r->lease.nodes, name, node);
	}
	node->round = r->lease.round;
	if (strcmp(node->number, number) != 0) {
		snprintf(node->number, sizeof(node->number), "%s", number);
		node->since_us = now;
		node->is_clean = false;
	}
	judge(r, name, node, now);
}

/* Renewal */

/* Others put back what we held: it is theirs. */
static void take_new_id(struct broker_redis *r)
{
	auto_free char *text = mem_printf(
		"Redis: this worker was not heard of for more than %d s, and others took "
		"over what it held (%u messages)",
		(int)(REDIS_LEASE_US / 1000000), r->held.used);

	redis_notice(r, false, text);
	redis_ahead_give_back(r); /* or rather, others did that */
	redis_held_clear(&r->held);
	redis_unacked_forget_ours(r);
	new_id(r);
	redis_lease_ask(r);
}

static bool is_live_answer(const redisReply *reply)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 || reply->elements % 2 != 0 ||
	    reply->element[0]->type != REDIS_REPLY_INTEGER ||
	    reply->element[1]->type != REDIS_REPLY_INTEGER)
		return false;
	for (size_t i = 2; i < reply->elements; i++)
		if (reply->element[i]->type != REDIS_REPLY_STRING)
			return false;
	return true;
}

/* While the connection stands; else on_down and on_up say it. */
static void tell_sure(struct broker_redis *r)
{
	bool is_sure = redis_lease_is_sure(r);

	if (r->phase != REDIS_UP || is_sure != r->lease.is_doubted)
		return;
	r->lease.is_doubted = !is_sure;
	if (r->base.events->on_sure)
		r->base.events->on_sure(r->base.ctx, is_sure);
}

static void registered(struct broker_redis *r, const redisReply *reply, int64_t now)
{
	struct redis_lease *lease = &r->lease;
	bool is_late = now - lease->asked_us > LATE_US, was_sure = redis_lease_is_sure(r);

	/* The registry was lost, with all records perhaps: what we hold is all there is of it. A
	 * long absence is another matter: then the mark of our death may be gone by now. */
	if (reply->element[0]->integer == 0 && lease->was_registered &&
	    now - lease->answered_us < FORGET_DEAD_US)
		lease->exempt_below = r->take.next_number;
	lease->was_registered = true;
	if (is_late || lease->contact_us == 0)
		lease->contact_us = now;
	lease->answered_us = lease->asked_us; /* what we know is from then at the latest */
	lease->round++;
	for (size_t i = 2; i + 1 < reply->elements; i += 2)
		see(r, reply->element[i]->str, reply->element[i + 1]->str, now);
	nodes_forget(r, lease->round);
	lease->is_registered = true;
	if (!was_sure)
		redis_take_wake(r);
	tell_sure(r);
}

static void on_live(void *ctx, const redisReply *reply)
{
	struct broker_redis *r = ctx;

	r->lease.is_asking = false;
	if (reply == NULL)
		return;
	if (redis_script_is_gone(&r->scripts, REDIS_SCRIPT_LIVE, reply)) {
		redis_lease_ask(r);
	} else if (!is_live_answer(reply)) {
		r->lease.contact_us = 0;
		redis_trouble(r, "registering", reply);
	} else if (reply->element[1]->integer != 0) {
		take_new_id(r);
	} else {
		registered(r, reply, clock_mono_us());
	}
}

void redis_lease_ask(struct broker_redis *r)
{
	struct redis_lease *lease = &r->lease;
	char number[32], most[16];
	struct redis_arg args[] = {{0},
				   {0},
				   REDIS_ARG("1"),
				   {r->nodes, strlen(r->nodes)},
				   {lease->id, strlen(lease->id)},
				   {number, 0},
				   {most, 0}};

	/* Who has left must not come back onto the list. */
	if (lease->is_asking || r->is_leaving || !r->is_connected || !redis_takes(r))
		return;
	snprintf(number, sizeof(number), "%.0f",
		 lease->epoch * REDIS_NODE_EPOCH + (double)++lease->number);
	snprintf(most, sizeof(most), "%d", NODES_MOST);
	args[5].len = strlen(number);
	args[6].len = strlen(most);
	lease->asked_us = clock_mono_us();
	lease->is_asking = redis_script_call(&r->scripts, r->conn, REDIS_SCRIPT_LIVE, args, 7,
					     on_live, r) == 0;
}

/* Being entered anew */

struct chunk {
	struct broker_redis *owner;
	unsigned generation;
	size_t count;
	uint64_t tags[CHUNK];
};

static struct chunk *chunk_new(struct broker_redis *r, unsigned *at)
{
	struct chunk *chunk = mem_calloc(1, sizeof(*chunk));

	chunk->owner = r;
	chunk->generation = r->lease.generation;
	chunk->count = redis_held_list(&r->held, at, chunk->tags, CHUNK);
	return chunk;
}

/* The fields of a chunk behind `argc` arguments. */
static int add_fields(const struct chunk *chunk, struct redis_arg *args, int argc,
		      char (*texts)[REDIS_FIELD_BYTES])
{
	for (size_t i = 0; i < chunk->count; i++) {
		redis_unacked_field(chunk->owner, redis_held_number(chunk->tags[i]), texts[i]);
		args[argc++] = (struct redis_arg){texts[i], strlen(texts[i])};
	}
	return argc;
}

static void renew_next(struct broker_redis *r);

static void on_renewed(void *ctx, const redisReply *reply)
{
	struct chunk *chunk = ctx;
	struct broker_redis *r = chunk->owner;

	r->lease.is_renewing = false;
	if (reply != NULL && !redis_script_is_gone(&r->scripts, REDIS_SCRIPT_RENEW, reply)) {
		if (reply->type == REDIS_REPLY_ERROR)
			redis_trouble(r, "renewing leases", reply);
		else if (reply->type == REDIS_REPLY_INTEGER &&
			 (size_t)reply->integer < chunk->count)
			redis_lease_check(r); /* or they were acked meanwhile */
		renew_next(r);
	}
	free(chunk);
}

static void renew_next(struct broker_redis *r)
{
	struct redis_arg args[4 + CHUNK] = {{0}, {0}, REDIS_ARG("1"), {r->index, strlen(r->index)}};
	char texts[CHUNK][REDIS_FIELD_BYTES];
	struct chunk *chunk = chunk_new(r, &r->lease.renew_at);
	int argc = add_fields(chunk, args, 4, texts);

	if (chunk->count > 0 && redis_script_call(&r->scripts, r->conn, REDIS_SCRIPT_RENEW, args,
						  argc, on_renewed, chunk) == 0)
		r->lease.is_renewing = true;
	else
		free(chunk);
}

/* The more is held the seldomer, but in time for peers with the same visibility timeout. */
static int64_t renew_interval_us(const struct broker_redis *r)
{
	int64_t by_count = (int64_t)r->held.used * 1000000 / RENEW_PER_S;
	int64_t longest = (int64_t)(r->options.visibility_timeout_s * 1e6 / 4);
	int64_t us = by_count > RENEW_US ? by_count : RENEW_US;

	return us < longest ? us : longest;
}

static void renew(struct broker_redis *r, int64_t now)
{
	if (r->lease.is_renewing || now < r->lease.renew_next_us)
		return;
	r->lease.renew_next_us = now + renew_interval_us(r) - (int64_t)REDIS_TICK_MS * 500;
	r->lease.renew_at = 0;
	renew_next(r);
}

/* What is not ours any more */

static void check_next(struct broker_redis *r);

static void on_checked(void *ctx, const redisReply *reply)
{
	struct chunk *chunk = ctx;
	struct broker_redis *r = chunk->owner;
	bool is_answer = reply != NULL && reply->type == REDIS_REPLY_ARRAY &&
			 reply->elements == chunk->count &&
			 chunk->generation == r->lease.generation;

	for (size_t i = 0; is_answer && i < chunk->count; i++)
		if (reply->element[i]->type == REDIS_REPLY_NIL &&
		    redis_held_number(chunk->tags[i]) >= r->lease.exempt_below)
			redis_held_drop(&r->held, chunk->tags[i]);
	r->lease.is_checking = false;
	if (reply != NULL)
		check_next(r);
	free(chunk);
}

static void check_next(struct broker_redis *r)
{
	struct redis_arg args[2 + CHUNK] = {REDIS_ARG("ZMSCORE"), {r->index, strlen(r->index)}};
	char texts[CHUNK][REDIS_FIELD_BYTES];
	struct chunk *chunk = chunk_new(r, &r->lease.check_at);
	int argc = add_fields(chunk, args, 2, texts);

	if (chunk->count > 0 && redis_conn_command(r->conn, args, argc, on_checked, chunk) == 0)
		r->lease.is_checking = true;
	else
		free(chunk);
}

void redis_lease_check(struct broker_redis *r)
{
	if (r->lease.is_checking)
		return;
	r->lease.check_at = 0;
	check_next(r);
}

/* Time */

void redis_lease_up(struct broker_redis *r)
{
	r->lease.epoch++;
	r->lease.number = 0;
	r->lease.is_asking = r->lease.is_registered = false;
	r->lease.contact_us = 0;
	redis_lease_ask(r);
}

void redis_lease_down(struct broker_redis *r)
{
	r->lease.is_registered = false;
	r->lease.contact_us = 0;
	r->lease.is_asking = r->lease.is_renewing = r->lease.is_checking = false;
	r->lease.is_doubted = false;
}

void redis_lease_tick(struct broker_redis *r)
{
	int64_t now = clock_mono_us();
	int64_t before = r->lease.ticked_us;

	r->lease.ticked_us = now;
	if (!r->is_connected)
		return;
	/* We were stopped. What arrived meanwhile is as old as that: begin anew. */
	if (before != 0 && now - before > STALL_US) {
		redis_conn_restart(r->conn, "this process stood still for a while");
		return;
	}
	tell_sure(r);
	redis_lease_ask(r);
	if (r->lease.is_registered)
		renew(r, now);
}
