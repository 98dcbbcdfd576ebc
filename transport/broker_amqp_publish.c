#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/broker_amqp.h"

enum { NOT_FOUND = 404 };

void amqp_publish_free(struct amqp_publish *m)
{
	list_remove(&m->node);
	if (m->queue)
		m->queue->users--;
	if (m->exchange)
		m->exchange->users--;
	free(m);
}

struct amqp_publish *amqp_publisher_encode(struct amqp_publisher *p,
					   const struct publication *publication, struct err *err)
{
	struct amqp_declare *queue = NULL, *exchange = NULL;

	if (publication->declare) {
		queue = declare_get(p, publication->declare, err);
		if (!queue)
			return NULL;
	}
	if (publication->declare_exchange) {
		exchange = declare_get_exchange(p, publication->declare_exchange, err);
		if (!exchange)
			return NULL;
	}
	struct amqp_publish *m = publish_encode(publication, err);
	if (!m)
		return NULL;
	list_init(&m->node);
	m->queue = queue;
	m->exchange = exchange;
	if (queue)
		queue->users++;
	if (exchange)
		exchange->users++;
	return m;
}

bool amqp_publish_is_declared(const struct amqp_publish *m)
{
	return (!m->queue || m->queue->state == DECLARE_DONE) &&
	       (!m->exchange || m->exchange->state == DECLARE_DONE);
}

/* Sending */

static void publish_settled(struct amqp_publisher *p, struct amqp_publish *m, const struct err *why)
{
	list_remove(&m->node);
	p->count--;
	p->bytes -= publish_cost(m);
	if (p->sending == m)
		p->sending = NULL;
	if (!why)
		p->broker->published++;
	if (m->done)
		m->done(m->ctx, why);
	amqp_publish_free(m);
}

static void publish_send_body(struct amqp_publisher *p)
{
	struct amqp_publish *m = p->sending;
	const char *body = m->data + m->method_len + m->header_len;
	size_t max = amqp_conn_max_payload(p->link.conn);

	while (p->sending_offset < m->body_len &&
	       amqp_conn_pending(p->link.conn) < AMQP_OUTPUT_TARGET) {
		size_t len = m->body_len - p->sending_offset;
		len = len < max ? len : max;
		if (amqp_conn_send_frame(p->link.conn, AMQP_CHANNEL_WORK, AMQP_FRAME_BODY,
					 body + p->sending_offset, len) != 0)
			return;
		p->sending_offset += len;
	}
	if (p->sending_offset == m->body_len)
		p->sending = NULL;
}

static void publish_send(struct amqp_publisher *p, struct amqp_publish *m)
{
	list_remove(&m->node);
	list_append(&p->sent, &m->node);
	m->seq = p->next_seq++;
	p->sending = m;
	p->sending_offset = 0;
	amqp_conn_send_frame(p->link.conn, AMQP_CHANNEL_WORK, AMQP_FRAME_METHOD, m->data,
			     m->method_len);
	amqp_conn_send_frame(p->link.conn, AMQP_CHANNEL_WORK, AMQP_FRAME_HEADER,
			     m->data + m->method_len, m->header_len);
	publish_send_body(p);
}

/* The first that need not wait for a declaration. */
static struct amqp_publish *publish_next(const struct amqp_publisher *p)
{
	struct list_node *pos;

	list_foreach (pos, &p->waiting) {
		struct amqp_publish *m = list_entry(pos, struct amqp_publish, node);
		if (amqp_publish_is_declared(m))
			return m;
	}
	return NULL;
}

static void publishes_flush(struct amqp_publisher *p)
{
	static const struct err too_large = {
		.code = ERR_LIMIT,
		.text = "the headers are above the broker's frame_max",
	};

	while (amqp_conn_pending(p->link.conn) < AMQP_OUTPUT_TARGET) {
		if (p->sending) {
			publish_send_body(p);
			continue;
		}
		if (p->suspects > 0 && !list_is_empty(&p->sent))
			return;
		struct amqp_publish *m = publish_next(p);
		if (!m)
			return;
		if (m->header_len > amqp_conn_max_payload(p->link.conn))
			publish_settled(p, m, &too_large);
		else
			publish_send(p, m);
	}
	amqp_conn_wake(p->link.conn); /* there may be more when this has left */
}

static void closing_check(struct amqp_publisher *p)
{
	if (!p->is_closing || p->count > 0 || !list_is_empty(&p->posts) || p->link.is_stopped)
		return;
	if (!link_stop(&p->link))
		amqp_broker_part_closed(p->broker);
}

static void publisher_flush(void *ctx)
{
	struct amqp_publisher *p = ctx;

	if (!p->link.up_since_ms || p->is_blocked)
		return;
	declare_continue(p);
	post_flush(p);
	if (p->is_ready)
		publishes_flush(p);
	closing_check(p);
}

