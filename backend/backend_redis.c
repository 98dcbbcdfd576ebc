/*
 * Results in Redis, as Celery's Redis backend keeps them. Operations wait in lists until the server
 * has confirmed them; what a lost connection or a server in trouble left undone is sent again, in
 * the order of the calls. Mirrors celery/backends/redis.py (_set) and celery/backends/base.py
 * (_store_result). contract: tasks.md 5.4.
 *
 * The way of a record to the server is redis_op.h's. The plain one is for records that are the
 * only one of their id (backend.h), and costs Redis 3.3 us where the script costs 6.3. What it
 * gives up: a record that meets another one after all, or a server that refuses the write for now,
 * has been published before it is stored (or is kept out by a SUCCESS). Nobody waits in vain: what
 * was sent and not answered is sent again by script, and that publishes what it finds to be its
 * own.
 */
#include "backend/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/redis_chord.h"
#include "backend/redis_queue.h"
#include "base/mem.h"
#include "transport/redis_answer.h"

#define CLIENT_NAME	   "smallage-results"
#define WINDOW_BYTES	   ((size_t)4 << 20) /* under way at once: more is only copied twice */
#define WINDOW_TRANSACTION ((size_t)64)	     /* operations under way, without scripts */
#define HOLD_MS		   200		     /* before the next try of a server in trouble */
#define SLEEP_MS	   1000		     /* before a busy operation asks again */
#define MAX_SCRIPT_LOSSES  3
#define MAX_OUTPUT_BYTES   ((size_t)1 << 30)

enum session_state {
	SESSION_DOWN,	   /* no connection; nothing is sent or held */
	SESSION_PREPARING, /* the scripts are being loaded; nothing is sent or held */
	SESSION_READY,	   /* operations are sent as they come; nothing is held */
	SESSION_HOLDING,   /* the server refused something for now: nothing is sent until all
			      answers are in and the hold timer has fired */
};

struct backend_redis {
	struct backend base;
	struct backend_options options; /* strings inside are not used after open */
	struct redis_conn *conn;
	struct redis_keys keys;
	enum session_state state;
	struct redis_script_names scripts;
	unsigned script_losses; /* NOSCRIPT answers since the last good one */
	bool has_no_scripts, has_said_no_scripts;
	bool has_no_plain; /* SET or PUBLISH is not for this user by itself */
	struct redis_queue queue;
	uv_timer_t hold_timer, close_timer, sleep_timer;
	uint64_t hold_ms;
	unsigned open_handles; /* the timers and the connection */
	uint64_t stored, failed, reconnects;
	bool was_up, is_outage, was_full, is_closing, is_closed;
};

static void session_prepare(struct backend_redis *r);

static void notice(const struct backend_redis *r, bool is_error, const char *what, const char *why)
{
	auto_free char *line = NULL;

	if (r->options.on_notice == NULL)
		return;
	line = mem_printf("Result store Redis %s %s%.300s", redis_conn_host(r->conn), what, why);
	r->options.on_notice(r->options.ctx, is_error, line);
}

static void say_outage(struct backend_redis *r, const char *why)
{
	if (r->is_outage)
		return;
	r->is_outage = true;
	notice(r, true, "is out of reach, results wait: ", why);
}

static void say_back(struct backend_redis *r)
{
	if (!r->is_outage)
		return;
	r->is_outage = false;
	notice(r, false, "is back", "");
}

/* Operations */

static void op_end(struct redis_op *op, const struct err *err)
{
	struct backend_redis *r = op->owner;

	if (err)
		r->failed++;
	else if (!op->chord)
		r->stored++;
	if (op->chord)
		redis_chord_ended(op, err);
	else if (op->got)
		op->got(op->ctx, NULL, 0, err);
	else if (op->done)
		op->done(op->ctx, err);
	else if (err && r->options.on_refused)
		r->options.on_refused(r->options.ctx, op->key.data + r->keys.task.len, op->state,
				      err);
	redis_queue_drop(&r->queue, op);
}

