#include "transport/redis_letters.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "transport/envelope.h"
#include "transport/redis_address.h"
#include "transport/redis_binding.h"
#include "transport/url.h"

#define TICK_MS		1000
#define BIND_TICKS	5
#define SUBSCRIBE_TICKS 30
#define DEAF_TELL_MS	5000
#define UNREAD_TELL_MS	10000
#define ALIGN_MS	5000
#define PATIENCE_MS	1500

struct mailbox {
	struct list_node node;
	char *queue;
	char *subscription; /* NULL: a list */
	broker_mail_fn *on_mail;
	void *ctx;
	bool is_task; /* of a queue that is consumed */
};

static struct mailbox *mailbox_of(struct list_node *node)
{
	return list_entry(node, struct mailbox, node);
}

static void notice(struct redis_letters *l, bool is_error, const char *text)
{
	l->wire.notice(l->wire.ctx, is_error, text);
}

/* Settling */

static void settle(struct redis_letters *l)
{
	bool is_late = uv_now(l->wire.loop) - l->up_ms >= PATIENCE_MS; /* tasks do not wait */
	bool is_heard = !l->pubsub || redis_pubsub_is_up(l->pubsub) || l->is_deaf || is_late;

	if (l->is_settled || !l->wire.conn || l->bindings.unanswered > 0 || !is_heard)
		return;
	l->is_settled = true;
	l->events.on_settled(l->ctx);
}

static void on_bound(void *ctx)
{
	settle(ctx);
}

/* Receiving */

static void deliver(struct redis_letters *l, const struct mailbox *m, const char *data, size_t len)
{
	auto_free char *text = NULL;
	struct message message;
	struct err err = {0};

	message_init(&message);
	if (envelope_decode(&message, data, len, l->max_body, &err) == 0) {
		l->mails++;
		m->on_mail(m->ctx, &message); /* may leave the mailbox */
	} else if (uv_now(l->wire.loop) - l->unread_told_ms >= UNREAD_TELL_MS) {
		l->unread_told_ms = uv_now(l->wire.loop);
		text = mem_printf("A message for mailbox '%.100s' cannot be read: %.200s", m->queue,
				  err.text);
		notice(l, true, text);
	}
	message_clear(&message);
}

static void on_popped(void *ctx, const char *queue, const char *data, size_t len)
{
	struct redis_letters *l = ctx;
	struct list_node *pos;

	list_foreach (pos, &l->mailboxes) {
		if (strcmp(mailbox_of(pos)->queue, queue) != 0)
			continue;
		deliver(l, mailbox_of(pos), data, len);
		return;
	}
}

static void on_message(void *ctx, const char *subscription, const char *data, size_t len)
{
	struct redis_letters *l = ctx;
	struct list_node *pos, *tmp;

	list_foreach_safe (pos, tmp, &l->mailboxes) {
		const char *own = mailbox_of(pos)->subscription;

		if (own && strcmp(own, subscription) == 0)
			deliver(l, mailbox_of(pos), data, len);
	}
}

/* Of a fail-over list or a fail-over, the two connections may have found different servers: both
 * begin anew. */
static void align(struct redis_letters *l)
{
	uint64_t now = uv_now(l->wire.loop);
	auto_free char *host = NULL;

	if (!l->wire.conn || !l->pubsub || !redis_pubsub_is_up(l->pubsub) ||
	    now - l->aligned_ms < ALIGN_MS)
		return;
	host = mem_strdup(redis_conn_host(l->wire.conn));
	if (strcmp(host, redis_pubsub_host(l->pubsub)) == 0)
		return;
	l->aligned_ms = now;
	redis_pubsub_restart(l->pubsub, "the other connection found another server");
	redis_conn_restart(l->wire.conn, "the subscriptions found another server");
}

static void on_heard(void *ctx, int64_t client_id)
{
	struct redis_letters *l = ctx;

	if (l->is_deaf_told)
		notice(l, false, "The subscriptions at Redis are back");
	l->is_deaf = l->is_deaf_told = false;
	l->events.on_tracker(l->ctx, client_id);
	settle(l);
}

static void on_deaf(void *ctx, const struct err *why)
{
	struct redis_letters *l = ctx;
	uint64_t now = uv_now(l->wire.loop);
	auto_free char *text = NULL;

	if (!l->is_deaf)
		l->deaf_since_ms = now;
	l->is_deaf = true;
	l->events.on_tracker(l->ctx, 0);
	/* An outage of both connections is told by the other one. */
	if (l->wire.conn && !l->is_deaf_told && now - l->deaf_since_ms >= DEAF_TELL_MS) {
		l->is_deaf_told = true;
		text = mem_printf("Remote control and events of others are not heard: %.200s",
				  why->text);
		notice(l, true, text);
	}
	settle(l);
}

