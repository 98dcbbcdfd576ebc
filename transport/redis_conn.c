#include "transport/redis_conn.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/redis_conn_inside.h"

#define RETRY_FIRST_MS	   100
#define RETRY_MAX_MS	   2000
#define RETRY_DOUBLINGS	   8
#define STABLE_MS	   1000 /* a connection that lived this long starts the back-off anew */
#define WATCH_MAX_MS	   3000
#define SENTINEL_PERIOD_MS 10000
/* Where Sentinels contradict each other, the connection must not be thrown away all the time. */
#define MOVE_PERIOD_MS 60000

static void on_timer(uv_timer_t *timer);

static void timer_set(struct redis_conn *c, uint64_t ms)
{
	uv_timer_start(&c->timer, on_timer, ms, 0);
}

const char *conn_label(const struct redis_conn *c)
{
	return redis_route_label(&c->route);
}

/* What was refused is hardly allowed a moment later, and each try costs the server a log line. */
static uint64_t retry_after_ms(unsigned attempt, enum err_code code)
{
	unsigned doublings = attempt - 1 < RETRY_DOUBLINGS ? attempt - 1 : RETRY_DOUBLINGS;
	uint64_t ms = (uint64_t)RETRY_FIRST_MS << doublings;

	return code == ERR_REFUSED || ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS;
}

static void attempt_next(struct redis_conn *c, enum err_code code)
{
	c->wait_ms = 0;
	c->was_good = c->state == CONN_UP && uv_now(c->loop) - c->up_since_ms >= STABLE_MS;
	if (c->was_good) {
		c->attempt = 1;
	} else if (redis_route_is_last(&c->route)) {
		if (c->attempt > 0)
			c->wait_ms = retry_after_ms(c->attempt, code);
		c->attempt++;
	}
	c->state = CONN_WAITING;
	timer_set(c, c->wait_ms);
}

void conn_lost(struct redis_conn *c, const struct err *why)
{
	struct redis_calls unanswered = c->calls;

	stream_close(c->stream);
	c->stream = NULL;
	redis_sentinel_cancel(c->question);
	c->question = NULL;
	mem_free_ptr(&c->restart_because);
	c->greetings = 0;
	attempt_next(c, why->code);

	/* Callbacks may send again (and are refused) or close; they must not meet the old calls. */
	c->calls = (struct redis_calls){0};
	while (unanswered.count > 0) {
		struct redis_call call = redis_calls_pop(&unanswered);

		if (c->state != CONN_CLOSED)
			call.fn(call.ctx, NULL);
	}
	redis_calls_clear(&unanswered);
	if (c->state != CONN_CLOSED)
		c->events->on_down(c->ctx, why);
}

/* Often enough to see in time that no answer comes. */
static void watch_closely(struct redis_conn *c)
{
	double ms = c->settings.answer_timeout_s * 1000 / 5;

	c->is_watched_closely = true;
	timer_set(c, ms < WATCH_MAX_MS ? (uint64_t)ms : WATCH_MAX_MS);
}

int conn_send(struct redis_conn *c, const struct redis_arg *args, int argc, redis_conn_reply_fn *fn,
	      void *ctx)
{
	if (redis_command_write(stream_output(c->stream), args, argc) < 0)
		return -1;
	if (c->calls.count == 0)
		c->waiting_since_ms = uv_now(c->loop);
	if (!c->is_watched_closely && c->restart_because == NULL)
		watch_closely(c);
	redis_calls_push(&c->calls, (struct redis_call){.fn = fn, .ctx = ctx});
	return 0;
}

int redis_conn_command(struct redis_conn *c, const struct redis_arg *args, int argc,
		       redis_conn_reply_fn *fn, void *ctx)
{
	if (c->state != CONN_UP)
		return -1;
	return conn_send(c, args, argc, fn, ctx);
}

/* Replies */

static bool is_push(const redisReply *reply)
{
	const char *kind = reply->type == REDIS_REPLY_ARRAY && reply->elements >= 3
				   ? reply->element[0]->str
				   : NULL;

	return kind && (strcmp(kind, "message") == 0 || strcmp(kind, "pmessage") == 0);
}

static int reply_give(void *ctx, const redisReply *reply, struct err *err)
{
	struct redis_conn *c = ctx;
	const struct stream *stream = c->stream;
	struct redis_call call;

	if (c->events->on_push && is_push(reply)) {
		c->events->on_push(c->ctx, reply);
		return c->stream == stream ? 0 : 1;
	}
	if (c->calls.count == 0)
		return err_set(err, ERR_PROTOCOL, "an answer nobody asked for");
	call = redis_calls_pop(&c->calls);
	c->waiting_since_ms = uv_now(c->loop);
	call.fn(call.ctx, reply);
	/* A callback may close or restart the connection. */
	return c->stream == stream ? 0 : 1;
}

static void on_stream_connected(void *ctx)
{
	conn_greet(ctx);
}

