/* What a broker told a test, noted down; see amqp_fixture.h. */
#ifndef TESTS_AMQP_EVENTS_H
#define TESTS_AMQP_EVENTS_H

#include <check.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/headers_json.h"
#include "transport/broker.h"

enum { SEEN_MAX = 4096 };

struct seen {
	char *body, *routing_key, *exchange;
	size_t body_len;
	json_t *headers;
	unsigned session;
	uint64_t tag;
	bool is_redelivered;
	int priority, delivery_mode;
	char *content_type, *content_encoding, *correlation_id, *reply_to, *expiration;
};

struct fixture {
	uv_loop_t loop;
	struct broker *broker;
	struct broker_options options;
	unsigned ups, downs, notices, errors, closed;
	unsigned errors_at_up;
	bool acks_at_once;
	char last_notice[1024];
	struct err last_down;
	double last_retry_s;
	int last_attempt, last_max;
	struct seen *seen;
	unsigned seen_count;
	unsigned confirmed, refused;
	struct err last_refusal;
};

static inline const char *fixture_url(void)
{
	const char *url = getenv("SMALLAGE_TEST_AMQP");

	if (!url)
		fprintf(stderr, "SKIPPED: SMALLAGE_TEST_AMQP names no RabbitMQ\n");
	return url;
}

static inline bool fixture_can_administer(void)
{
	if (getenv("SMALLAGE_TEST_AMQP") && getenv("SMALLAGE_TEST_RABBITMQCTL"))
		return true;
	fprintf(stderr, "SKIPPED: SMALLAGE_TEST_RABBITMQCTL names no rabbitmqctl\n");
	return false;
}

/* Runs a command; what it printed goes to `out` (may be NULL). The loop goes on meanwhile: the
 * command takes seconds on a busy machine, and a silent connection would be closed for it. */
static inline void fixture_command(struct fixture *f, const char *command, char *out, size_t size)
{
	FILE *pipe = popen(command, "r");
	ck_assert_ptr_nonnull(pipe);
	struct pollfd wait = {.fd = fileno(pipe), .events = POLLIN};
	char text[65536];
	size_t len = 0;

	for (;;) {
		uv_run(&f->loop, UV_RUN_NOWAIT);
		if (poll(&wait, 1, 5) == 0)
			continue;
		ssize_t n = read(wait.fd, text + len, sizeof(text) - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	ck_assert_msg(pclose(pipe) == 0, "%.500s: %.500s", command, text);
	if (!out)
		return;
	len = len < size ? len : size - 1;
	memcpy(out, text, len);
	out[len] = '\0';
}

static inline void fixture_ctl(struct fixture *f, const char *arguments, char *out, size_t size)
{
	char command[1024];

	snprintf(command, sizeof(command), "%s -q %s 2>&1", getenv("SMALLAGE_TEST_RABBITMQCTL"),
		 arguments);
	fixture_command(f, command, out, size);
}

static inline void fixture_up(void *ctx, const char *host)
{
	struct fixture *f = ctx;

	ck_assert_ptr_null(strstr(host, "secret"));
	f->ups++;
	f->errors_at_up = f->errors;
}

static inline void fixture_down(void *ctx, const struct err *why, double retry_in_s, int attempt,
				int max_attempts)
{
	struct fixture *f = ctx;

	f->downs++;
	f->last_down = *why;
	f->last_retry_s = retry_in_s;
	f->last_attempt = attempt;
	f->last_max = max_attempts;
}

static inline void fixture_delivery(void *ctx, struct message *m, unsigned session, uint64_t tag)
{
	struct fixture *f = ctx;

	ck_assert_uint_lt(f->seen_count, SEEN_MAX);
	struct seen *s = &f->seen[f->seen_count++];
	*s = (struct seen){
		.body = m->body,
		.body_len = m->body_len,
		.routing_key = mem_strdup(m->routing_key),
		.exchange = mem_strdup(m->exchange),
		.headers = message_headers_json(m),
		.session = session,
		.tag = tag,
		.is_redelivered = m->is_redelivered,
		.priority = m->priority,
		.delivery_mode = m->delivery_mode,
		.content_type = mem_strdup(m->content_type),
		.content_encoding = mem_strdup(m->content_encoding),
		.correlation_id = mem_strdup(m->correlation_id),
		.reply_to = mem_strdup(m->reply_to),
		.expiration = mem_strdup(m->expiration),
	};
	m->body = NULL;
	if (f->acks_at_once)
		broker_ack(f->broker, session, tag);
}

static inline void fixture_notice(void *ctx, bool is_error, const char *text)
{
	struct fixture *f = ctx;

	f->notices++;
	f->errors += is_error;
	snprintf(f->last_notice, sizeof(f->last_notice), "%s", text);
}

static inline void fixture_closed(void *ctx)
{
	struct fixture *f = ctx;

	f->closed++;
	f->broker = NULL;
}

static inline void fixture_published(void *ctx, const struct err *err)
{
	struct fixture *f = ctx;

	if (err)
		f->last_refusal = *err;
	if (err)
		f->refused++;
	else
		f->confirmed++;
}

#endif
