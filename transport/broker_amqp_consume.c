#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/broker_amqp.h"

/* Acks may wait a moment for more of them, but only with a prefetch that keeps the slots busy
 * meanwhile. */
#define HOLD_MS		    2
#define HOLD_FROM_QOS	    32
#define HOLD_PART	    4 /* of the window may wait */
#define HOLD_MOST_UNLIMITED 256
#define HOLD_MOST_SINGLE    16 /* of those that wait for a tag before them */

static struct amqp_consumed *queue_find(const struct amqp_consumer *c, const char *name)
{
	struct list_node *pos;

	list_foreach (pos, &c->queues) {
		struct amqp_consumed *q = list_entry(pos, struct amqp_consumed, node);
		if (strcmp(q->topology->name, name) == 0)
			return q;
	}
	return NULL;
}

int amqp_consumer_add(struct amqp_consumer *c, const struct queue_def *def, struct err *err)
{
	struct topology *topology = topology_new(def, err);

	if (!topology)
		return -1;
	struct amqp_consumed *q = queue_find(c, def->name);
	if (q) {
		q->is_cancelled = false;
		topology_free(topology);
		return 0;
	}
	q = mem_calloc(1, sizeof(*q));
	q->topology = topology;
	q->is_to_purge = c->broker->purges && !c->broker->is_started;
	backoff_init(&q->backoff, 1, -1);
	list_append(&c->queues, &q->node);
	setup_continue(c);
	return 0;
}

void amqp_consumer_cancel(struct amqp_consumer *c, const char *name)
{
	struct amqp_consumed *q = queue_find(c, name);

	if (q)
		setup_forget(c, q);
}

void amqp_consumer_qos(struct amqp_consumer *c, unsigned count, unsigned waiting)
{
	if (c->qos == count && c->qos_waiting == waiting)
		return;
	c->qos = count;
	c->qos_waiting = count ? waiting : 0;
	if (c->qos_waiting < c->qos_mark)
		c->qos_mark = c->qos_waiting;
	if (count != 0 && (c->qos_least == 0 || count < c->qos_least))
		c->qos_least = count;
	if (!c->link.up_since_ms)
		return; /* will be sent first thing on the next connection */
	c->is_qos_dirty = true;
	amqp_conn_wake(c->link.conn);
}

void amqp_consumer_settle(struct amqp_consumer *c, unsigned session, uint64_t tag,
			  enum amqp_settle how)
{
	struct amqp_broker *b = c->broker;

	if (session != b->session || !c->link.up_since_ms ||
	    !ack_window_settle(&c->acks, tag, how)) {
		b->late_acks++;
		return;
	}
	if (how == SETTLE_ACK)
		b->acked++;
	else
		b->rejected++;
	amqp_conn_wake(c->link.conn);
}

static void settle_send(void *ctx, uint64_t tag, enum amqp_settle how, bool multiple)
{
	struct amqp_consumer *c = ctx;
	amqp_basic_ack_t ack = {.delivery_tag = tag, .multiple = multiple};
	amqp_basic_reject_t reject = {.delivery_tag = tag, .requeue = how == SETTLE_REQUEUE};

	if (how == SETTLE_ACK)
		amqp_conn_send(c->link.conn, AMQP_CHANNEL_WORK, AMQP_BASIC_ACK_METHOD, &ack);
	else
		amqp_conn_send(c->link.conn, AMQP_CHANNEL_WORK, AMQP_BASIC_REJECT_METHOD, &reject);
}

/* How many acks may wait; 0 = none. */
static size_t hold_most(const struct amqp_consumer *c)
{
	if (c->is_closing || c->is_paused || c->is_hold_over)
		return 0;
	if (c->qos_least == 0)
		return HOLD_MOST_UNLIMITED;
	return c->qos_least >= HOLD_FROM_QOS ? c->qos_least / HOLD_PART : 0;
}

static void on_hold_end(uv_timer_t *timer)
{
	struct amqp_consumer *c = timer->data;

	c->is_hold_over = true;
	if (c->link.conn)
		amqp_conn_wake(c->link.conn);
}

/* Every packet with an ack makes the broker look for something to deliver, so many acks in one cost
 * it a good part less, and they bring many deliveries in one packet. While most of the window is
 * still in hand nothing runs dry. */
static void flush_acks(struct amqp_consumer *c)
{
	size_t most = hold_most(c), held = c->acks.pending_count;

	/* Acks beyond an open tag cost a method each, unless that tag is settled soon. */
	if (held >= most || c->acks.open <= (HOLD_PART - 1) * most)
		held = ack_window_flush(&c->acks, most ? HOLD_MOST_SINGLE : 0, settle_send, c);
	c->is_hold_over = false;
	if (held == 0)
		uv_timer_stop(&c->hold_timer);
	else if (!uv_is_active((uv_handle_t *)&c->hold_timer))
		uv_timer_start(&c->hold_timer, on_hold_end, HOLD_MS, 0);
}

/* The goodbye waits until every ack is with the kernel: nothing is sent after it. */
static void close_continue(struct amqp_consumer *c)
{
	if (c->acks.pending_count == 0 && amqp_conn_pending(c->link.conn) == 0)
		link_stop(&c->link);
	else
		amqp_conn_wake(c->link.conn);
}