static size_t on_stream_data(void *ctx, const char *data, size_t len)
{
	struct redis_conn *c = ctx;
	struct err err = {0};
	size_t used = len;

	if (redis_replies_feed(&c->replies, data, len, &used, reply_give, c, &err) < 0) {
		err_prefix(&err, "Redis %s: ", conn_label(c));
		conn_lost(c, &err);
	}
	return used;
}

static void on_stream_failed(void *ctx, const struct err *why)
{
	struct redis_conn *c = ctx;
	/* A Redis that expects TLS hangs up without a word. */
	bool may_be_tls = c->state == CONN_GREETING && !redis_conn_has_tls(c) &&
			  redis_route_server(&c->route)->unix_path == NULL;
	struct err err = {0};

	err_set(&err, why->code, "Redis %s: %.300s%s", conn_label(c), why->text,
		may_be_tls ? " before it answered: if it speaks TLS on this port, use rediss://"
			   : "");
	conn_lost(c, &err);
}

static void on_stream_flush(void *ctx)
{
	struct redis_conn *c = ctx;

	if (c->state == CONN_UP && c->events->on_flush)
		c->events->on_flush(c->ctx);
}

void redis_conn_wake(struct redis_conn *c)
{
	if (c->state == CONN_UP)
		stream_wake(c->stream);
}

static const struct stream_events stream_events = {
	.on_flush = on_stream_flush,
	.on_connected = on_stream_connected,
	.on_data = on_stream_data,
	.on_failed = on_stream_failed,
};

static void server_connect(struct redis_conn *c)
{
	const struct redis_address *address = redis_route_server(&c->route);
	struct stream_options options = {
		.loop = c->loop,
		.unix_path = address->unix_path,
		.host = address->host,
		.port = address->port,
		.tls = address->tls,
		.keepalive = c->settings.keepalive,
		.connect_timeout_s = c->settings.connect_timeout_s,
		.max_output = c->max_output,
		.events = &stream_events,
		.ctx = c,
	};

	redis_replies_reset(&c->replies, c->max_reply);
	c->is_watched_closely = false;
	c->progress_ms = 0;
	c->state = CONN_CONNECTING;
	c->stream = stream_open(&options);
}

/* Sentinels */

static void master_left(struct redis_conn *c)
{
	struct err err = {0};

	err_set(&err, ERR_IO, "Redis %s: another is master now, a Sentinel says", conn_label(c));
	conn_lost(c, &err);
}

static void on_master_found(void *ctx, const char *host, int port, unsigned index)
{
	struct redis_conn *c = ctx;

	if (c->state == CONN_ASKING) {
		redis_route_found(&c->route, c->settings.master_name, host, port, index);
		server_connect(c);
	} else if (redis_route_is_at(&c->route, host, port)) {
		c->route.index = index;
	} else if (c->moved_ms == 0 || uv_now(c->loop) - c->moved_ms >= MOVE_PERIOD_MS) {
		c->moved_ms = uv_now(c->loop);
		master_left(c);
	}
}

static void on_master_unknown(void *ctx, const struct err *why)
{
	struct redis_conn *c = ctx;
	struct err err = {0};

	if (c->state != CONN_ASKING)
		return;
	err_set(&err, why->code, "Redis %s: %s", conn_label(c), why->text);
	conn_lost(c, &err);
}

static void on_master_moved(void *ctx)
{
	master_left(ctx);
}

static const struct redis_sentinel_events sentinel_events = {
	.found = on_master_found,
	.failed = on_master_unknown,
	.moved = on_master_moved,
};

static void sentinel_ask(struct redis_conn *c)
{
	struct redis_sentinel_options options = {
		.loop = c->loop,
		.sentinels = c->route.items,
		.count = c->route.count,
		.first = c->route.index,
		.settings = &c->settings,
		.connect_timeout_s = c->settings.connect_timeout_s,
		.events = &sentinel_events,
		.ctx = c,
	};

	redis_sentinel_cancel(c->question);
	c->asked_ms = uv_now(c->loop);
	c->question = redis_sentinel_ask(&options);
}

static void connect_again(struct redis_conn *c)
{
	if (c->was_good)
		redis_route_rewind(&c->route);
	else if (c->has_tried)
		redis_route_advance(&c->route);
	c->has_tried = true;
	if (!c->route.has_sentinels) {
		server_connect(c);
		return;
	}
	c->state = CONN_ASKING;
	sentinel_ask(c);
}

/* Whether the master is still the master. */
static void sentinel_watch(struct redis_conn *c)
{
	uint64_t now = uv_now(c->loop);
	bool is_silent = c->calls.count > 0 && now - c->waiting_since_ms >= WATCH_MAX_MS;

	if (!c->route.has_sentinels || c->state != CONN_UP)
		return;
	if (now - c->asked_ms >= (is_silent ? WATCH_MAX_MS : SENTINEL_PERIOD_MS))
		sentinel_ask(c);
}

/* The watch */

