/* What it takes to send commands of the Redis broker: its one command connection while that is up,
 * and what names and scripts are to be. Internal to transport/ (redis_*). */
#ifndef TRANSPORT_REDIS_WIRE_H
#define TRANSPORT_REDIS_WIRE_H

#include "transport/redis_conn.h"
#include "transport/redis_options.h"
#include "transport/redis_script.h"

struct redis_wire {
	uv_loop_t *loop;
	const struct redis_options *options;
	struct redis_scripts *scripts;
	struct redis_conn *conn; /* NULL while it is down */
	int db;
	/* One line worth a WARNING or ERROR; once per trouble, and only for what goes on. */
	void (*notice)(void *ctx, bool is_error, const char *text);
	void *ctx;
};

#endif
