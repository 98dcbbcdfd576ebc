#include "transport/redis_router.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "transport/envelope.h"
#include "transport/redis_answer.h"
#include "transport/redis_binding.h"
#include "transport/redis_keys.h"

#define EXCHANGES_MAX 256
#define QUEUES_MAX    4096 /* of one letter */

struct lookup {
	struct list_node node;
	struct list_node letters; /* route_node */
	struct redis_router *router;
	char *exchange;
};

static struct redis_letter *letter_of(struct list_node *node)
{
	return list_entry(node, struct redis_letter, route_node);
}

void redis_types_note(struct map *types, const char *exchange, const char *type)
{
	static const char *const known[] = {"direct", "topic", "fanout"};

	for (size_t i = 0; exchange && *exchange && type && i < 3; i++)
		if (strcmp(known[i], type) == 0 &&
		    (map_count(types) < EXCHANGES_MAX || map_has(types, exchange)))
			map_put(types, exchange, (void *)(uintptr_t)known[i]);
}

static const char *type_of(const struct redis_router *r, const char *exchange)
{
	return map_get(r->types, exchange);
}

/* Letters */

/* The letter is pushed to that queue. */
static void add_list(struct redis_router *r, struct redis_letter *letter, const char *queue,
		     size_t len)
{
	auto_free char *name = mem_dup(queue, len);
	char *key = redis_queue_key(r->wire->options, name, letter->step);

	/* A queue that is bound in several ways gets one. */
	for (size_t i = 0; i < letter->list_count; i++)
		if (strcmp(letter->lists[i], key) == 0) {
			free(key);
			return;
		}
	letter->lists =
		mem_realloc(letter->lists, (letter->list_count + 1) * sizeof(*letter->lists));
	letter->lists[letter->list_count++] = key;
}

static void address(struct redis_router *r, struct redis_letter *letter)
{
	const char *type = type_of(r, letter->exchange);

	if (!*letter->exchange) {
		add_list(r, letter, letter->routing_key, strlen(letter->routing_key));
		letter->is_routed = true;
	} else if (type && strcmp(type, "fanout") == 0) {
		letter->kind = LETTER_FANOUT;
		letter->channel = redis_channel(r->wire->options, r->wire->db, letter->exchange,
						letter->routing_key);
		letter->is_routed = true;
	} else {
		list_append(&r->waiting, &letter->route_node);
	}
}

static void note_types(struct redis_router *r, const struct publication *p)
{
	if (p->declare_exchange)
		redis_types_note(r->types, p->declare_exchange->name, p->declare_exchange->type);
	for (size_t i = 0; p->declare && i < queue_def_binding_count(p->declare); i++) {
		struct binding_def binding = queue_def_binding(p->declare, i);

		redis_types_note(r->types, binding.exchange, binding.exchange_type);
	}
}

struct redis_letter *redis_letter_new(struct redis_router *r, const struct publication *p,
				      struct err *err)
{
	struct redis_letter *letter;
	struct str envelope;
	char tag[37];

	uuid4(tag);
	str_init(&envelope, STR_MAX_DEFAULT);
	if (envelope_encode(&envelope, p, tag, err) < 0) {
		str_clear(&envelope);
		return NULL;
	}
	/* It may wait for long, with many others. */
	envelope.data = mem_realloc(envelope.data, envelope.len + 1);
	envelope.cap = envelope.len + 1;
	letter = mem_calloc(1, sizeof(*letter));
	list_init(&letter->node);
	list_init(&letter->route_node);
	letter->envelope = envelope;
	letter->exchange = mem_strdup(p->exchange ? p->exchange : "");
	letter->routing_key = mem_strdup(p->routing_key ? p->routing_key : "");
	letter->step = redis_step_of(r->wire->options, p->priority);
	note_types(r, p);
	address(r, letter);
	return letter;
}

void redis_letter_free(struct redis_letter *letter)
{
	list_remove(&letter->node);
	list_remove(&letter->route_node);
	for (size_t i = 0; i < letter->list_count; i++)
		free(letter->lists[i]);
	free(letter->lists);
	str_clear(&letter->envelope);
	free(letter->exchange);
	free(letter->routing_key);
	free(letter->channel);
	free(letter);
}

