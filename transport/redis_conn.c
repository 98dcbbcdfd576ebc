#include "transport/redis_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/redis_address.h"
#include "transport/redis_replies.h"
#include "transport/stream.h"

#define ANSWER_TIMEOUT_MS 15000
#define WATCH_BUSY_MS	  3000
#define WATCH_IDLE_MS	  30000
#define RETRY_FIRST_MS	  100
#define RETRY_MAX_MS	  2000
#define STABLE_MS	  1000 /* a connection that lived this long starts the back-off anew */
#define CALLS_AT_START	  64

enum conn_state {
	CONN_WAITING,	 /* no stream; the timer will connect */
	CONN_CONNECTING, /* stream opened, not yet connected */
	CONN_GREETING,	 /* AUTH, SELECT, CLIENT SETNAME are under way */
	CONN_UP,	 /* on_up was called */
	CONN_CLOSED,
};

struct call {
	redis_conn_reply_fn *fn;
	void *ctx;
};

/* Sent and not answered, in order: a ring. */
struct calls {
	struct call *ring;
	size_t first, count, room; /* `room` is a power of two, or 0 */
};

struct redis_conn {
	uv_loop_t *loop;
	const struct redis_conn_events *events;
	void *ctx;
	struct redis_address address;
	char *client_name;
	double connect_timeout_s;
	size_t max_output;
	enum conn_state state;
	struct stream *stream;
	struct redis_replies replies;
	struct calls calls;
	unsigned greetings; /* of these, how many belong to the greeting */
	uv_timer_t timer;   /* to connect again, or to watch */
	unsigned attempt;   /* failed ones in a row */
	uint64_t up_since_ms, waiting_since_ms;
	bool was_idle;	       /* the timer runs for an idle connection */
	char *restart_because; /* redis_conn_restart was called */
};

static void on_timer(uv_timer_t *timer);

static struct call *call_at(const struct calls *calls, size_t i)
{
	return &calls->ring[(calls->first + i) & (calls->room - 1)];
}

static void call_push(struct calls *calls, struct call call)
{
	if (calls->count == calls->room) {
		struct calls larger = {.room = calls->room ? 2 * calls->room : CALLS_AT_START};

		larger.ring = mem_calloc(larger.room, sizeof(*larger.ring));
		for (; larger.count < calls->count; larger.count++)
			larger.ring[larger.count] = *call_at(calls, larger.count);
		free(calls->ring);
		*calls = larger;
	}
	*call_at(calls, calls->count++) = call;
}

static struct call call_pop(struct calls *calls)
{
	struct call call = *call_at(calls, 0);

	calls->first++;
	calls->count--;
	return call;
}

static void timer_set(struct redis_conn *c, uint64_t ms)
{
	uv_timer_start(&c->timer, on_timer, ms, 0);
}

/* Throws the stream away and hands unanswered commands back. */
static void conn_lost(struct redis_conn *c, const struct err *why)
{
	struct calls unanswered = c->calls;
	uint64_t wait_ms = 0;

	stream_close(c->stream);
	c->stream = NULL;
	if (c->state == CONN_UP && uv_now(c->loop) - c->up_since_ms >= STABLE_MS)
		c->attempt = 0;
	if (c->attempt > 0)
		wait_ms = RETRY_FIRST_MS << (c->attempt - 1 < 8 ? c->attempt - 1 : 8);
	c->attempt++;
	c->state = CONN_WAITING;
	mem_free_ptr(&c->restart_because);
	c->greetings = 0;
	timer_set(c, wait_ms < RETRY_MAX_MS ? wait_ms : RETRY_MAX_MS);

	/* Callbacks may send again (and are refused) or close; they must not meet the old calls. */
	c->calls = (struct calls){0};
	while (unanswered.count > 0) {
		struct call call = call_pop(&unanswered);

		if (c->state != CONN_CLOSED)
			call.fn(call.ctx, NULL);
	}
	free(unanswered.ring);
	if (c->state != CONN_CLOSED)
		c->events->on_down(c->ctx, why);
}

static int command_send(struct redis_conn *c, const struct redis_arg *args, int argc,
			redis_conn_reply_fn *fn, void *ctx)
{
	if (redis_command_write(stream_output(c->stream), args, argc) < 0)
		return -1;
	if (c->calls.count == 0) {
		c->waiting_since_ms = uv_now(c->loop);
		c->was_idle = false;
		if (c->restart_because == NULL)
			timer_set(c, WATCH_BUSY_MS);
	}
	call_push(&c->calls, (struct call){.fn = fn, .ctx = ctx});
	return 0;
}

int redis_conn_command(struct redis_conn *c, const struct redis_arg *args, int argc,
		       redis_conn_reply_fn *fn, void *ctx)
{
	if (c->state != CONN_UP)
		return -1;
	return command_send(c, args, argc, fn, ctx);
}

/* The greeting */

static void greeting_send(struct redis_conn *c, redis_conn_reply_fn *fn, int argc,
			  const char **argv)
{
	struct redis_arg args[4];

	for (int i = 0; i < argc; i++)
		args[i] = (struct redis_arg){argv[i], strlen(argv[i])};
	if (command_send(c, args, argc, fn, c) == 0)
		c->greetings++;
}

static void greeting_step(struct redis_conn *c)
{
	if (c->state != CONN_GREETING || --c->greetings > 0)
		return;
	c->state = CONN_UP;
	c->up_since_ms = uv_now(c->loop);
	c->events->on_up(c->ctx);
}

