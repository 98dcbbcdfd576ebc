#include "transport/redis_post.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/redis_binding.h"
#include "transport/redis_keys.h"

#define ANSWER_MS   15000   /* RabbitMQ deletes such a queue after 10 s without a reader */
#define SILENCE_MS  3600000 /* as long as kombu lets abandoned tables be */
#define REAP_MS	    5000    /* of a list's life are left when it is looked at */
#define CLIENTS_MAX 20000
#define REAP_MAX    500 /* at once */
#define MEMBER_MAX  ((size_t)64 << 10)

/* Somebody who was answered. */
struct client {
	char *exchange, *key;
	uint64_t answered_ms;
	bool is_looked_at; /* since then */
};

static struct redis_letter *letter_of(struct list_node *node)
{
	return list_entry(node, struct redis_letter, node);
}

static struct redis_arg arg_of(const char *text)
{
	return (struct redis_arg){text, strlen(text)};
}

static void letter_free(struct redis_post *p, struct redis_letter *letter)
{
	p->bytes -= redis_letter_cost(letter);
	redis_letter_free(letter);
}

static void letter_end(struct redis_post *p, struct redis_letter *letter, bool is_sent)
{
	p->posts += is_sent;
	p->dropped += !is_sent;
	letter_free(p, letter);
}

/* Clients. Their queues are named by kombu (Mailbox.get_reply_queue): "KEY.EXCHANGE". */

static char *queue_of(const char *exchange, const char *key)
{
	return mem_printf("%s.%s", key, exchange);
}

static void client_free(struct client *client)
{
	if (!client)
		return;
	free(client->exchange);
	free(client->key);
	free(client);
}

static void on_reaped(void *ctx, const redisReply *reply)
{
	struct redis_post *p = ctx;

	if (reply)
		redis_script_is_gone(p->wire->scripts, REDIS_SCRIPT_REAP, reply);
}

static void reap(struct redis_post *p, const struct client *client, const char *queue, bool at_once)
{
	const struct redis_options *o = p->wire->options;
	auto_str member = STR_INIT(MEMBER_MAX);
	auto_free char *list = redis_queue_key(o, queue, 0);
	auto_free char *bindings = redis_binding_key(o, client->exchange);
	auto_free char *permanent = redis_binding_permanent_key(o, client->exchange);
	char left[24];
	struct redis_arg args[9];

	snprintf(left, sizeof(left), "%d", REAP_MS);
	if (redis_binding_write(&member, o, "direct", client->key, queue) < 0)
		return;
	args[2] = REDIS_ARG("3");
	args[3] = arg_of(list);
	args[4] = arg_of(bindings);
	args[5] = arg_of(permanent);
	args[6] = (struct redis_arg){member.data, member.len};
	args[7] = arg_of(left);
	args[8] = at_once ? REDIS_ARG("1") : REDIS_ARG("0");
	(void)redis_script_call(p->wire->scripts, p->wire->conn, REDIS_SCRIPT_REAP, args, 9,
				on_reaped, p);
}

static void forget(struct redis_post *p, struct map_entry *entry)
{
	struct client *client = map_value(entry);

	reap(p, client, map_key(entry), true);
	map_del(p->clients, map_key(entry));
	client_free(client);
}

static void client_answered(struct redis_post *p, const struct redis_letter *letter)
{
	auto_free char *queue = queue_of(letter->exchange, letter->routing_key);
	struct client *client = map_del(p->clients, queue);

	if (!client) {
		client = mem_calloc(1, sizeof(*client));
		client->exchange = mem_strdup(letter->exchange);
		client->key = mem_strdup(letter->routing_key);
	}
	client->answered_ms = uv_now(p->wire->loop);
	client->is_looked_at = false;
	map_put(p->clients, queue, client);
	if (map_count(p->clients) > CLIENTS_MAX)
		forget(p, map_first(p->clients));
}

/* Who reads leaves no list; a list that is as old as this has no reader any more. */
void redis_post_tick(struct redis_post *p)
{
	uint64_t now = uv_now(p->wire->loop);
	unsigned count = 0;

	for (struct map_entry *e = map_first(p->clients), *next; e && p->wire->conn; e = next) {
		struct client *client = map_value(e);
		uint64_t silent_ms = now - client->answered_ms;

		next = map_next(e);
		if (silent_ms + REAP_MS / 2 < p->answer_ms || count >= REAP_MAX)
			break;
		count++;
		if (silent_ms >= p->silence_ms) {
			forget(p, e);
		} else if (!client->is_looked_at) {
			client->is_looked_at = true;
			reap(p, client, map_key(e), false);
		} else {
			count--;
		}
	}
}

/* Letters */

static void on_done(void *ctx, const redisReply *reply)
{
	struct redis_post *p = ctx;

	if (reply) {
		redis_script_is_gone(p->wire->scripts, REDIS_SCRIPT_POST, reply);
		p->posts += reply->type != REDIS_REPLY_ERROR;
		p->dropped += reply->type == REDIS_REPLY_ERROR;
	}
}

