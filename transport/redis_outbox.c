#include "transport/redis_outbox.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "transport/redis_answer.h"
#include "transport/redis_keys.h"

#define BATCH_LISTS 512
#define BATCH_BYTES ((size_t)1 << 20)
/* How long the server remembers the last batch of somebody it does not hear of: an outage that
 * lasted longer may push one twice. */
#define REMEMBER_S	 "3600"
#define UNROUTED_TELL_MS 10000

static void pump(struct redis_outbox *o);

static struct redis_letter *letter_of(struct list_node *node)
{
	return list_entry(node, struct redis_letter, node);
}

static struct redis_arg arg_of(const char *text)
{
	return (struct redis_arg){text, strlen(text)};
}

/* Callbacks of `done` may publish: the letter is on no list by then. */
static void letter_end(struct redis_outbox *o, struct redis_letter *letter, const struct err *why)
{
	o->bytes -= redis_letter_cost(letter);
	o->count--;
	o->published += why == NULL;
	list_remove(&letter->node);
	if (letter->done)
		letter->done(letter->ctx, why);
	redis_letter_free(letter);
}

static void tell_trouble(struct redis_outbox *o, const char *answer)
{
	auto_free char *text = NULL;

	if (o->is_told)
		return;
	o->is_told = true;
	text = mem_printf("Redis takes no messages for now (they wait): %.200s", answer);
	o->wire->notice(o->wire->ctx, true, text);
}

/* Who lives through it is to be tried again: not now, or by another connection. */
static bool is_for_later(struct redis_outbox *o, const char *answer)
{
	enum redis_answer class = redis_answer_class(answer);

	if (class == REDIS_ANSWER_RECONNECT && o->wire->conn)
		redis_conn_restart(o->wire->conn, answer);
	if (class != REDIS_ANSWER_LATER && class != REDIS_ANSWER_RECONNECT)
		return false;
	o->is_held = true;
	tell_trouble(o, answer);
	return true;
}

/* Messages to queues */

static bool is_pushed(const struct redis_letter *letter)
{
	for (size_t i = 0; i < letter->list_count; i++)
		if (letter->lists[i])
			return false;
	return true;
}

static size_t count_lists(struct list_node *sent)
{
	size_t count = 0;
	struct list_node *pos;

	list_foreach (pos, sent)
		for (size_t i = 0; i < letter_of(pos)->list_count; i++)
			count += letter_of(pos)->lists[i] != NULL;
	return count;
}

/* The place of a letter whose list has that index in the batch. */
static char **list_at(struct list_node *sent, size_t index, struct redis_letter **ret_letter)
{
	struct list_node *pos;

	list_foreach (pos, sent) {
		*ret_letter = letter_of(pos);
		for (size_t i = 0; i < (*ret_letter)->list_count; i++)
			if ((*ret_letter)->lists[i] && index-- == 0)
				return &(*ret_letter)->lists[i];
	}
	return NULL;
}

/* Moves those that are pushed, or refused for good, to `ended`; the others have to go again. */
static void sort_refused(struct redis_outbox *o, struct list_node *sent, struct list_node *ended,
			 const redisReply *bad, struct err *err)
{
	size_t at = bad->elements / 2;
	struct list_node *pos, *tmp;

	/* From behind, so that the indexes before stay right. */
	for (size_t index = count_lists(sent); index-- > 0;) {
		bool is_bad = at > 0 && (size_t)bad->element[2 * at - 2]->integer == index;
		const char *why = is_bad ? bad->element[2 * at - 1]->str : NULL;
		struct redis_letter *letter = NULL;
		char **list = list_at(sent, index, &letter);

		if (!list || !letter)
			break;
		at -= is_bad;
		if (is_bad && why && is_for_later(o, why))
			continue;
		letter->is_refused = letter->is_refused || is_bad;
		if (is_bad)
			err_set(err, ERR_REFUSED, "Redis refuses a message to '%.100s': %.200s",
				*list, why ? why : "");
		free(*list);
		*list = NULL;
	}
	list_foreach_safe (pos, tmp, sent) {
		if (!is_pushed(letter_of(pos)))
			continue;
		list_remove(pos);
		list_append(ended, pos);
	}
}

static void end_all(struct redis_outbox *o, struct list_node *sent, const struct err *why)
{
	while (!list_is_empty(sent))
		letter_end(o, letter_of(sent->next), why);
}

/* The letters of the batch leave the queue: their order among themselves stays. */
static void take_sent(struct redis_outbox *o, struct list_node *ret_sent)
{
	list_init(ret_sent);
	while (!list_is_empty(&o->letters) && letter_of(o->letters.next)->is_sent)
		list_append(ret_sent, list_pop(&o->letters));
}

