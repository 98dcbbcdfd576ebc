/* Putting messages back: read, mark, push; the record goes with the push. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/broker_redis.h"
#include "transport/redis_binding.h"
#include "transport/redis_record.h"

#define BACK_MOST   1000 /* at once; fields of one script */
#define BACK_BYTES  ((size_t)1 << 20)
#define PUSHES_MOST 4 /* under way */
#define QUEUES_MOST 64
#define KEYS_MOST   3000 /* of one push, before the last of it */

struct redis_back {
	struct list_node node;
	struct broker_redis *owner;
	char **queues; /* that its exchange has now; NULL = not asked for */
	char side;
	char field[];
};

static void back_free(struct redis_back *back)
{
	list_remove(&back->node);
	back->owner->answers.back_count--;
	for (char **queue = back->queues; queue && *queue; queue++)
		free(*queue);
	free(back->queues);
	free(back);
}

void redis_unacked_put_back(struct broker_redis *r, const char *field, char side)
{
	size_t len = strlen(field) + 1;
	struct redis_back *back = mem_calloc(1, sizeof(*back) + len);

	back->owner = r;
	back->side = side;
	memcpy(back->field, field, len);
	/* What is to be served next is pushed newest first; a stop gives back oldest first, after
	 * what is newer than all that. */
	if (r->is_paused && !redis_broker_is_closing(r))
		list_prepend(&r->answers.stops, &back->node);
	else
		list_append(&r->answers.backs, &back->node);
	r->answers.back_count++;
	redis_wake(r);
}

/* A script that is under way. */
struct step {
	struct broker_redis *owner;
	unsigned long long round;
	size_t count;
};

static struct step *step_new(struct broker_redis *r, size_t count)
{
	struct step *step = mem_calloc(1, sizeof(*step));

	*step = (struct step){.owner = r, .round = r->answers.back_round, .count = count};
	return step;
}

static void list_move_before(struct list_node *before, struct list_node *list)
{
	struct list_node *node;

	while ((node = list_pop(list)) != NULL)
		list_insert_before(before, node);
}

/* All that is under way goes back to the front, in its order: none may overtake what failed. What
 * was pushed after all is not there any more when it is read again. */
static void retry(struct broker_redis *r)
{
	struct list_node *before = r->answers.backs.next;

	r->answers.back_round++;
	r->answers.pushes = 0;
	list_move_before(before, &r->answers.pushing);
	list_move_before(before, &r->answers.reading);
	redis_wake(r);
}

/* The end of a step. False: its answer is an error (or none), and all is to be tried again, or that
 * has been done already. */
static bool step_end(struct step *step, enum redis_script script, const redisReply *reply)
{
	struct broker_redis *r = step->owner;
	bool is_current = step->round == r->answers.back_round;

	free(step);
	if (reply != NULL && reply->type != REDIS_REPLY_ERROR)
		return is_current;
	if (reply != NULL && !redis_script_is_gone(&r->scripts, script, reply)) {
		r->answers.is_stuck = true;
		redis_trouble(r, "putting messages back", reply);
	}
	if (is_current)
		retry(r);
	return false;
}

static void on_pushed(void *ctx, const redisReply *reply)
{
	struct step *step = ctx;
	struct broker_redis *r = step->owner;
	size_t count = step->count;

	if (!step_end(step, REDIS_SCRIPT_PUT_BACK, reply))
		return;
	r->answers.pushes--;
	while (count-- > 0)
		back_free(list_entry(r->answers.pushing.next, struct redis_back, node));
	redis_take_wake(r);
}

/* Where a message of a Python worker's goes: to the queues that its exchange has now. */

static void add_route(struct redis_back *back, size_t *count, const char *key,
		      const redisReply *member)
{
	struct span queue;

	if (member->type != REDIS_REPLY_STRING || *count == QUEUES_MOST ||
	    !redis_binding_matches(member->str, member->len, &back->owner->options, NULL, key,
				   &queue))
		return;
	for (size_t i = 0; i < *count; i++)
		if (strlen(back->queues[i]) == queue.len &&
		    memcmp(back->queues[i], queue.data, queue.len) == 0)
			return;
	back->queues[(*count)++] = mem_dup(queue.data, queue.len);
}

struct route {
	struct redis_back *back;
	char *key;
};

static void tell_no_route(struct broker_redis *r, const char *key, bool is_too_large)
{
	auto_free char *text = mem_printf(
		"An unacked message cannot be put back: %s its exchange for key "
		"'%.200s'; it stays in '%.200s'",
		is_too_large ? "too much is bound to" : "nothing is bound to", key, r->unacked);

	redis_notice(r, false, text);
}

