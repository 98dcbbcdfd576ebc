/*
 * Where the next attempt to reach Redis goes: one server, the servers of a fail-over list ("a;b;c")
 * in turn, or the master that the Sentinels of such a list name. Reads the files that TLS needs,
 * else pure.
 */
#ifndef TRANSPORT_REDIS_ROUTE_H
#define TRANSPORT_REDIS_ROUTE_H

#include <stdbool.h>

#include "base/err.h"
#include "transport/redis_address.h"
#include "transport/redis_settings.h"

struct redis_route {
	struct redis_address *items; /* servers, or Sentinels */
	unsigned count, index;
	bool has_sentinels;
	/* With Sentinels: the login and database of the first URL, as kombu takes them; its place
	 * is known (host not NULL) once it was found. */
	struct redis_address master;
	char *label; /* of it */
};

/* `r` is all zero before; to be cleared in any case. Adds the URLs' queries to the settings. */
int redis_route_init(struct redis_route *r, const char *urls, struct redis_settings *settings,
		     struct err *err);
/* The server to connect to, or with Sentinels the master. */
const struct redis_address *redis_route_server(const struct redis_route *r);
/* Where that is, for people: no secrets. Good until something changes here. */
const char *redis_route_label(const struct redis_route *r);
/* One of several claims to be the one to write to: to be asked for its role. */
bool redis_route_has_replicas(const struct redis_route *r);
/* A connection was good: the next attempt begins with the first of a list. */
void redis_route_rewind(struct redis_route *r);
/* An attempt failed: the next one's turn, after the last the first's. */
void redis_route_advance(struct redis_route *r);
/* With the attempt at hand, all have been tried. */
bool redis_route_is_last(const struct redis_route *r);
/* What a Sentinel, the item `index`, told. */
void redis_route_found(struct redis_route *r, const char *master_name, const char *host, int port,
		       unsigned index);
bool redis_route_is_at(const struct redis_route *r, const char *host, int port);
void redis_route_clear(struct redis_route *r);

#endif
