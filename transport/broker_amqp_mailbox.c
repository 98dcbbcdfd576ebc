#include "transport/broker_amqp_mailbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/amqp_properties.h"
#include "transport/broker_amqp.h"

#define MAILBOXES_MAX  64
#define RETRY_FIRST_MS 500 /* doubled with each failure */
#define RETRY_LAST_MS  8000
#define SHORT_LIVED_MS 5000 /* a consumer that ended sooner counts as a failure */
#define TAG	       "smallage-mail"
#define ARENA_BYTES    4096

enum { RESOURCE_LOCKED = 405 };

enum mailbox_state {
	MAILBOX_WANTED,
	MAILBOX_SETTING_UP,
	MAILBOX_ACTIVE,
	MAILBOX_FAILED,
	MAILBOX_CLOSING /* asked for no more; the channel's number is not free yet */
};

struct amqp_mailbox {
	struct list_node node;
	struct amqp_mailboxes *boxes;
	struct topology *topology;
	broker_mail_fn *on_mail;
	void *ctx;
	unsigned channel;
	enum mailbox_state state;
	bool is_channel_open; /* or will be, before anything else is done on it */
	bool is_settled;      /* on this connection */
	uint64_t retry_at_ms; /* when MAILBOX_FAILED */
	uint64_t active_since_ms;
	uint64_t delay_ms;
	char *last_failure; /* told already; NULL = none */
	/* the message that is arriving */
	struct message message;
	uint64_t body_left;
	bool is_arriving, has_header, is_skipped;
};

static struct amqp_mailbox *mailbox_of(struct list_node *node)
{
	return list_entry(node, struct amqp_mailbox, node);
}

static uint64_t mailbox_now(const struct amqp_mailboxes *boxes)
{
	return uv_now(boxes->consumer->broker->loop);
}

static void arriving_reset(struct amqp_mailbox *m)
{
	if (m->is_arriving)
		message_reset(&m->message);
	m->is_arriving = false;
}

static void mailbox_free(struct amqp_mailbox *m)
{
	list_remove(&m->node);
	message_clear(&m->message);
	topology_free(m->topology);
	free(m->last_failure);
	free(m);
}

/* Setting up */

/* Everything at once: after an error the broker answers none of it but closes the channel. */
static void mailbox_set_up(struct amqp_mailbox *m)
{
	struct amqp_conn *conn = m->boxes->consumer->link.conn;
	amqp_channel_open_t open = {0};
	amqp_basic_consume_t consume = {
		.queue = amqp_text(m->topology->name),
		.consumer_tag = amqp_text(TAG),
		.no_ack = 1,
	};
	amqp_method_number_t last;

	m->state = MAILBOX_SETTING_UP;
	if (!m->is_channel_open)
		amqp_conn_send(conn, m->channel, AMQP_CHANNEL_OPEN_METHOD, &open);
	m->is_channel_open = true;
	topology_declare(m->topology, conn, m->channel, &last);
	amqp_conn_send(conn, m->channel, AMQP_BASIC_CONSUME_METHOD, &consume);
}

/* An auto-delete queue of that name goes when the channel is closed. */
static bool is_name_free(const struct amqp_mailboxes *boxes, const char *queue)
{
	struct list_node *pos;

	list_foreach (pos, &boxes->list) {
		const struct amqp_mailbox *m = mailbox_of(pos);
		if (m->state == MAILBOX_CLOSING && strcmp(m->topology->name, queue) == 0)
			return false;
	}
	return true;
}

static void on_retry(uv_timer_t *timer);

static void mailboxes_continue(struct amqp_mailboxes *boxes)
{
	uint64_t now = mailbox_now(boxes), due_ms = 0;
	struct list_node *pos;

	if (!boxes->consumer->link.up_since_ms || boxes->consumer->is_closing)
		return;
	list_foreach (pos, &boxes->list) {
		struct amqp_mailbox *m = mailbox_of(pos);
		bool is_due = m->state == MAILBOX_FAILED && m->retry_at_ms <= now;

		if ((is_due || m->state == MAILBOX_WANTED) &&
		    is_name_free(boxes, m->topology->name))
			mailbox_set_up(m);
		else if (m->state == MAILBOX_FAILED && (!due_ms || m->retry_at_ms < due_ms))
			due_ms = m->retry_at_ms;
	}
	if (due_ms)
		uv_timer_start(&boxes->timer, on_retry, due_ms > now ? due_ms - now : 0, 0);
}

static void on_retry(uv_timer_t *timer)
{
	struct amqp_mailboxes *boxes = timer->data;

	mailboxes_continue(boxes);
}

