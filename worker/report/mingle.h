/*
 * Asks the other workers, at each connection, for their logical clock and for what was revoked
 * (the command `hello`). Unlike Celery's, our start does not wait the second that answers may take:
 * what they bring is merged when it comes. Source: celery/worker/consumer/mingle.py.
 */
#ifndef WORKER_REPORT_MINGLE_H
#define WORKER_REPORT_MINGLE_H

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"
#include "protocol/lamport.h"
#include "transport/broker.h"
#include "worker/config/config.h"
#include "worker/request/revoked.h"

struct mingle {
	const struct config *config;
	struct lamport *clock;
	struct revoked *revoked;
	struct broker *broker;
	uv_timer_t timer;
	char address[37]; /* routing key of the answers */
	char ticket[37];
	char *requests, *replies; /* exchanges */
	char *queue;
	unsigned answers, nodes; /* of this connection; nodes: other workers */
	bool is_on, is_listening, is_waiting;
};

void mingle_init(struct mingle *m, uv_loop_t *loop, const struct config *config,
		 struct lamport *clock, struct revoked *revoked);
/* Before broker_start. */
int mingle_open(struct mingle *m, struct broker *broker, struct err *err);
/* The connection stands, with its mailboxes. */
void mingle_up(struct mingle *m);
void mingle_down(struct mingle *m);
/* The worker stops: it learns nothing more. */
void mingle_stop(struct mingle *m);
void mingle_close(struct mingle *m);
void mingle_clear(struct mingle *m);

#endif
