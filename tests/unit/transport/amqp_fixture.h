/*
 * A loop, a broker on a real RabbitMQ and what it told. The server is named by SMALLAGE_TEST_AMQP
 * (a URL); SMALLAGE_TEST_RABBITMQCTL is a command that administers it. Without them the tests that
 * need a server say so and pass.
 */
#ifndef TESTS_AMQP_FIXTURE_H
#define TESTS_AMQP_FIXTURE_H

#include "tests/unit/transport/amqp_events.h"

static inline void fixture_init(struct fixture *f, const char *url)
{
	static const struct broker_events events = {
		.on_up = fixture_up,
		.on_down = fixture_down,
		.on_delivery = fixture_delivery,
		.on_notice = fixture_notice,
		.on_closed = fixture_closed,
	};

	memset(f, 0, sizeof(*f));
	f->seen = calloc(SEEN_MAX, sizeof(f->seen[0]));
	uv_loop_init(&f->loop);
	f->options = (struct broker_options){
		.loop = &f->loop,
		.url = url,
		.events = &events,
		.ctx = f,
		.heartbeat_s = 120,
		.connect_timeout_s = 4,
		.max_retries = 100,
		.retry_on_startup = true,
		.max_message_bytes = 8u << 20,
		.max_publish_bytes = 64u << 20,
		.product_version = "0",
		.node_name = "celery@test",
	};
}

static inline void fixture_open(struct fixture *f)
{
	struct err err = {0};

	f->broker = broker_open(&f->options, &err);
	ck_assert_msg(f->broker != NULL, "%s", err.text);
}

static inline void fixture_consume(struct fixture *f, const char *queue, const char *arguments)
{
	struct err err = {0};
	struct queue_def def = {
		.name = queue,
		.exchange = queue,
		.exchange_type = "direct",
		.routing_key = queue,
		.arguments = arguments,
	};

	ck_assert_msg(broker_consume(f->broker, &def, &err) == 0, "%s", err.text);
}

static inline void fixture_ticked(uv_timer_t *timer)
{
	(void)timer;
}

/* Runs the loop until `*value` is at least `want`; false when the time is over. */
static inline bool fixture_wait(struct fixture *f, const unsigned *value, unsigned want, int ms)
{
	uv_timer_t tick;
	uint64_t end;

	uv_timer_init(&f->loop, &tick);
	uv_timer_start(&tick, fixture_ticked, 20, 20);
	uv_update_time(&f->loop);
	end = uv_now(&f->loop) + (uint64_t)ms;
	while (*value < want && uv_now(&f->loop) < end)
		uv_run(&f->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&tick, NULL);
	uv_run(&f->loop, UV_RUN_NOWAIT);
	return *value >= want;
}

static inline void fixture_run(struct fixture *f, int ms)
{
	static const unsigned never = 0;

	fixture_wait(f, &never, 1, ms);
}

static inline void fixture_start(struct fixture *f)
{
	broker_start(f->broker);
	ck_assert_msg(fixture_wait(f, &f->ups, 1, 10000), "%s", f->last_down.text);
}

static inline int fixture_publish(struct fixture *f, const char *queue, const char *body,
				  size_t len)
{
	struct queue_def def = {.name = queue, .exchange = queue, .routing_key = queue};
	struct publication p = {
		.exchange = "",
		.routing_key = queue,
		.declare = &def,
		.content_type = "application/json",
		.content_encoding = "utf-8",
		.priority = -1,
		.delivery_mode = 2,
		.body = body,
		.body_len = len,
	};

	return broker_publish(f->broker, &p, fixture_published, f, NULL);
}

static inline void fixture_close(struct fixture *f)
{
	if (f->broker) {
		broker_close(f->broker, 5);
		ck_assert(fixture_wait(f, &f->closed, 1, 8000));
	}
	for (unsigned i = 0; i < f->seen_count; i++) {
		struct seen *s = &f->seen[i];
		free(s->body);
		free(s->routing_key);
		free(s->exchange);
		free(s->content_type);
		free(s->content_encoding);
		free(s->correlation_id);
		free(s->reply_to);
		free(s->expiration);
		json_decref(s->headers);
	}
	f->seen_count = 0;
	free(f->seen);
	while (uv_run(&f->loop, UV_RUN_NOWAIT) != 0)
		;
	ck_assert_int_eq(uv_loop_close(&f->loop), 0);
}

/* A queue name of this test's own. */
static inline const char *fixture_queue(const char *name)
{
	static char text[8][128];
	static unsigned turn;
	char *to = text[turn++ % 8];

	snprintf(to, sizeof(text[0]), "%s-%d", name, (int)getpid());
	return to;
}

#endif
