/* Where a memcached is, and what keys and times of life are there. */
#ifndef BACKEND_MEMCACHED_PLACE_H
#define BACKEND_MEMCACHED_PLACE_H

#include "backend/backend.h"

/* What keys begin with, and how long they live (seconds; 0 = for ever). */
struct memcached_keys {
	char *prefix; /* the global one, or "" */
	double expires_s, chord_expires_s;
};

struct memcached_place {
	char *host;
	char *path; /* of a unix socket, or NULL */
	int port;
	char *label; /* for people */
	struct memcached_keys keys;
};

int memcached_place_read(struct memcached_place *p, const struct backend_options *options,
			 struct err *err);
void memcached_place_clear(struct memcached_place *p);

#endif
