/*
 * The local status socket: whoever connects gets one JSON object and the end of the stream. Answers
 * from the loop, so an answer means that the loop turns. The newest worker of a node name has the
 * path (a restart need not wait for the old one to finish).
 *
 * Threads: loop thread only. SIGPIPE must be ignored (a client may leave before the answer).
 */
#ifndef WORKER_CONTROL_STATUS_H
#define WORKER_CONTROL_STATUS_H

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"
#include "base/str.h"

struct status_server;

typedef void status_fill_fn(void *ctx, struct str *json_out);

/* Makes the socket (mode 0600) and, where missing, its folder (0700). A folder that others may
 * write to, or that belongs to somebody else than us and root, is refused. */
struct status_server *status_server_open(uv_loop_t *loop, const char *path, status_fill_fn *fill,
					 void *ctx, struct err *err);
/* Stops listening and removes the socket; all is freed with the loop's next turns. NULL allowed. */
void status_server_close(struct status_server *s);

/* The asking side, without a loop: connects, reads the answer into `out`. ERR_NOT_FOUND when no
 * worker listens there, ERR_TIMEOUT when it does not answer in time. */
int status_ask(const char *path, int timeout_ms, struct str *out, struct err *err);
/* Removes the sockets that killed workers left in the folder of `path`: hundreds of them, where
 * each container or host name was another, cost every `smallage status` a connect each. */
void status_remove_dead(const char *path);
/* True when somebody listens there. */
bool status_is_live(const char *path);

#endif
