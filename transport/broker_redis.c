/* The Redis driver: its connection, its queues, its answers. Its end is broker_redis_close.c. */
#include "transport/broker_redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "protocol/pyjson.h"
#include "transport/envelope.h"
#include "transport/redis_answer.h"

#define OUTPUT_ROOM ((size_t)8 << 20) /* beside publications and a message that is put back */

static struct broker_redis *self(struct broker *b)
{
	return broker_redis_of(b);
}

void redis_notice(struct broker_redis *r, bool is_error, const char *text)
{
	r->base.events->on_notice(r->base.ctx, is_error, text);
}

void redis_trouble(struct broker_redis *r, const char *what, const redisReply *answer)
{
	const char *words =
		answer->type == REDIS_REPLY_ERROR ? answer->str : "an answer that was not expected";
	auto_free char *text =
		mem_printf("Redis %s, %s: %.300s", redis_conn_host(r->conn), what, words);

	if (strncmp(r->last_trouble, text, sizeof(r->last_trouble) - 1) != 0) {
		snprintf(r->last_trouble, sizeof(r->last_trouble), "%s", text);
		redis_notice(r, true, text);
	}
	if (answer->type == REDIS_REPLY_ERROR &&
	    redis_answer_class(answer->str) == REDIS_ANSWER_RECONNECT)
		redis_conn_restart(r->conn, words);
}

void redis_trouble_over(struct broker_redis *r)
{
	r->last_trouble[0] = '\0';
}

void redis_wake(struct broker_redis *r)
{
	if (r->is_connected)
		redis_conn_wake(r->conn);
}

/* The connection */

static void queues_purged(void *ctx, const redisReply *reply)
{
	struct broker_redis *r = ctx;

	if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
		r->purges = true;
		return;
	}
	if (reply->integer > 0)
		redis_notice(r, false, "purged: all that waited in the queues");
}

/* Before anything is taken from them. */
static void purge(struct broker_redis *r)
{
	struct list_node *pos;

	if (!r->purges)
		return;
	r->purges = false;
	list_foreach (pos, &r->queues) {
		const struct redis_queue *queue = list_entry(pos, struct redis_queue, node);
		struct redis_arg args[1 + REDIS_MAX_STEPS] = {REDIS_ARG("DEL")};

		for (unsigned i = 0; i < r->options.step_count; i++)
			args[i + 1] = (struct redis_arg){queue->keys[i], strlen(queue->keys[i])};
		(void)redis_conn_command(r->conn, args, (int)r->options.step_count + 1,
					 queues_purged, r);
	}
}

static const char *scheme(const struct broker_redis *r)
{
	return r->conn && redis_conn_has_tls(r->conn) ? "rediss" : "redis";
}

/* What was before is put right, and the server knows us. */
static void settle(struct broker_redis *r)
{
	auto_free char *host = mem_printf("%s://%s", scheme(r), redis_conn_host(r->conn));

	if (r->phase != REDIS_SETTLING || !r->is_settled || !r->letters.is_settled ||
	    (redis_takes(r) && !r->lease.is_registered) || r->lease.is_checking)
		return;
	r->phase = REDIS_UP;
	r->reconnects += r->was_up;
	r->was_up = true;
	r->tell_at_us = 0;
	backoff_reset(&r->backoff);
	r->base.events->on_up(r->base.ctx, host);
	redis_take_wake(r);
}

/* All that was sent before it is answered. */
static void on_settled(void *ctx, const redisReply *reply)
{
	struct broker_redis *r = ctx;

	if (reply == NULL)
		return;
	r->is_settled = true;
	redis_wake(r);
}

/* Without it lists are asked from time to time. */
static void on_tracked(void *ctx, const redisReply *reply)
{
	struct broker_redis *r = ctx;

	if (reply != NULL)
		redis_take_track(r, reply->type == REDIS_REPLY_STATUS && r->tracker_id != 0);
}

static void track(struct broker_redis *r)
{
	char id[24];
	const struct redis_arg args[] = {REDIS_ARG("CLIENT"),
					 REDIS_ARG("TRACKING"),
					 REDIS_ARG("ON"),
					 REDIS_ARG("REDIRECT"),
					 {id, 0},
					 REDIS_ARG("OPTIN")};
	struct redis_arg all[6];

	redis_take_track(r, false);
	if (r->tracker_id == 0 || !r->is_connected)
		return;
	memcpy(all, args, sizeof(all));
	snprintf(id, sizeof(id), "%lld", (long long)r->tracker_id);
	all[4].len = strlen(id);
	(void)redis_conn_command(r->conn, all, 6, on_tracked, r);
}

