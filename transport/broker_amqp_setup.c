/* From an open connection to active consumers, one queue after the other. Queues are declared on
 * channel 2, so that an error there (406: declared with other arguments) does not end the consumers
 * on channel 1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/broker_amqp.h"

#define SHORT_LIVED_MS 5000 /* a consumer that was cancelled sooner waits before it comes back */

static void open_channel(struct amqp_consumer *c, unsigned channel)
{
	amqp_channel_open_t open = {0};

	amqp_conn_send(c->link.conn, channel, AMQP_CHANNEL_OPEN_METHOD, &open);
}

void setup_begin(struct amqp_consumer *c)
{
	open_channel(c, AMQP_CHANNEL_WORK);
	qos_begin(c);
	open_channel(c, AMQP_CHANNEL_SETUP);
}

static void queue_failed(struct amqp_consumer *c, struct amqp_consumed *q, const struct err *why)
{
	double delay_s = backoff_next(&q->backoff);

	q->setup = SETUP_FAILED;
	q->retry_at_ms = uv_now(c->broker->loop) + (uint64_t)(delay_s * 1000);
	amqp_broker_notice(c->broker, true,
			   "queue '%s' cannot be consumed: %s; trying again in %.0f seconds",
			   q->topology->name, why->text, delay_s);
}

static void consumed_free(struct amqp_consumer *c, struct amqp_consumed *q)
{
	delay_forget(c, q);
	list_remove(&q->node);
	topology_free(q->topology);
	free(q);
}

/* The next one that waits for its turn, and when the first of the failed ones is due (0 = none). */
static struct amqp_consumed *queue_next(struct amqp_consumer *c, uint64_t *ret_due_ms)
{
	uint64_t now = uv_now(c->broker->loop);
	struct list_node *pos;

	*ret_due_ms = 0;
	list_foreach (pos, &c->queues) {
		struct amqp_consumed *q = list_entry(pos, struct amqp_consumed, node);
		if (q->setup == SETUP_WANTED || (q->setup == SETUP_FAILED && q->retry_at_ms <= now))
			return q;
		if (q->setup == SETUP_FAILED && (*ret_due_ms == 0 || q->retry_at_ms < *ret_due_ms))
			*ret_due_ms = q->retry_at_ms;
	}
	return NULL;
}

static bool any_active(const struct amqp_consumer *c)
{
	struct list_node *pos;

	list_foreach (pos, &c->queues) {
		if (list_entry(pos, struct amqp_consumed, node)->setup == SETUP_ACTIVE)
			return true;
	}
	return false;
}

static void setup_retry(uv_timer_t *timer)
{
	setup_continue(timer->data);
}

void setup_continue(struct amqp_consumer *c)
{
	uint64_t due_ms;

	if (c->current || !c->is_setup_open || c->is_paused || delay_is_busy(c))
		return;
	struct amqp_consumed *q = queue_next(c, &due_ms);
	if (q) {
		c->current = q;
		q->setup = SETUP_DECLARING;
		q->delay = DELAY_UNBOUND;
		topology_declare(q->topology, c->link.conn, AMQP_CHANNEL_SETUP, &c->awaited);
		return;
	}
	if (due_ms)
		uv_timer_start(&c->retry_timer, setup_retry, due_ms - uv_now(c->broker->loop), 0);
	/* A client that only publishes consumes nothing and is up at once. */
	if (!c->is_up && mailboxes_are_settled(&c->mailboxes) &&
	    (any_active(c) || list_is_empty(&c->queues)))
		amqp_consumer_up(c);
	delay_continue(c);
}

static void send_consume(struct amqp_consumer *c, struct amqp_consumed *q, bool is_nowait)
{
	snprintf(q->tag, sizeof(q->tag), "smallage-%u", ++c->next_tag);
	topology_consume(q->topology, q->tag, is_nowait, c->link.conn, AMQP_CHANNEL_WORK);
}

static void send_cancel(struct amqp_consumer *c, const char *tag)
{
	amqp_basic_cancel_t cancel = {.consumer_tag = amqp_text(tag), .nowait = 1};

	amqp_conn_send(c->link.conn, AMQP_CHANNEL_WORK, AMQP_BASIC_CANCEL_METHOD, &cancel);
}

void setup_consume_anew(struct amqp_consumer *c, struct amqp_consumed *q)
{
	char old[sizeof(q->tag)];

	memcpy(old, q->tag, sizeof(old));
	send_consume(c, q, true);
	send_cancel(c, old);
}

static void queue_ready(struct amqp_consumer *c)
{
	qos_queue_added(c);
	c->current->setup = SETUP_CONSUMING;
	send_consume(c, c->current, false);
}

static void queue_declared(struct amqp_consumer *c)
{
	amqp_queue_purge_t purge = {.queue = amqp_text(c->current->topology->name)};

	if (!c->current->is_to_purge) {
		queue_ready(c);
		return;
	}
	c->current->setup = SETUP_PURGING;
	amqp_conn_send(c->link.conn, AMQP_CHANNEL_SETUP, AMQP_QUEUE_PURGE_METHOD, &purge);
}

/* Only once: what arrives from now on is to be worked on, also after a reconnect. */
static void queue_purged(struct amqp_consumer *c, const amqp_queue_purge_ok_t *ok)
{
	c->current->is_to_purge = false;
	if (ok->message_count > 0)
		amqp_broker_notice(c->broker, false, "purged: %u messages of queue '%s'",
				   ok->message_count, c->current->topology->name);
	queue_ready(c);
}