/* Without scripts two stores of one key must not be between their steps at the same time. */
static bool may_send(const struct backend_redis *r, const struct redis_op *op)
{
	if (r->queue.sent_bytes >= WINDOW_BYTES)
		return false;
	return !r->has_no_scripts ||
	       (r->queue.sent_count < WINDOW_TRANSACTION && !redis_queue_has_sent(&r->queue, op));
}

static int op_send(struct redis_op *op)
{
	struct backend_redis *r = op->owner;

	if (r->has_no_plain)
		op->may_go_plain = false;
	return redis_op_send(op, r->conn, r->has_no_scripts ? NULL : &r->scripts);
}

static void ops_send(struct backend_redis *r)
{
	struct redis_op *op;

	while (r->state == SESSION_READY && (op = redis_queue_next(&r->queue)) != NULL) {
		if (!may_send(r, op) || op_send(op) < 0)
			return;
		redis_queue_sent(&r->queue, op);
	}
}

/* The end of the backend */

static void redis_free(struct backend_redis *r)
{
	redis_keys_clear(&r->keys);
	free(r);
}

static void handle_gone(struct backend_redis *r)
{
	if (--r->open_handles > 0)
		return;
	if (r->options.on_closed)
		r->options.on_closed(r->options.ctx);
	redis_free(r);
}

static void on_handle_closed(uv_handle_t *handle)
{
	handle_gone(handle->data);
}

static void on_conn_closed(void *ctx)
{
	handle_gone(ctx);
}

static void session_close(struct backend_redis *r)
{
	if (r->is_closed)
		return;
	r->is_closed = true;
	r->state = SESSION_DOWN;
	redis_conn_close(r->conn);
	uv_close((uv_handle_t *)&r->hold_timer, on_handle_closed);
	uv_close((uv_handle_t *)&r->close_timer, on_handle_closed);
	uv_close((uv_handle_t *)&r->sleep_timer, on_handle_closed);
}

static void on_close_deadline(uv_timer_t *timer)
{
	struct backend_redis *r = timer->data;
	struct redis_op *op;
	struct err err = {0};

	err_set(&err, ERR_TIMEOUT, "Redis %s did not take the result in time",
		redis_conn_host(r->conn));
	/* First, so that no answer comes for what is gone. */
	session_close(r);
	redis_queue_take_back(&r->queue);
	redis_queue_wake(&r->queue);
	while ((op = redis_queue_next(&r->queue)) != NULL)
		op_end(op, &err);
}

/* Answers */

static void on_hold_over(uv_timer_t *timer)
{
	struct backend_redis *r = timer->data;

	if (r->state == SESSION_HOLDING)
		session_prepare(r);
}

/* After each answer: what the new situation allows. */
static void session_go_on(struct backend_redis *r)
{
	if (r->state == SESSION_HOLDING && r->queue.sent_count == 0) {
		redis_queue_release(&r->queue);
		uv_timer_start(&r->hold_timer, on_hold_over, r->hold_ms, 0);
	}
	ops_send(r);
	if (r->was_full && r->queue.bytes <= r->options.max_waiting_bytes / 4 * 3) {
		r->was_full = false;
		if (r->options.on_room)
			r->options.on_room(r->options.ctx);
	}
	if (r->is_closing && r->queue.count == 0)
		session_close(r);
}

static void on_op_stored(struct redis_op *op)
{
	struct backend_redis *r = op->owner;
	struct redis_op *older;

	redis_queue_take(&r->queue, op);
	if (op->way == REDIS_WAY_SCRIPT)
		r->script_losses = 0;
	say_back(r);
	while ((older = redis_queue_superseded(&r->queue, op)) != NULL)
		op_end(older, NULL);
	op_end(op, NULL);
	session_go_on(r);
}