static void on_route(void *ctx, const redisReply *reply)
{
	struct route *route = ctx;
	struct redis_back *back = route->back;
	struct broker_redis *r = back->owner;
	bool is_too_large = reply != NULL && reply->type == REDIS_REPLY_INTEGER;
	size_t count = 0;

	if (reply != NULL && reply->type == REDIS_REPLY_ARRAY) {
		back->queues = mem_calloc(QUEUES_MOST + 1, sizeof(char *));
		for (size_t i = 0; i < reply->elements; i++)
			add_route(back, &count, route->key, reply->element[i]);
	}
	if (is_too_large || (back->queues && count == 0)) {
		tell_no_route(r, route->key, is_too_large);
		back_free(back);
		back = NULL;
	}
	if (back) {
		list_remove(&back->node);
		list_prepend(&r->answers.backs, &back->node);
	}
	free(route->key);
	free(route);
	redis_wake(r);
}

static void route_ask(struct redis_back *back, const struct redis_record *record)
{
	struct broker_redis *r = back->owner;
	auto_free char *key = redis_binding_key(&r->options, record->exchange);
	struct route *route = mem_calloc(1, sizeof(*route));

	route->back = back;
	route->key = mem_strdup(record->key);
	if (redis_script_ask_table(&r->scripts, r->conn, key, on_route, route) < 0)
		on_route(route, NULL);
}

/* The push */

struct push {
	struct broker_redis *owner;
	struct redis_arg *keys, *values; /* the texts behind them: */
	char **texts;
	size_t count, cap, text_count, text_cap;
	size_t records;
};

/* Freed with the push. */
static void push_keep(struct push *p, char *text)
{
	if (p->text_count == p->text_cap) {
		p->text_cap = p->text_cap ? p->text_cap * 2 : 128;
		p->texts = mem_realloc(p->texts, p->text_cap * sizeof(*p->texts));
	}
	p->texts[p->text_count++] = text;
}

static void push_add(struct push *p, const struct redis_back *back, const char *queue,
		     const struct redis_record *record, const char *message, size_t len)
{
	const struct redis_options *o = &p->owner->options;
	char *key = redis_queue_key(o, queue, redis_step_of(o, record->priority));

	if (p->count == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 64;
		p->keys = mem_realloc(p->keys, p->cap * sizeof(*p->keys));
		p->values = mem_realloc(p->values, 3 * p->cap * sizeof(*p->values));
	}
	push_keep(p, key);
	p->keys[p->count] = (struct redis_arg){key, strlen(key)};
	p->values[3 * p->count] = (struct redis_arg){back->field, strlen(back->field)};
	p->values[3 * p->count + 1] = (struct redis_arg){message, len};
	p->values[3 * p->count + 2] = (struct redis_arg){&back->side, 1};
	p->count++;
}

static void push_clear(struct push *p)
{
	for (size_t i = 0; i < p->text_count; i++)
		free(p->texts[i]);
	free(p->texts);
	free(p->keys);
	free(p->values);
}

/* Into the push, unless it goes its own way. */
static void push_record(struct push *p, struct redis_back *back, const redisReply *text)
{
	struct broker_redis *r = p->owner;
	struct str message = STR_INIT(STR_MAX_DEFAULT);
	struct err err = {0};
	size_t len;
	auto_record record;

	if (redis_record_read(&record, text->str, text->len, &err) < 0) {
		redis_take_set_aside(r, r->options.unacked_key, back->field, text->str, text->len,
				     &err);
		back_free(back);
		return;
	}
	if (record.exchange[0] != '\0' && back->queues == NULL) {
		list_remove(&back->node);
		list_append(&r->answers.routing, &back->node);
		route_ask(back, &record);
		return;
	}
	redis_record_mark(&message, &record);
	len = message.len;
	if (record.exchange[0] == '\0')
		push_add(p, back, record.key, &record, message.data, len);
	for (char **queue = back->queues; queue && *queue; queue++)
		push_add(p, back, *queue, &record, message.data, len);
	push_keep(p, str_detach(&message));
	list_remove(&back->node);
	list_append(&r->answers.pushing, &back->node);
	p->records++;
}

