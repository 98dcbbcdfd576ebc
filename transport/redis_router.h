/*
 * Where messages to exchanges go: the binding tables are read from the server for the letters that
 * wait for them, one question for all that wait for the same exchange. Internal to transport/
 * (redis_outbox, redis_post).
 */
#ifndef TRANSPORT_REDIS_ROUTER_H
#define TRANSPORT_REDIS_ROUTER_H

#include "base/list.h"
#include "base/map.h"
#include "transport/broker.h"
#include "transport/redis_wire.h"

enum letter_kind {
	LETTER_LIST,   /* pushed to queues */
	LETTER_FANOUT, /* published to a channel */
};

/* A message on its way. */
struct redis_letter {
	struct list_node node;
	struct list_node route_node; /* while its queues are not known */
	enum letter_kind kind;
	struct str envelope;
	char *exchange, *routing_key, *channel;
	unsigned step;
	bool is_routed; /* `lists` is right */
	bool is_sent;
	bool is_refused; /* by one of its queues, for good */
	char **lists;	 /* keys; NULL where it has been pushed to */
	size_t list_count;
	broker_published_fn *done;
	void *ctx;
};

/* The letter's queues are known; `why`: they will not be. It is on no list of the router. */
typedef void redis_routed_fn(void *ctx, struct redis_letter *letter, const struct err *why);

struct redis_router {
	struct redis_wire *wire;
	struct map *types;	  /* exchange -> type (static text), as declared here */
	struct list_node waiting; /* struct redis_letter.route_node, not asked for */
	struct list_node lookups; /* struct lookup, in the order of their questions */
	redis_routed_fn *on_routed;
	void *ctx;
};

void redis_router_init(struct redis_router *r, struct redis_wire *wire, struct map *types,
		       redis_routed_fn *on_routed, void *ctx);
/* Remembers how messages to this exchange are routed. */
void redis_types_note(struct map *types, const char *exchange, const char *type);
/* A new letter; NULL with `err` when it is too large. The router knows where it goes, or asks. */
struct redis_letter *redis_letter_new(struct redis_router *r, const struct publication *p,
				      struct err *err);
void redis_letter_free(struct redis_letter *letter);
size_t redis_letter_cost(const struct redis_letter *letter);
/* Asks for the tables that are waited for. */
void redis_router_ask(struct redis_router *r);
void redis_router_clear(struct redis_router *r);

#endif