static void on_op_found(struct redis_op *op, const char *record, size_t len)
{
	struct backend_redis *r = op->owner;

	redis_queue_take(&r->queue, op);
	say_back(r);
	op->got(op->ctx, record, len, NULL);
	redis_queue_drop(&r->queue, op);
	session_go_on(r);
}

static void op_hold(struct redis_op *op, uint64_t ms)
{
	struct backend_redis *r = op->owner;

	if (r->state != SESSION_HOLDING) {
		r->state = SESSION_HOLDING;
		r->hold_ms = 0;
	}
	if (ms > r->hold_ms)
		r->hold_ms = ms;
	redis_queue_hold(&r->queue, op);
}

/* It stays where it is in `sent`: it has begun, and goes on by its second way. */
static void on_op_taken(struct redis_op *op)
{
	struct backend_redis *r = op->owner;

	say_back(r);
	if (r->state != SESSION_READY || op_send(op) < 0) {
		redis_queue_take(&r->queue, op);
		op_hold(op, 0);
	}
	session_go_on(r);
}

static void on_sleep_over(uv_timer_t *timer)
{
	struct backend_redis *r = timer->data;

	redis_queue_wake(&r->queue);
	ops_send(r);
}

/* Another worker holds what it is about. */
static void on_op_busy(struct redis_op *op)
{
	struct backend_redis *r = op->owner;

	redis_queue_take(&r->queue, op);
	redis_queue_sleep(&r->queue, op);
	if (!uv_is_active((uv_handle_t *)&r->sleep_timer))
		uv_timer_start(&r->sleep_timer, on_sleep_over, SLEEP_MS, 0);
	say_back(r);
	session_go_on(r);
}

static void use_transactions(struct backend_redis *r)
{
	r->has_no_scripts = true;
	if (r->has_said_no_scripts)
		return;
	r->has_said_no_scripts = true;
	notice(r, false, "does not run scripts: each result takes two round trips", "");
}

static bool is_for_now(enum redis_answer class)
{
	return class == REDIS_ANSWER_LATER || class == REDIS_ANSWER_RECONNECT;
}

static void on_op_refused(struct redis_op *op, const char *answer)
{
	struct backend_redis *r = op->owner;
	enum redis_answer class = redis_answer_class(answer);
	struct err err = {0};

	redis_queue_take(&r->queue, op);
	if (is_for_now(class)) {
		say_outage(r, answer);
		if (class == REDIS_ANSWER_RECONNECT)
			redis_conn_restart(r->conn, answer);
		op_hold(op, HOLD_MS);
	} else if (!op->got && op->way == REDIS_WAY_PLAIN) {
		/* Not the last word: the script may be allowed what its commands are not. */
		r->has_no_plain = r->has_no_plain || class == REDIS_ANSWER_NO_COMMAND;
		op_hold(op, 0);
	} else if (class == REDIS_ANSWER_NO_COMMAND && !op->got && !op->chord &&
		   op->way == REDIS_WAY_SCRIPT) {
		use_transactions(r);
		op_hold(op, 0);
	} else if (class == REDIS_ANSWER_NO_SCRIPT) {
		/* A cluster proxy may load and run on different servers. */
		if (r->state == SESSION_READY && ++r->script_losses >= MAX_SCRIPT_LOSSES)
			use_transactions(r);
		op_hold(op, 0);
	} else {
		err_set(&err, ERR_REFUSED, "Redis %s: %.300s", redis_conn_host(r->conn), answer);
		op_end(op, &err);
	}
	session_go_on(r);
}

static const struct redis_op_events op_events = {
	.stored = on_op_stored,
	.taken = on_op_taken,
	.found = on_op_found,
	.busy = on_op_busy,
	.refused = on_op_refused,
};

/* The session */

static void session_ready(struct backend_redis *r)
{
	r->state = SESSION_READY;
	if (r->queue.count == 0)
		say_back(r); /* else the first answer tells */
	session_go_on(r);
}