static void on_conn_up(void *ctx)
{
	struct broker_redis *r = ctx;

	r->is_connected = true;
	r->is_settled = r->answers.is_stuck = false;
	if (!redis_broker_is_closing(r))
		r->phase = REDIS_SETTLING;
	redis_scripts_reset(&r->scripts);
	redis_lease_up(r);
	redis_sweep_up(r);
	redis_lease_check(r);
	purge(r);
	track(r);
	redis_letters_up(&r->letters, r->conn);
	(void)redis_conn_command(r->conn, &REDIS_ARG("PING"), 1, on_settled, r);
	redis_wake(r);
}

/* Told at the pace of Celery's attempts, though more of them are made; and it is given up when
 * Celery would have done so. */
static void tell_down(struct broker_redis *r, const struct err *why, bool was_up)
{
	int64_t now = clock_mono_us();
	double delay_s = 0;

	if (r->has_given_up || (!was_up && now < r->tell_at_us))
		return;
	if (!was_up)
		delay_s = !r->was_up && !r->retry_on_startup ? -1 : backoff_next(&r->backoff);
	r->tell_at_us = now + (int64_t)(delay_s * 1e6);
	r->has_given_up = delay_s < 0;
	r->base.events->on_down(r->base.ctx, why,
				delay_s > 0 ? redis_conn_retry_in_s(r->conn) : delay_s,
				(int)r->backoff.rounds, r->backoff.max_rounds);
}

static void on_conn_down(void *ctx, const struct err *why)
{
	struct broker_redis *r = ctx;
	bool was_up = r->phase == REDIS_UP;

	r->is_connected = false;
	redis_ahead_give_back(r);
	redis_lease_down(r);
	redis_sweep_down(r);
	redis_letters_down(&r->letters);
	if (!redis_broker_is_closing(r)) {
		r->phase = REDIS_DOWN;
		tell_down(r, why, was_up);
	}
	redis_broker_close_advance(r);
}

static void on_conn_flush(void *ctx)
{
	struct broker_redis *r = ctx;

	settle(r);
	redis_unacked_flush(r);
	redis_sweep_next(r);
	redis_take_pump(r);
	redis_broker_close_advance(r);
}

static void on_conn_closed(void *ctx)
{
	redis_broker_handle_closed(ctx);
}

static const struct redis_conn_events conn_events = {
	.on_up = on_conn_up,
	.on_down = on_conn_down,
	.on_closed = on_conn_closed,
	.on_flush = on_conn_flush,
};

static void on_tick(uv_timer_t *timer)
{
	struct broker_redis *r = timer->data;

	r->answers.is_stuck = false;
	redis_lease_tick(r);
	redis_sweep_tick(r);
	redis_wake(r);
	redis_broker_close_advance(r);
}

/* Letters */

static void on_letters_settled(void *ctx)
{
	redis_wake(ctx);
}

static void on_tracker(void *ctx, int64_t client_id)
{
	struct broker_redis *r = ctx;

	r->tracker_id = client_id;
	track(r);
}

static void on_invalidate(void *ctx)
{
	redis_take_wake(ctx);
}

static void on_letters_closed(void *ctx)
{
	redis_broker_handle_closed(ctx);
}

static void on_letters_notice(void *ctx, bool is_error, const char *text)
{
	redis_notice(ctx, is_error, text);
}

/* Of a queue that all get a copy of: there is nothing to answer. */
static void on_fanout(void *ctx, struct message *message)
{
	struct broker_redis *r = ctx;

	if (r->phase != REDIS_UP || r->is_paused)
		return;
	r->delivered++;
	r->base.events->on_delivery(r->base.ctx, message, REDIS_SESSION, REDIS_TAG_FANOUT);
}

/* The beginning */

static int open_letters(struct broker_redis *r, const struct broker_options *options,
			const struct redis_conn_options *conn, struct err *err)
{
	static const struct redis_letters_events events = {
		.on_settled = on_letters_settled,
		.on_tracker = on_tracker,
		.on_invalidate = on_invalidate,
		.on_closed = on_letters_closed,
	};
	const struct redis_letters_options letters = {
		.conn = conn,
		.names = &r->options,
		.scripts = &r->scripts,
		.max_body = options->max_message_bytes,
		.max_publish = options->max_publish_bytes,
		.events = &events,
		.notice = on_letters_notice,
		.ctx = r,
	};

	return redis_letters_init(&r->letters, &letters, err);
}

