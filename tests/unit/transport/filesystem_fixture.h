/* A loop, a filesystem broker in a folder of its own, and what it told. */
#ifndef TESTS_UNIT_TRANSPORT_FILESYSTEM_FIXTURE_H
#define TESTS_UNIT_TRANSPORT_FILESYSTEM_FIXTURE_H

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "tests/unit/support/run_loop.h"
#include "tests/unit/support/temp_folder.h"
#include "tests/unit/transport/message_files.h"
#include "transport/broker.h"

#define MAX_SEEN 11000

struct fixture {
	uv_loop_t loop;
	char folder[64];
	char *in, *out, *control; /* inside */
	struct broker_options options;
	struct broker *broker;
	unsigned ups, notices, seen, published, refused;
	char *bodies[MAX_SEEN];
	char *queue; /* routing key of the last one */
	uint64_t tags[MAX_SEEN];
	bool redelivered[MAX_SEEN];
	bool acks_at_once, is_closed;
	char last_notice[600];
	int64_t seen_us;
};

static inline void on_up(void *ctx, const char *host)
{
	ck_assert_ptr_nonnull(strstr(host, "filesystem://"));
	((struct fixture *)ctx)->ups++;
}

static inline void on_delivery(void *ctx, struct message *m, unsigned session, uint64_t tag)
{
	struct fixture *x = ctx;

	ck_assert_uint_lt(x->seen, MAX_SEEN);
	ck_assert_uint_eq(session, 1);
	x->seen_us = clock_mono_us();
	free(x->queue);
	x->queue = mem_strdup(m->routing_key);
	x->bodies[x->seen] = m->body;
	m->body = NULL;
	x->tags[x->seen] = tag;
	x->redelivered[x->seen] = m->is_redelivered;
	x->seen++;
	if (x->acks_at_once)
		broker_ack(x->broker, session, tag);
}

static inline void on_notice(void *ctx, bool is_error, const char *text)
{
	struct fixture *x = ctx;

	(void)is_error;
	x->notices++;
	snprintf(x->last_notice, sizeof(x->last_notice), "%s", text);
}

static inline void on_closed(void *ctx)
{
	((struct fixture *)ctx)->is_closed = true;
}

static const struct broker_events events = {
	.on_up = on_up,
	.on_delivery = on_delivery,
	.on_notice = on_notice,
	.on_closed = on_closed,
};

static inline void on_published(void *ctx, const struct err *err)
{
	struct fixture *x = ctx;

	x->published++;
	x->refused += err != NULL;
}

static inline void open_with(struct fixture *x, const char *more_options)
{
	auto_free char *text =
		mem_printf("{\"data_folder_in\": \"%s\", \"data_folder_out\": \"%s\", "
			   "\"control_folder\": \"%s\"%s}",
			   x->in, x->out, x->control, more_options);
	struct err err = {0};

	x->options.transport_options = text;
	x->broker = broker_open(&x->options, &err);
	x->options.transport_options = NULL;
	ck_assert_msg(x->broker != NULL, "%s", err.text);
	x->is_closed = false;
}

static inline void set_up(struct fixture *x)
{
	memset(x, 0, sizeof(*x));
	temp_folder_make(x->folder);
	x->in = mem_printf("%s/data", x->folder);
	x->out = mem_strdup(x->in);
	x->control = mem_printf("%s/control", x->folder);
	uv_loop_init(&x->loop);
	x->options = (struct broker_options){.loop = &x->loop,
					     .url = "filesystem://",
					     .events = &events,
					     .ctx = x,
					     .max_message_bytes = 4 << 20,
					     .max_publish_bytes = 64 << 20,
					     .node_name = "celery@host"};
}

static inline void consume(struct fixture *x, const char *queue)
{
	struct queue_def def = {
		.name = queue, .exchange = queue, .exchange_type = "direct", .routing_key = queue};
	struct err err = {0};

	ck_assert_msg(broker_consume(x->broker, &def, &err) == 0, "%s", err.text);
}

/* Open, consuming `queue`, up. */
static inline void start(struct fixture *x, const char *queue)
{
	open_with(x, "");
	consume(x, queue);
	broker_start(x->broker);
	ck_assert_uint_eq(x->ups, 0);
	wait_until(&x->loop, x->ups == 1, 1000);
}

static inline void stop(struct fixture *x)
{
	broker_close(x->broker, 1);
	wait_until(&x->loop, x->is_closed, 2000);
	x->ups = 0;
}

static inline void tear_down(struct fixture *x)
{
	if (!x->is_closed)
		stop(x);
	ck_assert_int_eq(uv_loop_close(&x->loop), 0);
	for (unsigned i = 0; i < x->seen; i++)
		free(x->bodies[i]);
	temp_folder_remove(x->folder);
	free(x->in);
	free(x->out);
	free(x->control);
	free(x->queue);
}

static inline void put_text(struct fixture *x, const char *name, const char *text)
{
	auto_free char *path = mem_printf("%s/%s", x->in, name);

	ck_assert_int_eq(file_write(path, text, strlen(text), NULL), 0);
}

static inline void put(struct fixture *x, const char *name, const char *body)
{
	auto_free char *text = envelope(body, strlen(body));

	put_text(x, name, text);
}

static inline void publish(struct fixture *x, const char *exchange, const char *key,
			   const char *body)
{
	struct publication p = {.exchange = exchange,
				.routing_key = key,
				.content_type = "application/json",
				.content_encoding = "utf-8",
				.body = body,
				.body_len = strlen(body)};

	ck_assert_int_eq(broker_publish(x->broker, &p, on_published, x, NULL), 0);
}

#endif