static void greeting_answered(void *ctx, const redisReply *reply)
{
	struct redis_conn *c = ctx;
	struct err err = {0};

	if (reply == NULL)
		return;
	if (reply->type != REDIS_REPLY_ERROR) {
		greeting_step(c);
		return;
	}
	/* The server's words only: our AUTH is not repeated in them. */
	err_set(&err, ERR_REFUSED, "Redis %s: %.200s", c->address.label, reply->str);
	conn_lost(c, &err);
}

/* The name is for people; servers that refuse it are fine too. */
static void name_answered(void *ctx, const redisReply *reply)
{
	if (reply != NULL)
		greeting_step(ctx);
}

static void on_stream_connected(void *ctx)
{
	struct redis_conn *c = ctx;
	char db[16];

	c->state = CONN_GREETING;
	c->greetings = 0;
	if (c->address.password && c->address.user)
		greeting_send(c, greeting_answered, 3,
			      (const char *[]){"AUTH", c->address.user, c->address.password});
	else if (c->address.password)
		greeting_send(c, greeting_answered, 2,
			      (const char *[]){"AUTH", c->address.password});
	snprintf(db, sizeof(db), "%d", c->address.db);
	/* Sent for database 0 too: its answer tells a server that is still loading. */
	greeting_send(c, greeting_answered, 2, (const char *[]){"SELECT", db});
	if (c->client_name)
		greeting_send(c, name_answered, 3,
			      (const char *[]){"CLIENT", "SETNAME", c->client_name});
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
	struct call call;

	if (c->events->on_push && is_push(reply)) {
		c->events->on_push(c->ctx, reply);
		return c->stream == stream ? 0 : 1;
	}
	if (c->calls.count == 0)
		return err_set(err, ERR_PROTOCOL, "an answer nobody asked for");
	call = call_pop(&c->calls);
	c->waiting_since_ms = uv_now(c->loop);
	call.fn(call.ctx, reply);
	/* A callback may close or restart the connection. */
	return c->stream == stream ? 0 : 1;
}

static size_t on_stream_data(void *ctx, const char *data, size_t len)
{
	struct redis_conn *c = ctx;
	struct err err = {0};
	size_t used = len;

	if (redis_replies_feed(&c->replies, data, len, &used, reply_give, c, &err) < 0) {
		err_prefix(&err, "Redis %s: ", c->address.label);
		conn_lost(c, &err);
	}
	return used;
}

static void on_stream_failed(void *ctx, const struct err *why)
{
	struct redis_conn *c = ctx;
	struct err err = {0};

	err_set(&err, why->code, "Redis %s: %.300s", c->address.label, why->text);
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

static void connect_again(struct redis_conn *c)
{
	struct stream_options options = {
		.loop = c->loop,
		.unix_path = c->address.unix_path,
		.host = c->address.host,
		.port = c->address.port,
		.connect_timeout_s = c->connect_timeout_s,
		.max_output = c->max_output,
		.events = &stream_events,
		.ctx = c,
	};

	redis_replies_reset(&c->replies);
	c->state = CONN_CONNECTING;
	c->stream = stream_open(&options);
}

/* Waiting for an answer only counts while no bytes go out: a large record may take its time. */
static bool is_peer_dead(const struct redis_conn *c)
{
	uint64_t since = c->waiting_since_ms;

	if (stream_last_write_ms(c->stream) > since)
		since = stream_last_write_ms(c->stream);
	if (stream_last_read_ms(c->stream) > since)
		since = stream_last_read_ms(c->stream);
	return c->calls.count > 0 && uv_now(c->loop) - since >= ANSWER_TIMEOUT_MS;
}

/* That it came is all there is to know. */
static void on_pong(void *ctx, const redisReply *reply)
{
	(void)ctx;
	(void)reply;
}

static void on_timer(uv_timer_t *timer)
{
	struct redis_conn *c = timer->data;
	struct err err = {0};

	if (c->state == CONN_WAITING) {
		connect_again(c);
		return;
	}
	if (c->state != CONN_GREETING && c->state != CONN_UP)
		return;
	if (c->restart_because) {
		err_set(&err, ERR_IO, "Redis %s: %s", c->address.label, c->restart_because);
		conn_lost(c, &err);
		return;
	}
	if (is_peer_dead(c)) {
		err_set(&err, ERR_TIMEOUT, "Redis %s: no answer for %d s", c->address.label,
			ANSWER_TIMEOUT_MS / 1000);
		conn_lost(c, &err);
		return;
	}
	if (c->calls.count > 0) {
		timer_set(c, WATCH_BUSY_MS);
	} else if (!c->was_idle) {
		c->was_idle = true;
		timer_set(c, WATCH_IDLE_MS);
	} else {
		command_send(c, &REDIS_ARG("PING"), 1, on_pong, NULL);
	}
}

/* Opening */

static void conn_free(struct redis_conn *c)
{
	free(c->calls.ring);
	redis_replies_clear(&c->replies);
	redis_address_clear(&c->address);
	free(c->client_name);
	free(c->restart_because);
	free(c);
}

struct redis_conn *redis_conn_open(const struct redis_conn_options *options, struct err *err)
{
	struct redis_conn *c = mem_calloc(1, sizeof(*c));

	if (redis_address_parse(&c->address, options->url, err) < 0) {
		conn_free(c);
		return NULL;
	}
	c->loop = options->loop;
	c->events = options->events;
	c->ctx = options->ctx;
	c->client_name = mem_strdup(options->client_name);
	c->connect_timeout_s = options->connect_timeout_s;
	c->max_output = options->max_output;
	uv_timer_init(c->loop, &c->timer);
	c->timer.data = c;
	timer_set(c, 0);
	return c;
}

const char *redis_conn_host(const struct redis_conn *c)
{
	return c->address.label;
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
	uv_close((uv_handle_t *)&c->timer, on_handle_closed);
}
