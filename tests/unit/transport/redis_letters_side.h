/* The letters of a Redis driver that does nothing else, and what they told. */
#ifndef TESTS_UNIT_TRANSPORT_REDIS_LETTERS_SIDE_H
#define TESTS_UNIT_TRANSPORT_REDIS_LETTERS_SIDE_H

#include <check.h>
#include <stdio.h>

#include "transport/redis_letters.h"

struct side {
	struct redis_options names;
	struct redis_scripts scripts;
	struct redis_conn *conn;
	struct redis_letters letters;
	unsigned settled, invalidations, mails, published, refused, notices;
	int64_t tracker;
	char last_body[256], last_key[64], last_notice[400];
	struct err last_err;
	bool is_up, is_conn_closed, is_closed;
};

static inline void on_settled(void *ctx)
{
	((struct side *)ctx)->settled++;
}

static inline void on_tracker(void *ctx, int64_t client_id)
{
	((struct side *)ctx)->tracker = client_id;
}

static inline void on_invalidate(void *ctx)
{
	((struct side *)ctx)->invalidations++;
}

static inline void on_letters_closed(void *ctx)
{
	((struct side *)ctx)->is_closed = true;
}

static inline void on_conn_up(void *ctx)
{
	struct side *s = ctx;

	s->is_up = true;
	redis_scripts_reset(&s->scripts);
	redis_letters_up(&s->letters, s->conn);
}

static inline void on_conn_down(void *ctx, const struct err *why)
{
	struct side *s = ctx;

	(void)why;
	s->is_up = false;
	redis_letters_down(&s->letters);
}

static inline void on_conn_closed(void *ctx)
{
	((struct side *)ctx)->is_conn_closed = true;
}

static inline void on_notice(void *ctx, bool is_error, const char *text)
{
	struct side *s = ctx;

	(void)is_error;
	s->notices++;
	snprintf(s->last_notice, sizeof(s->last_notice), "%s", text);
}

static inline void on_mail(void *ctx, struct message *message)
{
	struct side *s = ctx;

	s->mails++;
	snprintf(s->last_body, sizeof(s->last_body), "%s", message->body);
	snprintf(s->last_key, sizeof(s->last_key), "%s", message->routing_key);
}

static inline void on_published(void *ctx, const struct err *err)
{
	struct side *s = ctx;

	if (err) {
		s->refused++;
		s->last_err = *err;
	} else {
		s->published++;
	}
}

#endif