static void on_refused(void *ctx, const char *subscription, const char *why)
{
	auto_free char *text = mem_printf("Redis does not let us hear channel '%.100s': %.200s",
					  subscription, why);

	notice(ctx, true, text);
}

static void on_invalidate(void *ctx)
{
	struct redis_letters *l = ctx;

	l->events.on_invalidate(l->ctx);
}

static void on_handle_closed(void *ctx)
{
	struct redis_letters *l = ctx;

	if (--l->open_handles == 0)
		l->events.on_closed(l->ctx);
}

/* The other connections */

static void open_pubsub(struct redis_letters *l)
{
	static const struct redis_pubsub_events events = {
		.on_up = on_heard,
		.on_down = on_deaf,
		.on_refused = on_refused,
		.on_message = on_message,
		.on_invalidate = on_invalidate,
		.on_closed = on_handle_closed,
	};
	const struct redis_pubsub_options options = {
		.conn = l->conn,
		.events = &events,
		.ctx = l,
	};
	struct err err = {0};

	l->pubsub = redis_pubsub_open(&options, &err);
	if (l->pubsub)
		l->open_handles++;
	else
		notice(l, true, err.text);
}

static void open_popper(struct redis_letters *l)
{
	const struct redis_popper_options options = {
		.conn = l->conn,
		.names = l->wire.options,
		.on_message = on_popped,
		.on_closed = on_handle_closed,
		.ctx = l,
	};
	struct err err = {0};

	l->popper = redis_popper_open(&options, &err);
	if (l->popper)
		l->open_handles++;
	else
		notice(l, true, err.text);
}

static void hear(struct redis_letters *l, const struct mailbox *m, bool is_pattern)
{
	if (!m->subscription) {
		if (!l->popper)
			open_popper(l);
		if (l->popper)
			redis_popper_add(l->popper, m->queue);
		return;
	}
	if (!l->pubsub)
		open_pubsub(l);
	if (l->pubsub)
		redis_pubsub_subscribe(l->pubsub, m->subscription, is_pattern);
}

static void stop_hearing(struct redis_letters *l, const struct mailbox *m)
{
	struct list_node *pos;

	if (!m->subscription) {
		if (l->popper)
			redis_popper_remove(l->popper, m->queue);
		if (l->popper && redis_popper_is_idle(l->popper)) {
			redis_popper_close(l->popper);
			l->popper = NULL;
		}
		return;
	}
	list_foreach (pos, &l->mailboxes) {
		const char *own = mailbox_of(pos)->subscription;

		if (pos != &m->node && own && strcmp(own, m->subscription) == 0)
			return;
	}
	if (l->pubsub)
		redis_pubsub_unsubscribe(l->pubsub, m->subscription);
}

/* Mailboxes */

static void mailbox_add(struct redis_letters *l, const struct redis_binding_def *binding,
			bool is_task, broker_mail_fn *on_mail, void *ctx)
{
	bool is_fanout = binding->type && strcmp(binding->type, "fanout") == 0;
	struct mailbox *m = mem_calloc(1, sizeof(*m));
	bool is_pattern = false;

	m->queue = mem_strdup(binding->queue);
	m->on_mail = on_mail;
	m->ctx = ctx;
	m->is_task = is_task;
	if (is_fanout)
		m->subscription = redis_channel_wanted(
			l->wire.options, l->wire.db, binding->exchange, binding->key, &is_pattern);
	list_append(&l->mailboxes, &m->node);
	hear(l, m, is_pattern);
}

static void mailbox_free(struct mailbox *m)
{
	list_remove(&m->node);
	free(m->queue);
	free(m->subscription);
	free(m);
}

static struct mailbox *mailbox_find(struct redis_letters *l, const char *queue, bool is_task)
{
	struct list_node *pos;

	list_foreach (pos, &l->mailboxes) {
		struct mailbox *m = mailbox_of(pos);

		if (m->is_task == is_task && strcmp(m->queue, queue) == 0)
			return m;
	}
	return NULL;
}

