/*
 * What the commands that talk to servers share: a loop with one broker from which no tasks are
 * taken and one result store, each step with a deadline.
 *
 *     client_open(&c, config);
 *     client_open_broker(&c, &err) ... client_await_broker(&c, 10, &err) ...
 *     client_connect_backend(&c, &err) ...
 *     client_wait(&c, &flag, seconds);
 *     client_close(&c);
 */
#ifndef WORKER_CMD_CLIENT_H
#define WORKER_CMD_CLIENT_H

#include <stdbool.h>
#include <uv.h>

#include "backend/backend.h"
#include "transport/broker.h"
#include "worker/config/config.h"

struct client {
	uv_loop_t loop;
	uv_timer_t timer;
	const struct config *config;
	const char *broker_url; /* broker_write_url, as all clients of Celery; may be changed */
	struct broker *broker;
	struct backend *backend;
	char host[256];		   /* of the broker, once it is up */
	struct err broker_err;	   /* why the last attempt failed, or the last trouble told */
	bool is_broker_in_trouble; /* something was told that went wrong while it was up */
	struct err backend_err;
	bool is_broker_settled, is_broker_up, is_broker_closed;
	bool is_backend_failed, is_backend_closed;
	bool is_time_over;
	bool is_probed;
	struct err probe_err;
};

void client_open(struct client *c, const struct config *config);
/* To be told what to listen to before it is awaited. */
int client_open_broker(struct client *c, struct err *err);
int client_await_broker(struct client *c, double timeout_s, struct err *err);
/* Both. */
int client_connect_broker(struct client *c, double timeout_s, struct err *err);
int client_connect_backend(struct client *c, struct err *err);
/* Reads the record of a task id that does not exist: the store can be reached and read. */
int client_probe_backend(struct client *c, double timeout_s, struct err *err);
/* Runs the loop until *flag is true; false when the time was over before. Whoever sets the flag
 * calls client_wake. */
bool client_wait(struct client *c, const bool *flag, double seconds);
void client_wake(struct client *c);
void client_close(struct client *c);

#endif