/* Confirms */

static void confirmed(struct amqp_publisher *p, uint64_t seq, bool multiple, const struct err *why)
{
	struct list_node *pos, *tmp;

	list_foreach_safe (pos, tmp, &p->sent) {
		struct amqp_publish *m = list_entry(pos, struct amqp_publish, node);
		if (m->seq > seq)
			break;
		if (m->seq < seq && !multiple)
			continue;
		p->suspects -= p->suspects > 0;
		publish_settled(p, m, why);
	}
	if (!list_is_empty(&p->waiting))
		amqp_conn_wake(p->link.conn);
	closing_check(p);
}

static void ack_received(struct amqp_publisher *p, const amqp_basic_ack_t *ack)
{
	confirmed(p, ack->delivery_tag, ack->multiple, NULL);
}

static void nack_received(struct amqp_publisher *p, const amqp_basic_nack_t *nack)
{
	struct err why = {0};

	err_set(&why, ERR_IO, "the broker could not take the message (basic.nack)");
	confirmed(p, nack->delivery_tag, nack->multiple, &why);
}

/* Puts what was sent back in front of what waits, in its old order. */
static size_t take_back(struct amqp_publisher *p)
{
	size_t count = 0;

	while (!list_is_empty(&p->sent)) {
		struct list_node *last = p->sent.prev;
		list_remove(last);
		list_prepend(&p->waiting, last);
		count++;
	}
	p->sending = NULL;
	p->is_ready = false;
	return count;
}

static void channel_begin(struct amqp_publisher *p)
{
	amqp_channel_open_t open = {0};
	amqp_confirm_select_t confirm = {0};

	p->next_seq = 1;
	amqp_conn_send(p->link.conn, AMQP_CHANNEL_WORK, AMQP_CHANNEL_OPEN_METHOD, &open);
	amqp_conn_send(p->link.conn, AMQP_CHANNEL_WORK, AMQP_CONFIRM_SELECT_METHOD, &confirm);
}

static void guilty_found(struct amqp_publisher *p, struct amqp_publish *m, unsigned reply_code,
			 const struct err *why)
{
	if (reply_code == NOT_FOUND && m->exchange && !m->is_second_try) {
		/* Its exchange was deleted after it was declared. */
		m->is_second_try = true;
		declare_forget_exchanges(p);
		return;
	}
	p->suspects -= p->suspects > 0;
	publish_settled(p, m, why);
}

/* The broker does not say which publish it minded (no such exchange, too large, not allowed). Alone
 * on the channel it is known; else those in question go again one by one. */
static void work_channel_closed(struct amqp_publisher *p, const amqp_channel_close_t *close)
{
	struct err why = {0};
	struct list_node *first = p->sent.next;

	amqp_channel_error(close, &why);
	if (first != &p->sent && first->next == &p->sent)
		guilty_found(p, list_entry(first, struct amqp_publish, node), close->reply_code,
			     &why);
	size_t count = take_back(p);
	p->suspects = count > p->suspects ? count : p->suspects;
	channel_begin(p);
	closing_check(p);
}

/* Events of the connection */

static void publisher_opened(void *ctx)
{
	struct amqp_publisher *p = ctx;
	amqp_channel_open_t open = {0};

	link_opened(&p->link);
	p->is_away = false;
	channel_begin(p);
	amqp_conn_send(p->link.conn, AMQP_CHANNEL_SETUP, AMQP_CHANNEL_OPEN_METHOD, &open);
}

static void publisher_method(void *ctx, unsigned channel, const amqp_method_t *method)
{
	struct amqp_publisher *p = ctx;

	if (channel == AMQP_CHANNEL_SETUP) {
		declare_method(p, method);
	} else if (channel == AMQP_CHANNEL_POST) {
		post_method(p, method);
	} else if (method->id == AMQP_CONFIRM_SELECT_OK_METHOD) {
		p->is_ready = true;
		amqp_conn_wake(p->link.conn);
	} else if (method->id == AMQP_BASIC_ACK_METHOD) {
		ack_received(p, method->decoded);
	} else if (method->id == AMQP_BASIC_NACK_METHOD) {
		nack_received(p, method->decoded);
	} else if (method->id == AMQP_CHANNEL_CLOSE_METHOD) {
		work_channel_closed(p, method->decoded);
	}
}

static void publisher_content(void *ctx, unsigned channel, struct span data)
{
	(void)ctx; /* nothing is published as mandatory, so nothing comes back */
	(void)channel;
	(void)data;
}