int redis_letters_listen(struct redis_letters *l, const struct mailbox_def *def,
			 broker_mail_fn *on_mail, void *ctx, struct err *err)
{
	const struct redis_binding_def binding = {
		.queue = def->queue,
		.exchange = def->exchange,
		.type = def->exchange_type,
		.key = def->binding_key ? def->binding_key : "",
		.expires_s = def->expires_s,
		.goes = !def->is_durable,
	};

	if (l->is_closing)
		return err_set(err, ERR_REFUSED, "the broker connection is closing");
	if (mailbox_find(l, def->queue, false))
		return err_set(err, ERR_INVALID, "mailbox '%.255s' is there already", def->queue);
	if (redis_bindings_add(&l->bindings, &binding, err) < 0)
		return -1;
	redis_types_note(l->types, binding.exchange, binding.type);
	mailbox_add(l, &binding, false, on_mail, ctx);
	return 0;
}

void redis_letters_unlisten(struct redis_letters *l, const char *queue)
{
	struct mailbox *m = mailbox_find(l, queue, false);

	if (!m)
		return;
	stop_hearing(l, m);
	mailbox_free(m);
	redis_bindings_leave(&l->bindings, queue);
}

/* Queues that are consumed */

/* x-expires of a queue's arguments in seconds; < 0 = it lasts. */
static double expires_of(const struct queue_def *queue)
{
	const char *text = queue->arguments;
	json_auto_t *arguments = text ? pyjson_load(text, strlen(text), NULL) : NULL;
	const json_t *expires = json_object_get(arguments, "x-expires");

	return json_is_number(expires) ? json_number_value(expires) / 1000 : -1;
}

static int bind_queue(struct redis_letters *l, const struct queue_def *queue, size_t index,
		      bool is_passing, struct redis_binding_def *ret_binding, struct err *err)
{
	struct binding_def def = queue_def_binding(queue, index);
	double expires_s = expires_of(queue);

	*ret_binding = (struct redis_binding_def){
		.queue = queue->name,
		.exchange = def.exchange,
		.type = def.exchange_type,
		.key = def.routing_key,
		/* Of a killed worker nobody else would ever remove it. */
		.expires_s = queue->is_private && expires_s < 0 ? 0 : expires_s,
		/* Others may consume what is only auto-deleted. */
		.goes = !is_passing && queue->is_private,
		.is_passing = is_passing,
	};
	redis_types_note(l->types, def.exchange, def.exchange_type);
	return redis_bindings_add(&l->bindings, ret_binding, err);
}

int redis_letters_consume(struct redis_letters *l, const struct queue_def *queue,
			  broker_mail_fn *on_mail, void *ctx, bool *ret_has_list, struct err *err)
{
	size_t count = queue_def_binding_count(queue), fanouts = 0;
	bool is_known = mailbox_find(l, queue->name, true) != NULL;
	struct redis_binding_def binding;

	for (size_t i = 0; i < count; i++) {
		if (bind_queue(l, queue, i, false, &binding, err) < 0)
			return -1;
		if (!binding.type || strcmp(binding.type, "fanout") != 0)
			continue;
		fanouts++;
		if (!is_known)
			mailbox_add(l, &binding, true, on_mail, ctx);
	}
	/* A Python producer that only sends does not know that the exchange of a Broadcast is a
	 * fanout, and pushes to the lists of the queues that are bound with its key. */
	*ret_has_list = fanouts < count || count == 0 || queue->is_private;
	return 0;
}

void redis_letters_cancel(struct redis_letters *l, const char *queue)
{
	struct mailbox *m;

	while ((m = mailbox_find(l, queue, true))) {
		stop_hearing(l, m);
		mailbox_free(m);
	}
	redis_bindings_leave(&l->bindings, queue);
}

/* Sending */

int redis_letters_publish(struct redis_letters *l, const struct publication *p,
			  broker_published_fn *done, void *ctx, struct err *err)
{
	struct redis_binding_def binding;

	/* Bound once, and again with each connection. */
	for (size_t i = 0; p->declare && i < queue_def_binding_count(p->declare); i++)
		if (bind_queue(l, p->declare, i, true, &binding, err) < 0)
			return -1;
	return redis_outbox_add(&l->outbox, p, done, ctx, err);
}

/* The driver's connection */

void redis_letters_up(struct redis_letters *l, struct redis_conn *conn)
{
	l->wire.conn = conn;
	l->is_settled = false;
	l->up_ms = uv_now(l->wire.loop);
	redis_bindings_up(&l->bindings);
	redis_outbox_up(&l->outbox);
	settle(l);
}