static void on_scripts_loaded(void *ctx, const char *refusal)
{
	struct backend_redis *r = ctx;
	enum redis_answer class = refusal ? redis_answer_class(refusal) : REDIS_ANSWER_FINAL;

	if (refusal && is_for_now(class)) {
		say_outage(r, refusal);
		if (class == REDIS_ANSWER_RECONNECT)
			redis_conn_restart(r->conn, refusal);
		r->state = SESSION_HOLDING;
		uv_timer_start(&r->hold_timer, on_hold_over, HOLD_MS, 0);
		return;
	}
	if (refusal)
		use_transactions(r);
	session_ready(r);
}

static void session_prepare(struct backend_redis *r)
{
	r->state = SESSION_PREPARING;
	if (r->has_no_scripts)
		session_ready(r);
	else
		redis_scripts_load(&r->scripts, r->conn, on_scripts_loaded, r);
}

static void on_conn_up(void *ctx)
{
	struct backend_redis *r = ctx;

	if (r->was_up)
		r->reconnects++;
	r->was_up = true;
	/* It may be another server than before. */
	r->has_no_scripts = r->has_no_plain = false;
	r->script_losses = 0;
	session_prepare(r);
}

static void on_conn_down(void *ctx, const struct err *why)
{
	struct backend_redis *r = ctx;

	r->state = SESSION_DOWN;
	uv_timer_stop(&r->hold_timer);
	redis_queue_take_back(&r->queue);
	say_outage(r, why->text);
}

static const struct redis_conn_events conn_events = {
	.on_up = on_conn_up,
	.on_down = on_conn_down,
	.on_closed = on_conn_closed,
};

/* The driver */

static struct redis_conn *open_conn(struct backend_redis *r, struct err *err)
{
	struct redis_settings settings;
	struct redis_conn_options options = {
		.loop = r->options.loop,
		.url = r->options.url,
		.settings = &settings,
		.client_name = CLIENT_NAME,
		.connect_timeout_s = r->options.connect_timeout_s,
		.max_output = MAX_OUTPUT_BYTES,
		.events = &conn_events,
		.ctx = r,
	};

	struct redis_conn *conn = NULL;

	redis_settings_init(&settings);
	if (r->options.redis_settings)
		redis_settings_copy(&settings, r->options.redis_settings);
	settings.tls_use = TLS_FOR_REDIS_BACKEND;
	if (redis_settings_read(&settings, r->options.transport_options, err) < 0)
		err_prefix(err, "result_backend_transport_options: ");
	else
		conn = redis_conn_open(&options, err);
	redis_settings_clear(&settings);
	return conn;
}

static struct backend *redis_open(const struct backend_options *options, struct err *err)
{
	struct backend_redis *r = mem_calloc(1, sizeof(*r));

	r->base.driver = &backend_redis_driver;
	r->options = *options;
	redis_queue_init(&r->queue);
	if (redis_keys_read(&r->keys, options, err) == 0)
		r->conn = open_conn(r, err);
	if (r->conn == NULL) {
		redis_free(r);
		return NULL;
	}
	uv_timer_init(options->loop, &r->hold_timer);
	uv_timer_init(options->loop, &r->close_timer);
	uv_timer_init(options->loop, &r->sleep_timer);
	r->hold_timer.data = r->close_timer.data = r->sleep_timer.data = r;
	r->open_handles = 4;
	return &r->base;
}

static void op_start(struct backend_redis *r, struct redis_op *op)
{
	op->events = &op_events;
	op->owner = r;
	redis_queue_add(&r->queue, op);
	if (r->queue.bytes >= r->options.max_waiting_bytes)
		r->was_full = true;
	ops_send(r);
}