static void publisher_blocked(void *ctx, const char *reason)
{
	struct amqp_publisher *p = ctx;

	p->is_blocked = reason != NULL;
	if (reason) {
		amqp_broker_notice(p->broker, true, "the broker accepts no messages: %.200s",
				   reason);
		if (p->is_closing)
			post_drop(p, NULL);
		closing_check(p);
		return;
	}
	amqp_broker_notice(p->broker, false, "the broker accepts messages again");
	amqp_conn_wake(p->link.conn);
}

static void publisher_down(void *ctx, const struct err *why)
{
	struct amqp_publisher *p = ctx;

	take_back(p);
	p->suspects = 0;
	p->is_blocked = false;
	post_reset(p);
	declare_reset(p);
	if (!p->link.is_stopped) {
		link_lost(&p->link, why);
		closing_check(p);
		return;
	}
	link_drop(&p->link);
	amqp_broker_part_closed(p->broker);
}

static void publisher_retry(void *owner, const struct err *why, double retry_in_s)
{
	struct amqp_publisher *p = owner;

	p->is_away = retry_in_s > 0;
	/* The consumer's loss says it already, unless messages are held up. */
	if (p->count > 0)
		amqp_broker_notice(p->broker, true,
				   "publishing connection: %s; %zu messages wait, trying again in "
				   "%.0f seconds",
				   why->text, p->count, retry_in_s);
}

void amqp_publisher_init(struct amqp_publisher *p, struct amqp_broker *b)
{
	static const struct amqp_conn_events events = {
		.on_open = publisher_opened,
		.on_method = publisher_method,
		.on_header = publisher_content,
		.on_body = publisher_content,
		.on_blocked = publisher_blocked,
		.on_flush = publisher_flush,
		.on_down = publisher_down,
	};

	p->broker = b;
	list_init(&p->waiting);
	list_init(&p->sent);
	list_init(&p->posts);
	p->declares = map_new();
	p->exchanges = map_new();
	p->link.events = &events;
	p->link.on_retry = publisher_retry;
	p->link.owner = p;
	p->link.role = "publisher";
	link_init(&p->link, b, -1); /* what was given to us is kept until it is sent */
}

void amqp_publisher_start(struct amqp_publisher *p)
{
	if (p->is_started || !p->broker->is_started || (p->count == 0 && list_is_empty(&p->posts)))
		return; /* connects with the first publish */
	p->is_started = true;
	link_start(&p->link);
}

int amqp_publisher_add(struct amqp_publisher *p, const struct publication *publication,
		       broker_published_fn *done, void *ctx, struct err *err)
{
	struct amqp_publish *m;

	if (p->is_closing)
		return err_set(err, ERR_REFUSED, "the broker connection is closing");
	m = amqp_publisher_encode(p, publication, err);
	if (!m)
		return -1;
	if (publish_cost(m) > p->broker->max_publish_bytes - p->bytes) {
		amqp_publish_free(m);
		return err_set(err, ERR_LIMIT, "%zu bytes of messages wait for the broker already",
			       p->bytes);
	}
	m->done = done;
	m->ctx = ctx;
	list_append(&p->waiting, &m->node);
	p->count++;
	p->bytes += publish_cost(m);
	amqp_publisher_start(p);
	if (p->is_ready)
		amqp_conn_wake(p->link.conn);
	return 0;
}

void amqp_publisher_refuse(struct amqp_publisher *p, const struct amqp_declare *d,
			   const struct err *why)
{
	struct list_node *pos, *tmp;
	struct list_node refused;

	/* Taken out first: an answer may publish again. */
	list_init(&refused);
	list_foreach_safe (pos, tmp, &p->waiting) {
		const struct amqp_publish *m = list_entry(pos, struct amqp_publish, node);
		if (m->queue != d && m->exchange != d)
			continue;
		list_remove(pos);
		list_append(&refused, pos);
	}
	while (!list_is_empty(&refused))
		publish_settled(p, list_entry(refused.next, struct amqp_publish, node), why);
	post_drop(p, d);
	closing_check(p);
}

void amqp_publisher_close(struct amqp_publisher *p)
{
	p->is_closing = true;
	amqp_publisher_start(p);
	if (p->is_blocked || !p->is_started)
		post_drop(p, NULL); /* nobody waits for an alarm to end */
	closing_check(p);
}

void amqp_publisher_clear(struct amqp_publisher *p)
{
	struct err why = {0};

	err_set(&why, ERR_TIMEOUT, "the broker did not confirm the message before the end");
	p->is_closing = true;
	take_back(p);
	post_reset(p);
	link_drop(&p->link);
	while (!list_is_empty(&p->waiting))
		publish_settled(p, list_entry(p->waiting.next, struct amqp_publish, node), &why);
	declare_clear(p);
}