void redis_letters_down(struct redis_letters *l)
{
	l->wire.conn = NULL;
	l->is_settled = false;
	redis_post_down(&l->post);
}

static void on_tick(uv_timer_t *timer)
{
	struct redis_letters *l = timer->data;

	l->ticks++;
	redis_outbox_tick(&l->outbox);
	redis_post_tick(&l->post);
	align(l);
	settle(l);
	if (l->popper)
		redis_popper_tick(l->popper);
	if (l->ticks % BIND_TICKS == 0)
		redis_bindings_tick(&l->bindings);
	if (l->ticks % SUBSCRIBE_TICKS == 0 && l->pubsub)
		redis_pubsub_retry(l->pubsub);
}

/* Beginning and end */

void redis_letters_start(struct redis_letters *l, bool wants_invalidations)
{
	l->is_started = true;
	if (!wants_invalidations)
		return;
	if (!l->pubsub)
		open_pubsub(l);
	if (l->pubsub)
		redis_pubsub_subscribe(l->pubsub, REDIS_INVALIDATIONS, false);
}

/* The number of the database is a part of channels' names. */
static int read_db(struct redis_letters *l, struct err *err)
{
	auto_free char *first = url_list_item(l->url, 0);
	struct redis_address address = {0};
	int rc = redis_address_parse(&address, first ? first : "", err);

	l->wire.db = address.db;
	redis_address_clear(&address);
	return rc;
}

int redis_letters_init(struct redis_letters *l, const struct redis_letters_options *options,
		       struct err *err)
{
	*l = (struct redis_letters){
		.wire = {.loop = options->conn->loop,
			 .options = options->names,
			 .scripts = options->scripts,
			 .notice = options->notice,
			 .ctx = options->ctx},
		.events = *options->events,
		.ctx = options->ctx,
		.conn = *options->conn,
		.url = mem_strdup(options->conn->url),
		.max_body = options->max_body,
		.types = map_new(),
	};
	list_init(&l->mailboxes);
	redis_bindings_init(&l->bindings, &l->wire, on_bound, l);
	redis_outbox_init(&l->outbox, &l->wire, l->types, options->max_publish);
	redis_post_init(&l->post, &l->wire, l->types);
	redis_settings_init(&l->settings);
	if (options->conn->settings)
		redis_settings_copy(&l->settings, options->conn->settings);
	l->conn.url = l->url;
	l->conn.settings = &l->settings;
	l->conn.client_name = "smallage-letters";
	l->conn.max_output = (size_t)1 << 20;
	if (read_db(l, err) < 0) {
		redis_letters_clear(l);
		return -1;
	}
	uv_timer_init(l->conn.loop, &l->timer);
	l->timer.data = l;
	l->open_handles = 1;
	uv_timer_start(&l->timer, on_tick, TICK_MS, TICK_MS);
	return 0;
}

void redis_letters_leave(struct redis_letters *l)
{
	l->is_closing = true;
	while (!list_is_empty(&l->mailboxes)) {
		struct mailbox *m = mailbox_of(l->mailboxes.next);

		stop_hearing(l, m);
		mailbox_free(m);
	}
	redis_bindings_leave(&l->bindings, NULL);
}

bool redis_letters_is_done(struct redis_letters *l)
{
	if (l->outbox.count > 0)
		return false;
	if (!l->wire.conn)
		return true;
	redis_outbox_leave(&l->outbox);
	return !l->outbox.is_leaving && l->bindings.unanswered == 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
	on_handle_closed(handle->data);
}

void redis_letters_close(struct redis_letters *l)
{
	struct err err = {0};

	l->is_closing = true;
	err_set(&err, ERR_TIMEOUT, "the message could not be sent to Redis in time");
	redis_outbox_fail(&l->outbox, &err);
	if (l->pubsub)
		redis_pubsub_close(l->pubsub);
	if (l->popper)
		redis_popper_close(l->popper);
	l->pubsub = NULL;
	l->popper = NULL;
	uv_close((uv_handle_t *)&l->timer, on_timer_closed);
}

void redis_letters_clear(struct redis_letters *l)
{
	if (!l->types)
		return;
	while (!list_is_empty(&l->mailboxes))
		mailbox_free(mailbox_of(l->mailboxes.next));
	redis_bindings_clear(&l->bindings);
	redis_outbox_clear(&l->outbox);
	redis_post_clear(&l->post);
	map_free(l->types);
	redis_settings_clear(&l->settings);
	free(l->url);
}