static void publish(struct redis_post *p, const struct redis_letter *letter)
{
	const struct redis_arg args[] = {
		REDIS_ARG("PUBLISH"),
		arg_of(letter->channel),
		{letter->envelope.data, letter->envelope.len},
	};

	if (redis_conn_command(p->wire->conn, args, 3, on_done, p) < 0)
		p->dropped++;
}

/* To lists whose names say nothing: one that is there already and has to stay is nobody's for
 * answers only. */
static void push(struct redis_post *p, const struct redis_letter *letter)
{
	char life[24];

	snprintf(life, sizeof(life), "%llu", (unsigned long long)p->answer_ms);
	for (size_t i = 0; i < letter->list_count; i++) {
		struct redis_arg args[6];

		args[2] = REDIS_ARG("1");
		args[3] = arg_of(letter->lists[i]);
		args[4] = (struct redis_arg){letter->envelope.data, letter->envelope.len};
		args[5] = arg_of(life);
		if (redis_script_call(p->wire->scripts, p->wire->conn, REDIS_SCRIPT_POST, args, 6,
				      on_done, p) < 0)
			p->dropped++;
	}
	p->dropped += letter->list_count == 0;
}

static void on_routed(void *ctx, struct redis_letter *letter, const struct err *why)
{
	struct redis_post *p = ctx;

	if (!why && p->wire->conn)
		push(p, letter);
	letter_free(p, letter);
}

static void answer(struct redis_post *p, struct redis_letter *letter);

/* Letters that were asked about, in their order. */
static void on_answered(void *ctx, const redisReply *reply)
{
	struct redis_post *p = ctx;
	struct redis_letter *letter;

	if (!reply || list_is_empty(&p->letters))
		return;
	letter = letter_of(list_pop(&p->letters));
	if (redis_script_is_gone(p->wire->scripts, REDIS_SCRIPT_REPLY, reply)) {
		answer(p, letter);
	} else if (reply->type == REDIS_REPLY_INTEGER && reply->integer == 0) {
		/* Not named as kombu names them, or nobody is there any more. */
		list_append(&p->routing, &letter->node);
		list_append(&p->router.waiting, &letter->route_node);
		redis_router_ask(&p->router);
	} else {
		bool is_bound = reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;

		if (is_bound)
			client_answered(p, letter);
		letter_end(p, letter, is_bound);
	}
}

static void answer(struct redis_post *p, struct redis_letter *letter)
{
	const struct redis_options *o = p->wire->options;
	auto_free char *queue = queue_of(letter->exchange, letter->routing_key);
	auto_free char *list = redis_queue_key(o, queue, letter->step);
	auto_free char *bindings = redis_binding_key(o, letter->exchange);
	auto_str member = STR_INIT(MEMBER_MAX);
	char life[24];
	struct redis_arg args[8];

	snprintf(life, sizeof(life), "%llu", (unsigned long long)p->answer_ms);
	args[2] = REDIS_ARG("2");
	args[3] = arg_of(bindings);
	args[4] = arg_of(list);
	args[6] = (struct redis_arg){letter->envelope.data, letter->envelope.len};
	args[7] = arg_of(life);
	if (redis_binding_write(&member, o, "direct", letter->routing_key, queue) < 0) {
		letter_end(p, letter, false);
		return;
	}
	args[5] = (struct redis_arg){member.data, member.len};
	if (redis_script_call(p->wire->scripts, p->wire->conn, REDIS_SCRIPT_REPLY, args, 8,
			      on_answered, p) < 0)
		letter_end(p, letter, false);
	else
		list_append(&p->letters, &letter->node);
}

void redis_post_send(struct redis_post *p, const struct publication *publication)
{
	struct redis_letter *letter =
		p->wire->conn ? redis_letter_new(&p->router, publication, NULL) : NULL;

	if (!letter) {
		p->dropped++;
		return;
	}
	p->bytes += redis_letter_cost(letter);
	list_remove(&letter->route_node); /* the first question is another one */
	if (p->bytes > BROKER_POSTS_MAX) {
		letter_end(p, letter, false);
	} else if (!letter->is_routed) {
		answer(p, letter);
	} else {
		if (letter->kind == LETTER_FANOUT)
			publish(p, letter);
		else
			push(p, letter);
		letter_free(p, letter);
	}
}

void redis_post_init(struct redis_post *p, struct redis_wire *wire, struct map *types)
{
	*p = (struct redis_post){.wire = wire, .answer_ms = ANSWER_MS, .silence_ms = SILENCE_MS};
	p->clients = map_new();
	list_init(&p->letters);
	list_init(&p->routing);
	redis_router_init(&p->router, wire, types, on_routed, p);
}

void redis_post_down(struct redis_post *p)
{
	while (!list_is_empty(&p->letters))
		letter_end(p, letter_of(p->letters.next), false);
	while (!list_is_empty(&p->routing))
		letter_end(p, letter_of(p->routing.next), false);
}

void redis_post_clear(struct redis_post *p)
{
	redis_post_down(p);
	redis_router_clear(&p->router);
	for (struct map_entry *e = map_first(p->clients); e; e = map_next(e))
		client_free(map_value(e));
	map_free(p->clients);
}