static void push_send(struct push *p)
{
	struct broker_redis *r = p->owner;
	size_t argc = 5 + 4 * p->count;
	auto_free struct redis_arg *args = mem_calloc(argc, sizeof(*args));
	struct step *step = step_new(r, p->records);
	char keys[24];

	snprintf(keys, sizeof(keys), "%zu", 2 + p->count);
	args[2] = (struct redis_arg){keys, strlen(keys)};
	args[3] = (struct redis_arg){r->unacked, strlen(r->unacked)};
	args[4] = (struct redis_arg){r->index, strlen(r->index)};
	memcpy(args + 5, p->keys, p->count * sizeof(*args));
	memcpy(args + 5 + p->count, p->values, 3 * p->count * sizeof(*args));
	if (redis_script_call(&r->scripts, r->conn, REDIS_SCRIPT_PUT_BACK, args, (int)argc,
			      on_pushed, step) < 0) {
		free(step);
		retry(r);
	} else {
		r->answers.pushes++;
	}
}

/* Records that were read, in the order of the list; those behind the last did not fit. */
static void on_read(void *ctx, const redisReply *reply)
{
	struct step *step = ctx;
	struct broker_redis *r = step->owner;
	struct push push = {.owner = r};
	struct list_node *pos, *tmp, *before = r->answers.backs.next;
	size_t i = 0;

	if (!step_end(step, REDIS_SCRIPT_READ, reply))
		return;
	list_foreach_safe (pos, tmp, &r->answers.reading) {
		struct redis_back *back = list_entry(pos, struct redis_back, node);
		size_t at = i++;

		if (reply->type != REDIS_REPLY_ARRAY || at >= reply->elements ||
		    push.count >= KEYS_MOST) {
			list_remove(pos);
			list_insert_before(before, pos);
		} else if (reply->element[at]->type != REDIS_REPLY_STRING) {
			back_free(back); /* nobody has it any more, or another put it back */
		} else {
			push_record(&push, back, reply->element[at]);
		}
	}
	if (push.count > 0)
		push_send(&push);
	push_clear(&push);
	redis_wake(r);
}

static struct list_node *next_back(struct broker_redis *r)
{
	struct list_node *node = list_pop(&r->answers.backs);

	return node ? node : list_pop(&r->answers.stops);
}

void redis_back_flush(struct broker_redis *r)
{
	auto_free struct redis_arg *args = NULL;
	struct step *step;
	struct list_node *node;
	char bytes[24];
	int argc = 5;

	if (!list_is_empty(&r->answers.reading) || r->answers.pushes >= PUSHES_MOST ||
	    (list_is_empty(&r->answers.backs) && list_is_empty(&r->answers.stops)))
		return;
	args = mem_calloc(6 + BACK_MOST, sizeof(*args));
	snprintf(bytes, sizeof(bytes), "%zu", BACK_BYTES);
	args[2] = REDIS_ARG("2");
	args[3] = (struct redis_arg){r->unacked, strlen(r->unacked)};
	args[4] = (struct redis_arg){r->index, strlen(r->index)};
	args[argc++] = (struct redis_arg){bytes, strlen(bytes)};
	while (argc < 6 + BACK_MOST && (node = next_back(r)) != NULL) {
		const struct redis_back *back = list_entry(node, struct redis_back, node);

		list_append(&r->answers.reading, node);
		args[argc++] = (struct redis_arg){back->field, strlen(back->field)};
	}
	step = step_new(r, 0);
	if (redis_script_call(&r->scripts, r->conn, REDIS_SCRIPT_READ, args, argc, on_read, step) <
	    0) {
		free(step);
		retry(r);
	}
}

/* What is ours among them */

static uint64_t number_of(const struct broker_redis *r, const char *field)
{
	size_t len = strlen(r->lease.id);

	return strncmp(field, r->lease.id, len) == 0 && field[len] == ':'
		       ? strtoull(field + len + 1, NULL, 10)
		       : 0;
}

size_t redis_back_numbers(struct broker_redis *r, uint64_t *numbers)
{
	struct list_node *const lists[] = {&r->answers.backs, &r->answers.stops,
					   &r->answers.reading, &r->answers.pushing,
					   &r->answers.routing};
	struct list_node *pos;
	size_t n = 0;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		list_foreach (pos, lists[i])
			numbers[n++] =
				number_of(r, list_entry(pos, struct redis_back, node)->field);
	return n;
}

void redis_back_clear(struct broker_redis *r)
{
	retry(r);
	while (!list_is_empty(&r->answers.backs))
		back_free(list_entry(r->answers.backs.next, struct redis_back, node));
	while (!list_is_empty(&r->answers.stops))
		back_free(list_entry(r->answers.stops.next, struct redis_back, node));
	while (!list_is_empty(&r->answers.routing))
		back_free(list_entry(r->answers.routing.next, struct redis_back, node));
}
