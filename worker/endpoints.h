/* What the worker answers over HTTP: /live, /ready, /metrics. */
#ifndef WORKER_ENDPOINTS_H
#define WORKER_ENDPOINTS_H

#include "worker/consume/consumer.h"
#include "worker/control/http.h"

struct endpoints {
	const struct consumer *consumer;
	const struct pool *pool;
	int64_t started_wall_us;
	struct http_server *server; /* NULL = does not listen */
};

/* Listens where the setting `http` says; does nothing when it is not set. */
int endpoints_open(struct endpoints *e, uv_loop_t *loop, const char *address, struct err *err);
void endpoints_close(struct endpoints *e);

#endif