static void mailbox_failed(struct amqp_mailbox *m, const char *why, const char *hint)
{
	struct amqp_mailboxes *boxes = m->boxes;
	uint64_t delay_ms = m->delay_ms ? m->delay_ms : RETRY_FIRST_MS;

	arriving_reset(m);
	m->is_settled = true;
	m->state = MAILBOX_FAILED;
	m->retry_at_ms = mailbox_now(boxes) + delay_ms;
	m->delay_ms = delay_ms * 2 < RETRY_LAST_MS ? delay_ms * 2 : RETRY_LAST_MS;
	/* Once is enough: it may last. Whoever is told may forget the mailbox. */
	if (!m->last_failure || strcmp(m->last_failure, why) != 0) {
		free(m->last_failure);
		m->last_failure = mem_strdup(why);
		amqp_broker_notice(boxes->consumer->broker, true,
				   "no remote messages by queue '%s'%s: %s; trying on",
				   m->topology->name, hint, why);
	}
	mailboxes_continue(boxes);
	setup_continue(boxes->consumer); /* may be up now */
}

static void consume_ok_received(struct amqp_mailbox *m)
{
	struct amqp_consumer *c = m->boxes->consumer;
	bool had_failed = m->last_failure != NULL;

	if (m->state != MAILBOX_SETTING_UP)
		return;
	m->state = MAILBOX_ACTIVE;
	m->is_settled = true;
	m->active_since_ms = mailbox_now(m->boxes);
	free(m->last_failure);
	m->last_failure = NULL;
	if (had_failed)
		amqp_broker_notice(c->broker, false, "remote messages come by queue '%s' now",
				   m->topology->name);
	setup_continue(c);
}

static void forgive_long_lived(struct amqp_mailbox *m)
{
	if (m->state == MAILBOX_ACTIVE &&
	    mailbox_now(m->boxes) - m->active_since_ms >= SHORT_LIVED_MS)
		m->delay_ms = 0;
}

static void channel_close_received(struct amqp_mailbox *m, const amqp_channel_close_t *close)
{
	struct err why = {0};

	m->is_channel_open = false;
	if (m->state == MAILBOX_CLOSING)
		return; /* close-ok follows all the same */
	forgive_long_lived(m);
	amqp_channel_error(close, &why);
	mailbox_failed(m, why.text,
		       close->reply_code == RESOURCE_LOCKED
			       ? " (is another worker of this name running?)"
			       : "");
}

/* Its queue was deleted; the channel goes on. */
static void cancel_received(struct amqp_mailbox *m)
{
	if (m->state != MAILBOX_ACTIVE)
		return;
	forgive_long_lived(m);
	mailbox_failed(m, "it was deleted", "");
}

static void close_ok_received(struct amqp_mailbox *m)
{
	struct amqp_mailboxes *boxes = m->boxes;

	if (m->state != MAILBOX_CLOSING)
		return;
	mailbox_free(m);
	mailboxes_continue(boxes);
	setup_continue(boxes->consumer);
}

/* Receiving */

static void deliver_received(struct amqp_mailbox *m, const amqp_basic_deliver_t *deliver)
{
	arriving_reset(m);
	arena_reserve(&m->message.arena, ARENA_BYTES);
	m->is_arriving = true;
	m->has_header = m->is_skipped = false;
	m->message.is_redelivered = deliver->redelivered;
	m->message.exchange =
		arena_dup(&m->message.arena, deliver->exchange.bytes, deliver->exchange.len);
	m->message.routing_key =
		arena_dup(&m->message.arena, deliver->routing_key.bytes, deliver->routing_key.len);
}

/* All bytes are there. */
static void mail_finish(struct amqp_mailbox *m)
{
	bool is_wanted = (m->state == MAILBOX_ACTIVE || m->state == MAILBOX_SETTING_UP) &&
			 !m->boxes->consumer->is_closing;

	if (!m->is_skipped && is_wanted) {
		m->message.body[m->message.body_len] = '\0';
		m->boxes->consumer->broker->mails++;
		m->on_mail(m->ctx, &m->message);
	}
	arriving_reset(m);
}

static struct amqp_mailbox *mailbox_find(const struct amqp_mailboxes *boxes, unsigned channel)
{
	struct list_node *pos;

	list_foreach (pos, &boxes->list) {
		struct amqp_mailbox *m = mailbox_of(pos);
		if (m->channel == channel)
			return m;
	}
	return NULL;
}

void mailbox_header(struct amqp_mailboxes *boxes, unsigned channel, struct span payload)
{
	struct amqp_mailbox *m = mailbox_find(boxes, channel);
	struct amqp_broker *b = boxes->consumer->broker;
	struct err err = {0};

	if (!m || !m->is_arriving || m->has_header || payload.len < 14)
		return;
	m->has_header = true;
	m->body_left = deliver_body_size(payload);
	if (amqp_properties_read(&m->message, payload, &err) != 0)
		err_prefix(&err, "its headers cannot be read: ");
	else if (m->body_left > b->max_message_bytes)
		err_set(&err, ERR_LIMIT, "its body of %llu bytes is above the limit of %zu",
			(unsigned long long)m->body_left, b->max_message_bytes);
	else
		m->message.body = mem_alloc((size_t)m->body_left + 1);
	if (err.code != ERR_NONE) {
		m->is_skipped = true;
		amqp_broker_notice(b, true, "message in queue '%s' ignored: %s", m->topology->name,
				   err.text);
	}
	if (m->body_left == 0)
		mail_finish(m);
}