static void put_back(struct redis_outbox *o, struct list_node *sent)
{
	while (!list_is_empty(sent)) {
		struct redis_letter *letter = letter_of(sent->prev);

		list_remove(&letter->node);
		letter->is_sent = false;
		list_prepend(&o->letters, &letter->node);
	}
}

/* Its letters end only when the queue is in order again: who is told may publish. */
static void batch_answered(struct redis_outbox *o, const redisReply *reply)
{
	struct list_node sent, ended;
	struct err err = {0};

	list_init(&ended);
	take_sent(o, &sent);
	if (reply->type == REDIS_REPLY_ARRAY) {
		sort_refused(o, &sent, &ended, reply, &err);
		put_back(o, &sent);
	} else if (reply->type != REDIS_REPLY_ERROR) {
		o->is_told = false;
	} else if (is_for_later(o, reply->str)) {
		put_back(o, &sent);
	} else {
		err_set(&err, ERR_REFUSED, "Redis refuses messages: %.200s", reply->str);
	}
	while (!list_is_empty(&ended))
		letter_end(o, letter_of(ended.next),
			   letter_of(ended.next)->is_refused ? &err : NULL);
	end_all(o, &sent, err.code ? &err : NULL);
}

static void on_batch(void *ctx, const redisReply *reply)
{
	struct redis_outbox *o = ctx;

	o->is_on_its_way = false;
	if (!reply)
		return; /* done or not: the same again */
	if (!redis_script_is_gone(o->wire->scripts, REDIS_SCRIPT_PUBLISH, reply)) {
		o->is_frozen = false;
		batch_answered(o, reply);
	}
	pump(o);
}

static void choose_batch(struct redis_outbox *o)
{
	size_t lists = 0, bytes = 0;
	struct list_node *pos;

	list_foreach (pos, &o->letters) {
		struct redis_letter *letter = letter_of(pos);
		size_t cost = letter->envelope.len * letter->list_count;

		if (!letter->is_routed)
			break;
		if (lists > 0 &&
		    (lists + letter->list_count > BATCH_LISTS || bytes + cost > BATCH_BYTES))
			break;
		letter->is_sent = true;
		lists += letter->list_count;
		bytes += cost;
	}
	o->is_frozen = lists > 0;
	o->number += o->is_frozen;
}

static size_t batch_lists(const struct redis_outbox *o)
{
	size_t count = 0;

	for (struct list_node *pos = o->letters.next; pos != &o->letters && letter_of(pos)->is_sent;
	     pos = pos->next)
		for (size_t i = 0; i < letter_of(pos)->list_count; i++)
			count += letter_of(pos)->lists[i] != NULL;
	return count;
}

/* A list for each message, in the order of the messages. */
static void fill_batch(const struct redis_outbox *o, struct redis_arg *lists,
		       struct redis_arg *messages)
{
	size_t at = 0;

	for (struct list_node *pos = o->letters.next; pos != &o->letters && letter_of(pos)->is_sent;
	     pos = pos->next) {
		const struct redis_letter *letter = letter_of(pos);

		for (size_t i = 0; i < letter->list_count; i++) {
			if (!letter->lists[i])
				continue;
			lists[at] = arg_of(letter->lists[i]);
			messages[at].data = letter->envelope.data;
			messages[at++].len = letter->envelope.len;
		}
	}
}

static void send_batch(struct redis_outbox *o)
{
	size_t count = batch_lists(o);
	auto_free struct redis_arg *args = mem_calloc(2 * count + 6, sizeof(*args));
	char keys[24], number[24];

	snprintf(keys, sizeof(keys), "%zu", count + 1);
	snprintf(number, sizeof(number), "%" PRIu64, o->number);
	args[2] = arg_of(keys);
	args[3] = arg_of(o->number_key);
	args[4 + count] = arg_of(number);
	args[5 + count] = REDIS_ARG(REMEMBER_S);
	fill_batch(o, args + 4, args + 6 + count);
	o->is_on_its_way = redis_script_call(o->wire->scripts, o->wire->conn, REDIS_SCRIPT_PUBLISH,
					     args, (int)(2 * count + 6), on_batch, o) == 0;
}

/* Messages to channels */

static void on_fanout(void *ctx, const redisReply *reply)
{
	struct redis_outbox *o = ctx;
	struct redis_letter *letter;
	struct err err = {0};

	if (!reply || list_is_empty(&o->published_fanouts))
		return; /* published again on the next connection */
	letter = letter_of(o->published_fanouts.next);
	if (reply->type == REDIS_REPLY_ERROR && is_for_later(o, reply->str)) {
		list_remove(&letter->node);
		list_append(&o->fanouts, &letter->node);
		return;
	}
	if (reply->type == REDIS_REPLY_ERROR)
		err_set(&err, ERR_REFUSED, "Redis refuses a message to channel '%.100s': %.200s",
			letter->channel, reply->str);
	letter_end(o, letter, err.code ? &err : NULL);
	if (!list_is_empty(&o->fanouts))
		pump(o);
}