static void consumer_flush(void *ctx)
{
	struct amqp_consumer *c = ctx;

	if (!c->link.up_since_ms)
		return;
	/* While the broker does not read, acks stay in the window; it tells when there is room. */
	if (amqp_conn_pending(c->link.conn) > AMQP_OUTPUT_TARGET) {
		amqp_conn_wake(c->link.conn);
		return;
	}
	flush_acks(c);
	if (c->is_qos_dirty)
		qos_send(c);
	else
		qos_check(c);
	if (c->is_closing)
		close_continue(c);
}

static void consumer_opened(void *ctx)
{
	struct amqp_consumer *c = ctx;
	struct amqp_broker *b = c->broker;

	c->link.backoff.max_rounds = c->max_retries;
	link_opened(&c->link);
	b->session++;
	if (b->session > 1)
		b->reconnects++;
	setup_begin(c);
	mailboxes_begin(&c->mailboxes);
}

static void consumer_method(void *ctx, unsigned channel, const amqp_method_t *method)
{
	struct amqp_consumer *c = ctx;

	if (channel >= AMQP_CHANNEL_MAIL)
		mailbox_method(&c->mailboxes, channel, method);
	else if (method->id == AMQP_BASIC_DELIVER_METHOD)
		deliver_begin(c, method->decoded);
	else
		setup_method(c, channel, method);
}

static void consumer_header(void *ctx, unsigned channel, struct span payload)
{
	struct amqp_consumer *c = ctx;

	if (channel >= AMQP_CHANNEL_MAIL)
		mailbox_header(&c->mailboxes, channel, payload);
	else
		deliver_header(c, payload);
}

static void consumer_body(void *ctx, unsigned channel, struct span data)
{
	struct amqp_consumer *c = ctx;

	if (channel >= AMQP_CHANNEL_MAIL)
		mailbox_body(&c->mailboxes, channel, data);
	else
		deliver_body(c, data);
}

static void consumer_blocked(void *ctx, const char *reason)
{
	(void)ctx; /* does not publish, so the broker goes on reading it */
	(void)reason;
}

void amqp_consumer_up(struct amqp_consumer *c)
{
	struct amqp_broker *b = c->broker;
	auto_str host;

	c->is_up = true;
	str_init(&host, 1024);
	url_format_redacted(&host, &b->urls[c->link.url_index]);
	b->base.events->on_up(b->base.ctx, host.data);
}

/* `why` NULL: closed as asked for. */
void amqp_consumer_lost(struct amqp_consumer *c, const struct err *why)
{
	c->is_up = false;
	deliver_reset(c);
	ack_window_clear(&c->acks);
	setup_reset(c);
	mailboxes_reset(&c->mailboxes);
	if (!c->is_closing) {
		link_lost(&c->link, why);
		return;
	}
	link_drop(&c->link);
	amqp_broker_part_closed(c->broker);
}

static void consumer_down(void *ctx, const struct err *why)
{
	amqp_consumer_lost(ctx, why);
}

static void consumer_retry(void *owner, const struct err *why, double retry_in_s)
{
	struct amqp_consumer *c = owner;
	struct amqp_broker *b = c->broker;

	b->base.events->on_down(b->base.ctx, why, retry_in_s, (int)c->link.backoff.rounds,
				c->link.backoff.max_rounds);
}

void amqp_consumer_init(struct amqp_consumer *c, struct amqp_broker *b, int max_retries)
{
	static const struct amqp_conn_events events = {
		.on_open = consumer_opened,
		.on_method = consumer_method,
		.on_header = consumer_header,
		.on_body = consumer_body,
		.on_blocked = consumer_blocked,
		.on_flush = consumer_flush,
		.on_down = consumer_down,
	};

	c->broker = b;
	c->max_retries = max_retries;
	list_init(&c->queues);
	ack_window_init(&c->acks);
	uv_timer_init(b->loop, &c->retry_timer);
	c->retry_timer.data = c;
	uv_timer_init(b->loop, &c->hold_timer);
	c->hold_timer.data = c;
	mailboxes_init(&c->mailboxes, c);
	c->link.events = &events;
	c->link.on_retry = consumer_retry;
	c->link.owner = c;
	c->link.role = "consumer";
	link_init(&c->link, b, b->is_retry_on_startup ? max_retries : 0);
}

void amqp_consumer_pause(struct amqp_consumer *c)
{
	if (c->is_paused)
		return;
	c->is_paused = true;
	if (c->link.up_since_ms)
		setup_cancel_all(c);
}

void amqp_consumer_close(struct amqp_consumer *c)
{
	c->is_closing = true;
	if (c->link.up_since_ms)
		amqp_conn_wake(c->link.conn);
	else if (!link_stop(&c->link))
		amqp_broker_part_closed(c->broker);
}

void amqp_consumer_clear(struct amqp_consumer *c)
{
	deliver_reset(c);
	message_clear(&c->message);
	link_drop(&c->link);
	setup_reset(c);
	mailboxes_clear(&c->mailboxes);
	ack_window_clear(&c->acks);
	while (!list_is_empty(&c->queues)) {
		struct list_node *node = list_pop(&c->queues);
		struct amqp_consumed *q = list_entry(node, struct amqp_consumed, node);
		topology_free(q->topology);
		free(q);
	}
}