static int open_conn(struct broker_redis *r, const struct broker_options *options, struct err *err)
{
	struct redis_settings settings;
	struct redis_conn_options conn = {
		.loop = r->loop,
		.url = options->url,
		.settings = &settings,
		.client_name = "smallage",
		.connect_timeout_s = options->connect_timeout_s,
		.max_output = options->max_publish_bytes + OUTPUT_ROOM +
			      envelope_max_bytes(options->max_message_bytes),
		.max_reply = 2 * envelope_max_bytes(options->max_message_bytes),
		.events = &conn_events,
		.ctx = r,
	};

	redis_settings_init(&settings);
	settings.tls = mem_strdup(options->tls);
	if (redis_settings_read(&settings, options->transport_options, err) < 0)
		err_prefix(err, "broker_transport_options: ");
	else
		r->conn = redis_conn_open(&conn, err);
	if (r->conn && open_letters(r, options, &conn, err) < 0) {
		r->is_stillborn = true;
		r->open_handles = 1;
		redis_conn_close(r->conn);
	}
	redis_settings_clear(&settings);
	return r->conn && !r->is_stillborn ? 0 : -1;
}

static struct broker *redis_open(const struct broker_options *options, struct err *err)
{
	struct broker_redis *r = mem_calloc(1, sizeof(*r));

	r->base.driver = &broker_redis_driver;
	r->base.events = options->events;
	r->base.ctx = options->ctx;
	r->loop = options->loop;
	r->max_body = options->max_message_bytes;
	r->purges = options->purges;
	r->retry_on_startup = options->retry_on_startup;
	backoff_init(&r->backoff, 1, options->max_retries);
	list_init(&r->queues);
	list_init(&r->cancelled);
	redis_unacked_init(r);
	if (redis_options_read(&r->options, options->transport_options, err) < 0 ||
	    open_conn(r, options, err) < 0) {
		if (!r->is_stillborn)
			redis_broker_free(r);
		return NULL;
	}
	r->unacked = redis_key(&r->options, r->options.unacked_key);
	r->index = redis_key(&r->options, r->options.unacked_index_key);
	r->mutex = redis_key(&r->options, r->options.unacked_mutex_key);
	r->nodes = redis_nodes_key(&r->options);
	redis_scripts_init(&r->scripts);
	redis_lease_init(r);
	redis_orphans_init(r);
	redis_take_init(r);
	redis_ahead_init(r);
	uv_timer_init(r->loop, &r->tick);
	r->tick.data = r;
	r->open_handles = 5;
	uv_timer_start(&r->tick, on_tick, REDIS_TICK_MS, REDIS_TICK_MS);
	return &r->base;
}

/* Queues */

static char *record_closing(const char *queue)
{
	struct str text;

	str_init(&text, STR_MAX_DEFAULT);
	str_puts(&text, ",\"\",");
	pyjson_dump_str(&text, queue, strlen(queue));
	str_addc(&text, ']');
	return str_detach(&text);
}

static struct redis_queue *queue_find(struct broker_redis *r, const char *name)
{
	struct list_node *pos;

	list_foreach (pos, &r->queues) {
		struct redis_queue *queue = list_entry(pos, struct redis_queue, node);

		if (strcmp(queue->name, name) == 0)
			return queue;
	}
	return NULL;
}

static void queue_insert(struct broker_redis *r, struct redis_queue *queue)
{
	struct list_node *pos;

	list_foreach (pos, &r->queues)
		if (r->options.order == REDIS_ORDER_SORTED &&
		    strcmp(list_entry(pos, struct redis_queue, node)->name, queue->name) > 0)
			break;
	list_insert_before(pos, &queue->node);
}

static void queue_add(struct broker_redis *r, const char *name)
{
	struct redis_queue *queue = mem_calloc(1, sizeof(*queue));

	queue->name = mem_strdup(name);
	for (unsigned step = 0; step < r->options.step_count; step++)
		queue->keys[step] = redis_queue_key(&r->options, name, step);
	queue->aside = redis_aside_key(&r->options, name);
	queue->closing = record_closing(name);
	queue_insert(r, queue);
	if (r->is_started) {
		redis_lease_ask(r);
		redis_take_wake(r);
	}
}

static int redis_consume(struct broker *b, const struct queue_def *def, struct err *err)
{
	struct broker_redis *r = self(b);
	bool has_list = true;

	if (queue_find(r, def->name) != NULL)
		return 0;
	if (def->name[0] == '\0')
		return err_set(err, ERR_INVALID, "a queue must have a name");
	if (redis_letters_consume(&r->letters, def, on_fanout, r, &has_list, err) < 0)
		return -1;
	if (has_list)
		queue_add(r, def->name);
	return 0;
}

/* Pops that are under way may still name it. */
static void redis_cancel(struct broker *b, const char *name)
{
	struct broker_redis *r = self(b);
	struct redis_queue *queue = queue_find(r, name);

	redis_letters_cancel(&r->letters, name);
	if (queue) {
		list_remove(&queue->node);
		list_append(&r->cancelled, &queue->node);
	}
}

