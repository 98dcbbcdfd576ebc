/*
 * The mailboxes of the connection that consumes: queues of this program's own, each on a channel of
 * its own, so that whatever goes wrong with one of them ends nothing else. Internal to the amqp
 * driver.
 */
#ifndef TRANSPORT_BROKER_AMQP_MAILBOX_H
#define TRANSPORT_BROKER_AMQP_MAILBOX_H

#include "base/list.h"
#include "transport/broker.h"
#include "transport/broker_amqp_conn.h"
#include "transport/broker_amqp_topology.h"

struct amqp_consumer;

struct amqp_mailboxes {
	struct amqp_consumer *consumer;
	struct list_node list; /* of struct amqp_mailbox */
	uv_timer_t timer;      /* the next one to be tried again */
};

void mailboxes_init(struct amqp_mailboxes *boxes, struct amqp_consumer *c);
int mailboxes_add(struct amqp_mailboxes *boxes, const struct mailbox_def *def,
		  broker_mail_fn *on_mail, void *ctx, struct err *err);
void mailboxes_remove(struct amqp_mailboxes *boxes, const char *queue);
void mailboxes_begin(struct amqp_mailboxes *boxes); /* there is a connection */
void mailboxes_reset(struct amqp_mailboxes *boxes); /* it is gone */
void mailboxes_clear(struct amqp_mailboxes *boxes);
/* Each of them is consumed or has failed once on this connection. */
bool mailboxes_are_settled(const struct amqp_mailboxes *boxes);
/* Frames of channels from AMQP_CHANNEL_MAIL on: */
void mailbox_method(struct amqp_mailboxes *boxes, unsigned channel, const amqp_method_t *method);
void mailbox_header(struct amqp_mailboxes *boxes, unsigned channel, struct span payload);
void mailbox_body(struct amqp_mailboxes *boxes, unsigned channel, struct span data);

#endif
