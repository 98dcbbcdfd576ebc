/*
 * The prefetch count. Counted per consumer it costs RabbitMQ least: shared by all consumers of a
 * channel ("global"), every single delivery makes the queue ask one more process for leave, which
 * is a sixth of all that a small task costs the broker. But the count of a consumer that runs
 * cannot be changed. So one queue is consumed with a count of its own until the count changes for
 * the first time, which tasks with an ETA do; then, and with several queues, the count is shared,
 * as Celery has it (contract: tasks.md 3.2).
 *
 * RabbitMQ 4 and quorum queues know no shared count, and there Celery's worker stands still when as
 * many tasks wait for their ETA as its consumers may have. Ours begins new consumers in their
 * place: what was delivered to the old ones stays in hand and counts no more.
 */
#include "transport/broker_amqp.h"

enum { QOS_MAX = 65535 };

/* RabbitMQ 3.3 to 3.x only; 4.0 and quorum queues know no count but the consumer's own. */
static bool can_share(const struct amqp_consumer *c)
{
	unsigned version = amqp_conn_rabbitmq_version(c->link.conn);
	struct list_node *pos;

	if (version < 303 || version >= 400)
		return false;
	list_foreach (pos, &c->queues) {
		if (!c->broker->ignores_quorum &&
		    topology_is_quorum(list_entry(pos, struct amqp_consumed, node)->topology))
			return false;
	}
	return true;
}

static bool is_consumed(const struct amqp_consumed *q)
{
	return q->setup == SETUP_CONSUMING || q->setup == SETUP_ACTIVE;
}

static bool needs_share(const struct amqp_consumer *c)
{
	struct list_node *pos;
	unsigned count = 0;

	if (!can_share(c))
		return false;
	list_foreach (pos, &c->queues) {
		const struct amqp_consumed *q = list_entry(pos, struct amqp_consumed, node);

		/* Consuming it anew, as qos_send does, would hand the queue to another worker. */
		if (is_consumed(q) || topology_has_single_consumer(q->topology))
			return true;
		count++;
	}
	return count > 1;
}

static void send_count(struct amqp_consumer *c, unsigned count, bool is_shared)
{
	amqp_basic_qos_t qos = {
		.prefetch_count = count > QOS_MAX ? 0 : (uint16_t)count,
		.global = is_shared,
	};

	amqp_conn_send(c->link.conn, AMQP_CHANNEL_WORK, AMQP_BASIC_QOS_METHOD, &qos);
}

/* What was delivered to a consumer that ends stays ours. */
static void consume_all_anew(struct amqp_consumer *c)
{
	struct list_node *pos;

	list_foreach (pos, &c->queues) {
		struct amqp_consumed *q = list_entry(pos, struct amqp_consumed, node);

		/* That would hand the queue to another worker. */
		if (is_consumed(q) && !topology_has_single_consumer(q->topology))
			setup_consume_anew(c, q);
	}
}

/* Do messages that wait for their time keep a consumer with a count of its own from more? Half of
 * the count went to them, and not much else is in hand. So at most one and a half times the count
 * is, beside what waits. */
static bool is_held_up(const struct amqp_consumer *c)
{
	size_t step = c->qos > 1 ? c->qos / 2 : 1;
	size_t busy = c->acks.open > c->qos_waiting ? c->acks.open - c->qos_waiting : 0;
	struct list_node *pos;
	size_t all = 0;

	if (c->qos_waiting < c->qos_mark + step)
		return false;
	list_foreach (pos, &c->queues)
		all += is_consumed(list_entry(pos, struct amqp_consumed, node)) ? c->qos : 0;
	return busy + step <= all;
}

static void count_own(struct amqp_consumer *c)
{
	bool is_changed = c->qos != c->qos_granted;

	if (!is_changed && !is_held_up(c))
		return;
	if (is_changed)
		send_count(c, c->qos, false);
	c->qos_granted = c->qos;
	c->qos_mark = c->qos_waiting;
	if (!c->is_paused)
		consume_all_anew(c);
}

static void count_shared(struct amqp_consumer *c)
{
	bool was_shared = c->is_qos_shared;

	c->is_qos_shared = true;
	/* A count of the consumer's own stays in force beside the shared one, and to set it lifts
	 * the shared one, so it goes first. */
	if (!was_shared)
		send_count(c, 0, false);
	send_count(c, c->qos + c->qos_waiting, true);
	if (!was_shared && !c->is_paused)
		consume_all_anew(c);
}

void qos_begin(struct amqp_consumer *c)
{
	c->is_qos_dirty = c->is_qos_shared = false;
	c->qos_granted = c->qos;
	c->qos_mark = c->qos_waiting;
	if (needs_share(c))
		count_shared(c);
	else
		send_count(c, c->qos, false);
}

void qos_send(struct amqp_consumer *c)
{
	c->is_qos_dirty = false;
	if (c->is_qos_shared || needs_share(c))
		count_shared(c);
	else
		count_own(c);
}

void qos_check(struct amqp_consumer *c)
{
	if (!c->is_qos_shared && c->qos_waiting > c->qos_mark)
		count_own(c);
}

void qos_queue_added(struct amqp_consumer *c)
{
	if (!c->is_qos_shared && needs_share(c))
		count_shared(c);
}