/* Since when nothing has come from the server that owes an answer. A large record may take its
 * time: as long as what waits to be written grows less, somebody takes it. Commands that the kernel
 * takes at once say nothing about the peer. */
static uint64_t silent_since_ms(struct redis_conn *c)
{
	uint64_t since = c->waiting_since_ms;
	uint64_t last_write = stream_last_write_ms(c->stream);

	if (stream_pending(c->stream) > 0 && last_write > c->progress_ms)
		c->progress_ms = last_write;
	if (c->progress_ms > since)
		since = c->progress_ms;
	if (stream_last_read_ms(c->stream) > since)
		since = stream_last_read_ms(c->stream);
	return since;
}

static bool is_peer_dead(struct redis_conn *c)
{
	return c->calls.count > 0 && (double)(uv_now(c->loop) - silent_since_ms(c)) >=
					     c->settings.answer_timeout_s * 1000;
}

/* That it came is all there is to know. */
static void on_pong(void *ctx, const redisReply *reply)
{
	(void)ctx;
	(void)reply;
}

static void idle_watch(struct redis_conn *c)
{
	uint64_t period = (uint64_t)(c->settings.health_check_interval_s * 1000);
	uint64_t idle = uv_now(c->loop) - c->waiting_since_ms;
	uint64_t next = c->route.has_sentinels ? SENTINEL_PERIOD_MS : UINT64_MAX;

	c->is_watched_closely = false;
	if (period > 0 && idle >= period) {
		conn_send(c, &REDIS_ARG("PING"), 1, on_pong, NULL);
		return;
	}
	if (period > 0 && period - idle < next)
		next = period - idle;
	if (next < UINT64_MAX)
		timer_set(c, next);
}

static void conn_watch(struct redis_conn *c)
{
	struct err err = {0};

	if (c->restart_because)
		err_set(&err, ERR_IO, "Redis %s: %s", conn_label(c), c->restart_because);
	else if (is_peer_dead(c))
		err_set(&err, ERR_TIMEOUT, "Redis %s: no answer for %g s", conn_label(c),
			c->settings.answer_timeout_s);
	if (err.code != ERR_NONE) {
		conn_lost(c, &err);
		return;
	}
	sentinel_watch(c);
	if (c->calls.count > 0)
		watch_closely(c);
	else
		idle_watch(c);
}

static void on_timer(uv_timer_t *timer)
{
	struct redis_conn *c = timer->data;

	if (c->state == CONN_WAITING)
		connect_again(c);
	else if (c->state == CONN_GREETING || c->state == CONN_UP)
		conn_watch(c);
}

/* Opening */

static void conn_free(struct redis_conn *c)
{
	redis_calls_clear(&c->calls);
	redis_replies_clear(&c->replies);
	redis_route_clear(&c->route);
	redis_settings_clear(&c->settings);
	free(c->restart_because);
	free(c);
}

static void settings_take(struct redis_conn *c, const struct redis_conn_options *options)
{
	redis_settings_init(&c->settings);
	if (options->settings)
		redis_settings_copy(&c->settings, options->settings);
}

struct redis_conn *redis_conn_open(const struct redis_conn_options *options, struct err *err)
{
	struct redis_conn *c = mem_calloc(1, sizeof(*c));

	settings_take(c, options);
	if (redis_route_init(&c->route, options->url, &c->settings, err) < 0) {
		conn_free(c);
		return NULL;
	}
	if (c->settings.client_name == NULL)
		c->settings.client_name = mem_strdup(options->client_name);
	if (c->settings.connect_timeout_s <= 0)
		c->settings.connect_timeout_s = options->connect_timeout_s;
	c->loop = options->loop;
	c->events = options->events;
	c->ctx = options->ctx;
	c->max_output = options->max_output;
	c->max_reply = options->max_reply;
	uv_timer_init(c->loop, &c->timer);
	c->timer.data = c;
	timer_set(c, 0);
	return c;
}

const char *redis_conn_host(const struct redis_conn *c)
{
	return conn_label(c);
}

bool redis_conn_has_tls(const struct redis_conn *c)
{
	return redis_route_server(&c->route)->tls != NULL;
}

double redis_conn_retry_in_s(const struct redis_conn *c)
{
	return (double)c->wait_ms / 1000;
}

void redis_conn_restart(struct redis_conn *c, const char *reason)
{
	if (c->state != CONN_UP || c->restart_because)
		return;
	c->restart_because = mem_printf("%.200s", reason);
	timer_set(c, 0);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct redis_conn *c = handle->data;
	const struct redis_conn_events *events = c->events;
	void *ctx = c->ctx;

	conn_free(c);
	events->on_closed(ctx);
}

void redis_conn_close(struct redis_conn *c)
{
	if (c->state == CONN_CLOSED)
		return;
	c->state = CONN_CLOSED;
	stream_close(c->stream);
	c->stream = NULL;
	redis_sentinel_cancel(c->question);
	c->question = NULL;
	uv_close((uv_handle_t *)&c->timer, on_handle_closed);
}