static void redis_start(struct broker *b)
{
	struct broker_redis *r = self(b);

	r->is_started = true;
	redis_letters_start(&r->letters, redis_takes(r));
	redis_take_wake(r);
}

static void redis_qos(struct broker *b, unsigned count, unsigned waiting)
{
	self(b)->prefetch = count + waiting;
	redis_wake(self(b));
}

/* Answers */

static bool answer_take(struct broker_redis *r, unsigned session, uint64_t tag)
{
	if (session == REDIS_SESSION && redis_held_drop(&r->held, tag))
		return true;
	r->late_acks += tag != REDIS_TAG_FANOUT;
	return false;
}

static void redis_ack(struct broker *b, unsigned session, uint64_t tag)
{
	struct broker_redis *r = self(b);

	if (!answer_take(r, session, tag))
		return;
	r->acked++;
	redis_unacked_ack(r, redis_held_number(tag));
}

/* On a stop it is to be served next, for it had its turn; else last, as kombu does it. */
static void redis_reject(struct broker *b, unsigned session, uint64_t tag, bool requeue)
{
	struct broker_redis *r = self(b);
	char field[REDIS_FIELD_BYTES];

	if (!answer_take(r, session, tag))
		return;
	r->rejected++;
	redis_unacked_field(r, redis_held_number(tag), field);
	if (requeue)
		redis_unacked_put_back(r, field, r->is_paused ? 'R' : 'L');
	else
		redis_unacked_ack(r, redis_held_number(tag));
}

static bool redis_is_held(const struct broker *b, unsigned session, uint64_t tag)
{
	const struct broker_redis *r = (const struct broker_redis *)b;

	return session == REDIS_SESSION &&
	       (tag == REDIS_TAG_FANOUT || redis_held_has(&r->held, tag));
}

static bool redis_is_sure(const struct broker *b)
{
	const struct broker_redis *r = (const struct broker_redis *)b;

	return r->phase == REDIS_UP && (!redis_takes(r) || redis_lease_is_sure(r));
}

static void redis_pause(struct broker *b)
{
	redis_ahead_give_back(self(b));
	self(b)->is_paused = true;
}

static void redis_stats(const struct broker *b, struct broker_stats *ret_stats)
{
	const struct broker_redis *r = (const struct broker_redis *)b;

	ret_stats->is_up = r->phase == REDIS_UP;
	ret_stats->session = REDIS_SESSION;
	ret_stats->delivered = r->delivered;
	ret_stats->acked = r->acked;
	ret_stats->rejected = r->rejected;
	ret_stats->reconnects = r->reconnects;
	ret_stats->late_acks = r->late_acks;
	ret_stats->published = r->letters.outbox.published;
	ret_stats->publishes_waiting = r->letters.outbox.count;
	ret_stats->mails = r->letters.mails;
	ret_stats->posts = r->letters.post.posts;
	ret_stats->posts_dropped = r->letters.post.dropped;
	snprintf(ret_stats->host, sizeof(ret_stats->host), "%s://%s", scheme(r),
		 r->conn ? redis_conn_host(r->conn) : "");
}

static int redis_publish(struct broker *b, const struct publication *p, broker_published_fn *done,
			 void *ctx, struct err *err)
{
	return redis_letters_publish(&self(b)->letters, p, done, ctx, err);
}

static int redis_listen(struct broker *b, const struct mailbox_def *def, broker_mail_fn *on_mail,
			void *ctx, struct err *err)
{
	return redis_letters_listen(&self(b)->letters, def, on_mail, ctx, err);
}

static void redis_unlisten(struct broker *b, const char *queue)
{
	redis_letters_unlisten(&self(b)->letters, queue);
}

static void redis_post(struct broker *b, const struct publication *p)
{
	redis_post_send(&self(b)->letters.post, p);
}

static const char *const redis_schemes[] = {"redis", "rediss", "redis+socket", "sentinel", NULL};

const struct broker_driver broker_redis_driver = {
	.schemes = redis_schemes,
	.event_exchange_type = "fanout",
	.has_neighbors = true,
	.open = redis_open,
	.consume = redis_consume,
	.cancel = redis_cancel,
	.start = redis_start,
	.qos = redis_qos,
	.ack = redis_ack,
	.reject = redis_reject,
	.is_held = redis_is_held,
	.is_sure = redis_is_sure,
	.pause = redis_pause,
	.close = redis_broker_close,
	.publish = redis_publish,
	.listen = redis_listen,
	.unlisten = redis_unlisten,
	.post = redis_post,
	.stats = redis_stats,
};
