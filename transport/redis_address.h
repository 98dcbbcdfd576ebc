/* Where a Redis server is and how to log in there: redis://[user][:password]@host:port/db, the same
 * with TLS as rediss://, redis+socket:///path?virtual_host=db, or a Sentinel that knows,
 * sentinel://... as redis://. */
#ifndef TRANSPORT_REDIS_ADDRESS_H
#define TRANSPORT_REDIS_ADDRESS_H

#include <stdbool.h>

#include "base/err.h"

struct tls_context;

struct redis_address {
	char *host, *unix_path; /* one of them */
	char *user, *password;	/* or NULL */
	char *label;		/* for people: "host:port/db" or "/path db"; no secrets */
	int port, db;
	bool is_sentinel;
	struct tls_context *tls; /* of redis_route.h; NULL = in clear */
};

/* `a` is all zero before; to be cleared in any case. */
int redis_address_parse(struct redis_address *a, const char *text, struct err *err);
/* User and password are gone. */
void redis_address_forget_login(struct redis_address *a);
void redis_address_clear(struct redis_address *a);

#endif