static void setup_send_cancel(struct amqp_consumer *c, struct amqp_consumed *q)
{
	send_cancel(c, q->tag);
	q->setup = SETUP_WANTED;
}

static void queue_consumed(struct amqp_consumer *c)
{
	struct amqp_consumed *q = c->current;

	if (!q || q->setup != SETUP_CONSUMING)
		return;
	c->current = NULL;
	q->setup = SETUP_ACTIVE;
	q->active_since_ms = uv_now(c->broker->loop);
	if (q->is_cancelled || c->is_paused)
		setup_send_cancel(c, q);
	if (q->is_cancelled)
		consumed_free(c, q);
	setup_continue(c);
}

static void forgive_long_lived(struct amqp_consumer *c, struct amqp_consumed *q)
{
	if (q->setup == SETUP_ACTIVE &&
	    uv_now(c->broker->loop) - q->active_since_ms >= SHORT_LIVED_MS)
		backoff_reset(&q->backoff);
}

/* The broker ended a consumer: its queue was deleted. */
static void cancel_received(struct amqp_consumer *c, const amqp_basic_cancel_t *cancel)
{
	struct list_node *pos;
	struct amqp_consumed *found = NULL;
	struct err why = {0};

	list_foreach (pos, &c->queues) {
		struct amqp_consumed *q = list_entry(pos, struct amqp_consumed, node);
		if (q->setup == SETUP_ACTIVE && strlen(q->tag) == cancel->consumer_tag.len &&
		    memcmp(q->tag, cancel->consumer_tag.bytes, strlen(q->tag)) == 0)
			found = q;
	}
	if (!found)
		return;
	declare_forget(&c->broker->publisher, found->topology->name);
	forgive_long_lived(c, found);
	if (found->backoff.rounds == 0) {
		backoff_next(&found->backoff); /* when it happens again soon, it has to wait */
		found->setup = SETUP_WANTED;
		amqp_broker_notice(
			c->broker, false,
			"queue '%s' was deleted while it was consumed; declaring it again",
			found->topology->name);
	} else {
		err_set(&why, ERR_IO, "it was deleted again");
		queue_failed(c, found, &why);
	}
	setup_continue(c);
}

static void setup_channel_closed(struct amqp_consumer *c, const amqp_channel_close_t *close)
{
	struct amqp_consumed *q = c->current;
	struct err why = {0};

	amqp_channel_error(close, &why);
	c->is_setup_open = false;
	c->current = NULL;
	open_channel(c, AMQP_CHANNEL_SETUP);
	if (q && q->is_cancelled)
		consumed_free(c, q);
	else if (q)
		queue_failed(c, q, &why);
	else if (delay_is_busy(c))
		delay_refused(c, &why);
}

/* Deliveries of a channel go with it, so a new connection costs no more than a new channel. */
static void work_channel_closed(struct amqp_consumer *c, const amqp_channel_close_t *close)
{
	struct err why = {0};

	amqp_channel_error(close, &why);
	if (c->current && c->current->setup == SETUP_CONSUMING)
		queue_failed(c, c->current, &why);
	amqp_consumer_lost(c, &why);
}

void setup_method(struct amqp_consumer *c, unsigned channel, const amqp_method_t *method)
{
	bool is_setup = channel == AMQP_CHANNEL_SETUP;

	if (method->id == AMQP_CHANNEL_CLOSE_METHOD) {
		if (is_setup)
			setup_channel_closed(c, method->decoded);
		else
			work_channel_closed(c, method->decoded);
	} else if (method->id == AMQP_CHANNEL_OPEN_OK_METHOD && is_setup) {
		c->is_setup_open = true;
		setup_continue(c);
	} else if (is_setup && c->current && c->current->setup == SETUP_DECLARING &&
		   method->id == c->awaited) {
		queue_declared(c);
	} else if (is_setup && c->current && c->current->setup == SETUP_PURGING &&
		   method->id == AMQP_QUEUE_PURGE_OK_METHOD) {
		queue_purged(c, method->decoded);
	} else if (is_setup && !c->current && delay_is_busy(c)) {
		delay_method(c, method->id);
	} else if (method->id == AMQP_BASIC_CONSUME_OK_METHOD) {
		queue_consumed(c);
	} else if (method->id == AMQP_BASIC_CANCEL_METHOD) {
		cancel_received(c, method->decoded);
	}
}

void setup_reset(struct amqp_consumer *c)
{
	struct list_node *pos, *tmp;

	c->current = NULL;
	c->is_setup_open = false;
	delay_reset(c);
	uv_timer_stop(&c->retry_timer);
	list_foreach_safe (pos, tmp, &c->queues) {
		struct amqp_consumed *q = list_entry(pos, struct amqp_consumed, node);
		forgive_long_lived(c, q);
		if (q->is_cancelled)
			consumed_free(c, q);
		else if (q->setup != SETUP_FAILED)
			q->setup = SETUP_WANTED;
	}
}

void setup_cancel_all(struct amqp_consumer *c)
{
	struct list_node *pos;

	uv_timer_stop(&c->retry_timer);
	list_foreach (pos, &c->queues) {
		struct amqp_consumed *q = list_entry(pos, struct amqp_consumed, node);
		if (q->setup == SETUP_ACTIVE)
			setup_send_cancel(c, q);
	}
}

void setup_forget(struct amqp_consumer *c, struct amqp_consumed *q)
{
	if (q == c->current) { /* an answer is on its way */
		q->is_cancelled = true;
		return;
	}
	if (q->setup == SETUP_ACTIVE)
		setup_send_cancel(c, q);
	consumed_free(c, q);
}