size_t redis_letter_cost(const struct redis_letter *letter)
{
	return letter->envelope.cap + sizeof(*letter);
}

/* Tables */

static void route(struct redis_router *r, struct redis_letter *letter, const redisReply *members)
{
	const char *type = type_of(r, letter->exchange);

	for (size_t i = 0; i < members->elements && letter->list_count < QUEUES_MAX; i++) {
		const redisReply *member = members->element[i];
		struct span queue;

		if (member->type == REDIS_REPLY_STRING &&
		    redis_binding_matches(member->str, member->len, r->wire->options, type,
					  letter->routing_key, &queue))
			add_list(r, letter, queue.data, queue.len);
	}
	letter->is_routed = true;
	r->on_routed(r->ctx, letter, NULL);
}

static void on_table(void *ctx, const redisReply *reply)
{
	struct lookup *lookup = ctx;
	struct redis_router *r = lookup->router;
	bool is_table = reply && reply->type == REDIS_REPLY_ARRAY;
	bool is_refused = reply && reply->type == REDIS_REPLY_ERROR &&
			  redis_answer_class(reply->str) == REDIS_ANSWER_FINAL;
	bool is_too_large = reply && reply->type == REDIS_REPLY_INTEGER;
	bool is_final = is_refused || is_too_large;
	struct err err = {0};

	if (is_too_large)
		err_set(&err, ERR_LIMIT, "exchange '%.100s' has %lld bindings, more than %d",
			lookup->exchange, reply->integer, REDIS_TABLE_MOST);
	if (is_refused)
		err_set(&err, ERR_REFUSED, "the bindings of exchange '%.100s': %.200s",
			lookup->exchange, reply->str);
	while (!list_is_empty(&lookup->letters)) {
		struct redis_letter *letter = letter_of(list_pop(&lookup->letters));

		if (is_table)
			route(r, letter, reply);
		else if (is_final)
			r->on_routed(r->ctx, letter, &err);
		else
			list_append(&r->waiting, &letter->route_node);
	}
	list_remove(&lookup->node);
	free(lookup->exchange);
	free(lookup);
}

static struct lookup *lookup_open(struct redis_router *r, const char *exchange)
{
	auto_free char *key = redis_binding_key(r->wire->options, exchange);
	struct lookup *lookup = mem_calloc(1, sizeof(*lookup));

	lookup->router = r;
	lookup->exchange = mem_strdup(exchange);
	list_init(&lookup->letters);
	list_append(&r->lookups, &lookup->node);
	if (redis_script_ask_table(r->wire->scripts, r->wire->conn, key, on_table, lookup) == 0)
		return lookup;
	list_remove(&lookup->node);
	free(lookup->exchange);
	free(lookup);
	return NULL;
}

void redis_router_ask(struct redis_router *r)
{
	struct list_node *pos, *tmp, *known;
	struct list_node *before = r->lookups.prev; /* asked earlier: what is bound since is not
						       in their answers */

	list_foreach_safe (pos, tmp, &r->waiting) {
		struct redis_letter *letter = letter_of(pos);
		struct lookup *lookup = NULL;

		for (known = before->next; known != &r->lookups && !lookup; known = known->next) {
			struct lookup *one = list_entry(known, struct lookup, node);

			if (strcmp(one->exchange, letter->exchange) == 0)
				lookup = one;
		}
		if (!r->wire->conn)
			return;
		if (!lookup)
			lookup = lookup_open(r, letter->exchange);
		if (!lookup)
			return;
		list_remove(&letter->route_node);
		list_append(&lookup->letters, &letter->route_node);
	}
}

void redis_router_init(struct redis_router *r, struct redis_wire *wire, struct map *types,
		       redis_routed_fn *on_routed, void *ctx)
{
	*r = (struct redis_router){
		.wire = wire, .types = types, .on_routed = on_routed, .ctx = ctx};
	list_init(&r->waiting);
	list_init(&r->lookups);
}

/* After the letters: their connection is gone, its answers do not come any more. */
void redis_router_clear(struct redis_router *r)
{
	while (!list_is_empty(&r->lookups)) {
		struct lookup *lookup = list_entry(r->lookups.next, struct lookup, node);

		list_remove(&lookup->node);
		free(lookup->exchange);
		free(lookup);
	}
}