void mailbox_body(struct amqp_mailboxes *boxes, unsigned channel, struct span data)
{
	struct amqp_mailbox *m = mailbox_find(boxes, channel);

	if (!m || !m->is_arriving || !m->has_header)
		return;
	if (data.len > m->body_left)
		data.len = (size_t)m->body_left;
	if (!m->is_skipped) {
		memcpy(m->message.body + m->message.body_len, data.data, data.len);
		m->message.body_len += data.len;
	}
	m->body_left -= data.len;
	if (m->body_left == 0)
		mail_finish(m);
}

void mailbox_method(struct amqp_mailboxes *boxes, unsigned channel, const amqp_method_t *method)
{
	struct amqp_mailbox *m = mailbox_find(boxes, channel);

	if (!m)
		return;
	if (method->id == AMQP_BASIC_DELIVER_METHOD)
		deliver_received(m, method->decoded);
	else if (method->id == AMQP_BASIC_CONSUME_OK_METHOD)
		consume_ok_received(m);
	else if (method->id == AMQP_BASIC_CANCEL_METHOD)
		cancel_received(m);
	else if (method->id == AMQP_CHANNEL_CLOSE_METHOD)
		channel_close_received(m, method->decoded);
	else if (method->id == AMQP_CHANNEL_CLOSE_OK_METHOD)
		close_ok_received(m);
}

/* All of them */

void mailboxes_init(struct amqp_mailboxes *boxes, struct amqp_consumer *c)
{
	boxes->consumer = c;
	list_init(&boxes->list);
	uv_timer_init(c->broker->loop, &boxes->timer);
	boxes->timer.data = boxes;
}

static struct amqp_mailbox *wanted_find(const struct amqp_mailboxes *boxes, const char *queue)
{
	struct list_node *pos;

	list_foreach (pos, &boxes->list) {
		struct amqp_mailbox *m = mailbox_of(pos);
		if (m->state != MAILBOX_CLOSING && strcmp(m->topology->name, queue) == 0)
			return m;
	}
	return NULL;
}

int mailboxes_add(struct amqp_mailboxes *boxes, const struct mailbox_def *def,
		  broker_mail_fn *on_mail, void *ctx, struct err *err)
{
	unsigned channel = AMQP_CHANNEL_MAIL;

	if (boxes->consumer->is_closing)
		return err_set(err, ERR_REFUSED, "the broker connection is closing");
	struct topology *topology = topology_new_mailbox(def, err);
	if (!topology)
		return -1;
	while (mailbox_find(boxes, channel))
		channel++;
	bool is_taken = wanted_find(boxes, def->queue) != NULL;
	if (is_taken || channel >= AMQP_CHANNEL_MAIL + MAILBOXES_MAX) {
		topology_free(topology);
		return is_taken ? err_set(err, ERR_INVALID, "mailbox '%.255s' is there already",
					  def->queue)
				: err_set(err, ERR_LIMIT, "more than %d mailboxes", MAILBOXES_MAX);
	}
	struct amqp_mailbox *m = mem_calloc(1, sizeof(*m));
	m->boxes = boxes;
	m->topology = topology;
	m->on_mail = on_mail;
	m->ctx = ctx;
	m->channel = channel;
	message_init(&m->message);
	list_append(&boxes->list, &m->node);
	mailboxes_continue(boxes);
	return 0;
}

void mailboxes_remove(struct amqp_mailboxes *boxes, const char *queue)
{
	struct amqp_mailbox *m = wanted_find(boxes, queue);
	amqp_channel_close_t close = {.reply_code = 200, .reply_text = amqp_text("bye")};

	if (!m)
		return;
	if (!m->is_channel_open) {
		mailbox_free(m);
		return;
	}
	m->state = MAILBOX_CLOSING; /* its message may be in the caller's hands */
	amqp_conn_send(boxes->consumer->link.conn, m->channel, AMQP_CHANNEL_CLOSE_METHOD, &close);
}

void mailboxes_begin(struct amqp_mailboxes *boxes)
{
	mailboxes_continue(boxes);
}

void mailboxes_reset(struct amqp_mailboxes *boxes)
{
	struct list_node *pos, *tmp;

	uv_timer_stop(&boxes->timer);
	list_foreach_safe (pos, tmp, &boxes->list) {
		struct amqp_mailbox *m = mailbox_of(pos);

		arriving_reset(m);
		forgive_long_lived(m);
		m->is_channel_open = m->is_settled = false;
		if (m->state == MAILBOX_CLOSING)
			mailbox_free(m);
		else
			m->state = MAILBOX_WANTED;
	}
}

void mailboxes_clear(struct amqp_mailboxes *boxes)
{
	while (!list_is_empty(&boxes->list))
		mailbox_free(mailbox_of(boxes->list.next));
}

bool mailboxes_are_settled(const struct amqp_mailboxes *boxes)
{
	struct list_node *pos;

	list_foreach (pos, &boxes->list) {
		const struct amqp_mailbox *m = mailbox_of(pos);
		if (m->state != MAILBOX_CLOSING && !m->is_settled)
			return false;
	}
	return true;
}
