/* What came into a mailbox, noted down, and something to send there. */
#ifndef TESTS_AMQP_MAIL_H
#define TESTS_AMQP_MAIL_H

#include "tests/unit/transport/amqp_fixture.h"

enum { MAILS_MAX = 4096 };

struct mails {
	struct fixture *f;
	const char *queue;
	char *bodies[MAILS_MAX];
	char last_exchange[128], last_content_type[128];
	unsigned count;
	unsigned leaves_after; /* so many, in the callback; 0 = never */
	bool is_shared;	       /* not exclusive */
};

static inline void mails_take(void *ctx, struct message *message)
{
	struct mails *m = ctx;

	ck_assert_uint_lt(m->count, MAILS_MAX);
	m->bodies[m->count++] = message->body;
	message->body = NULL;
	snprintf(m->last_exchange, sizeof(m->last_exchange), "%s", message->exchange);
	snprintf(m->last_content_type, sizeof(m->last_content_type), "%s",
		 message->content_type ? message->content_type : "");
	if (m->leaves_after && m->count == m->leaves_after)
		broker_unlisten(m->f->broker, m->queue);
}

/* As a worker's control queue. */
static inline void mails_listen(struct mails *m, struct fixture *f, const char *queue,
				const char *exchange)
{
	struct err err = {0};
	struct mailbox_def def = {
		.queue = queue,
		.exchange = exchange,
		.exchange_type = "fanout",
		.binding_key = "",
		.is_exclusive = !m->is_shared,
		.ttl_s = 300,
		.expires_s = 10,
	};

	m->f = f;
	m->queue = queue;
	ck_assert_msg(broker_listen(f->broker, &def, mails_take, m, &err) == 0, "%s", err.text);
}

static inline struct publication mail_publication(const char *exchange, const char *routing_key,
						  const char *body)
{
	return (struct publication){
		.exchange = exchange,
		.routing_key = routing_key,
		.content_type = "application/json",
		.content_encoding = "utf-8",
		.priority = 0,
		.delivery_mode = 1,
		.body = body,
		.body_len = strlen(body),
	};
}

static inline void mail_post(struct fixture *f, const char *exchange, const char *routing_key,
			     const char *body)
{
	struct publication p = mail_publication(exchange, routing_key, body);

	broker_post(f->broker, &p);
}

static inline void mails_clear(struct mails *m)
{
	for (unsigned i = 0; i < m->count; i++)
		free(m->bodies[i]);
	m->count = 0;
}

#endif