static void send_fanouts(struct redis_outbox *o)
{
	while (!list_is_empty(&o->fanouts)) {
		struct redis_letter *letter = letter_of(o->fanouts.next);
		const struct redis_arg args[] = {
			REDIS_ARG("PUBLISH"),
			arg_of(letter->channel),
			{letter->envelope.data, letter->envelope.len},
		};

		if (redis_conn_command(o->wire->conn, args, 3, on_fanout, o) < 0)
			return;
		list_remove(&letter->node);
		list_append(&o->published_fanouts, &letter->node);
	}
}

static void pump(struct redis_outbox *o)
{
	if (!o->wire->conn)
		return;
	redis_router_ask(&o->router);
	if (o->is_held)
		return;
	send_fanouts(o);
	if (o->is_on_its_way)
		return;
	if (!o->is_frozen)
		choose_batch(o);
	if (o->is_frozen)
		send_batch(o);
}

/* Where they go */

static void on_routed(void *ctx, struct redis_letter *letter, const struct err *why)
{
	struct redis_outbox *o = ctx;
	auto_free char *text = NULL;

	if (!why && letter->list_count > 0) {
		pump(o);
		return;
	}
	if ((!why || why->code == ERR_LIMIT) &&
	    uv_now(o->wire->loop) - o->unrouted_told_ms >= UNROUTED_TELL_MS) {
		o->unrouted_told_ms = uv_now(o->wire->loop);
		text = mem_printf("a message to exchange '%.100s' with routing key '%.100s' goes "
				  "to no queue: %s",
				  letter->exchange, letter->routing_key,
				  why ? why->text : "nothing is bound to it");
		o->wire->notice(o->wire->ctx, false, text);
	}
	letter_end(o, letter, why);
}

void redis_outbox_init(struct redis_outbox *o, struct redis_wire *wire, struct map *types,
		       size_t max_bytes)
{
	char id[37];

	*o = (struct redis_outbox){.wire = wire, .max_bytes = max_bytes};
	list_init(&o->letters);
	list_init(&o->fanouts);
	list_init(&o->published_fanouts);
	redis_router_init(&o->router, wire, types, on_routed, o);
	uuid4(id);
	o->number_key = mem_printf("%ssmallage.sent.%s", wire->options->key_prefix, id);
}

int redis_outbox_add(struct redis_outbox *o, const struct publication *p, broker_published_fn *done,
		     void *ctx, struct err *err)
{
	struct redis_letter *letter;
	bool is_fanout;

	if (o->is_ended)
		return err_set(err, ERR_REFUSED, "the broker connection is closed");
	letter = redis_letter_new(&o->router, p, err);
	if (!letter)
		return -1;
	/* One message may always wait, however large. */
	if (o->bytes > 0 && o->bytes + redis_letter_cost(letter) > o->max_bytes) {
		redis_letter_free(letter);
		return err_set(err, ERR_LIMIT, "more than %zu bytes of messages wait for Redis",
			       o->max_bytes);
	}
	letter->done = done;
	letter->ctx = ctx;
	o->bytes += redis_letter_cost(letter);
	o->count++;
	is_fanout = letter->kind == LETTER_FANOUT;
	list_append(is_fanout ? &o->fanouts : &o->letters, &letter->node);
	pump(o);
	return 0;
}

void redis_outbox_up(struct redis_outbox *o)
{
	while (!list_is_empty(&o->published_fanouts)) {
		struct list_node *last = o->published_fanouts.prev;

		list_remove(last);
		list_prepend(&o->fanouts, last);
	}
	o->is_on_its_way = false;
	redis_outbox_tick(o);
}

void redis_outbox_tick(struct redis_outbox *o)
{
	o->is_held = false;
	pump(o);
}

void redis_outbox_fail(struct redis_outbox *o, const struct err *err)
{
	o->is_ended = true;
	end_all(o, &o->letters, err);
	end_all(o, &o->published_fanouts, err);
	end_all(o, &o->fanouts, err);
}

static void on_left(void *ctx, const redisReply *reply)
{
	struct redis_outbox *o = ctx;

	(void)reply;
	o->is_leaving = false;
}

void redis_outbox_leave(struct redis_outbox *o)
{
	const struct redis_arg args[] = {REDIS_ARG("DEL"), arg_of(o->number_key)};

	if (o->number == 0 || o->number == o->left_number)
		return;
	o->left_number = o->number;
	o->is_leaving = redis_conn_command(o->wire->conn, args, 2, on_left, o) == 0;
}

void redis_outbox_clear(struct redis_outbox *o)
{
	struct list_node *const lists[] = {&o->letters, &o->fanouts, &o->published_fanouts};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		while (!list_is_empty(lists[i]))
			redis_letter_free(letter_of(lists[i]->next));
	redis_router_clear(&o->router);
	free(o->number_key);
}