static void redis_store(struct backend *b, const struct backend_record *record,
			backend_done_fn *done, void *ctx)
{
	struct backend_redis *r = (struct backend_redis *)b;
	const struct redis_arg text = {record->data, record->len};
	struct redis_op *op = redis_op_new(&r->keys.task, record->task_id, &text);
	const char *seconds =
		record->state == TASK_FAILURE ? r->keys.failure_expires : r->keys.expires;

	op->seconds = (struct redis_arg){seconds, strlen(seconds)};
	op->state = record->state;
	op->may_go_plain = record->is_only && !record->is_revoke;
	op->is_revoke = record->is_revoke;
	op->done = done;
	op->ctx = ctx;
	op_start(r, op);
}

static void redis_get(struct backend *b, const char *task_id, backend_got_fn *done, void *ctx)
{
	struct backend_redis *r = (struct backend_redis *)b;
	struct redis_op *op = redis_op_new(&r->keys.task, task_id, &(struct redis_arg){0});

	op->got = done;
	op->ctx = ctx;
	op_start(r, op);
}

static void chord_op_start(struct redis_op *op, struct backend *b, backend_done_fn *done, void *ctx)
{
	op->done = done;
	op->ctx = ctx;
	op_start((struct backend_redis *)b, op);
}

static void redis_start_chord(struct backend *b, const struct backend_chord *chord,
			      backend_done_fn *done, void *ctx)
{
	const struct redis_keys *keys = &((struct backend_redis *)b)->keys;

	chord_op_start(redis_chord_start(keys, chord), b, done, ctx);
}

static void redis_add_to_chord(struct backend *b, const char *group_id, const char *task_id,
			       backend_done_fn *done, void *ctx)
{
	const struct redis_keys *keys = &((struct backend_redis *)b)->keys;

	chord_op_start(redis_chord_add(keys, group_id, task_id), b, done, ctx);
}

static void redis_report_part(struct backend *b, const struct backend_chord_part *part,
			      const struct backend_chord_events *events, void *ctx)
{
	const struct redis_keys *keys = &((struct backend_redis *)b)->keys;

	chord_op_start(redis_chord_part(keys, part, events), b, NULL, ctx);
}

static void redis_end_chord(struct backend *b, const struct backend_chord_end *end,
			    backend_done_fn *done, void *ctx)
{
	const struct redis_keys *keys = &((struct backend_redis *)b)->keys;

	chord_op_start(redis_chord_end(keys, end), b, done, ctx);
}

static bool redis_is_full(const struct backend *b)
{
	const struct backend_redis *r = (const struct backend_redis *)b;

	return r->queue.bytes >= r->options.max_waiting_bytes;
}

static void redis_close(struct backend *b, double deadline_s)
{
	struct backend_redis *r = (struct backend_redis *)b;

	r->is_closing = true;
	if (r->queue.count == 0)
		session_close(r);
	else
		uv_timer_start(&r->close_timer, on_close_deadline, (uint64_t)(deadline_s * 1000),
			       0);
}

static void redis_stats(const struct backend *b, struct backend_stats *ret_stats)
{
	const struct backend_redis *r = (const struct backend_redis *)b;

	ret_stats->is_up = r->state == SESSION_READY;
	ret_stats->waiting = r->queue.count;
	ret_stats->waiting_bytes = r->queue.bytes;
	ret_stats->stored = r->stored;
	ret_stats->failed = r->failed;
	ret_stats->reconnects = r->reconnects;
	snprintf(ret_stats->host, sizeof(ret_stats->host), "%s", redis_conn_host(r->conn));
}

static const char *const redis_schemes[] = {"redis",	"redis+socket",	  "rediss",
					    "sentinel", "redis+sentinel", NULL};

const struct backend_driver backend_redis_driver = {
	.schemes = redis_schemes,
	.open = redis_open,
	.store = redis_store,
	.get = redis_get,
	.chords = BACKEND_CHORDS_COUNTED,
	.chord_start = redis_start_chord,
	.chord_add = redis_add_to_chord,
	.chord_part = redis_report_part,
	.chord_end = redis_end_chord,
	.is_full = redis_is_full,
	.close = redis_close,
	.stats = redis_stats,
};
