/*
 * The prefetch count. Counted per consumer it costs RabbitMQ least: shared by all consumers of a
 * channel ("global"), every single delivery makes the queue ask one more process for leave, which
 * is a sixth of all that a small task costs the broker. But the count of a consumer that runs
 * cannot be changed. So one queue is consumed with a count of its own until the count changes for
 * the first time, which tasks with an ETA do; then, and with several queues, the count is shared,
 * as Celery has it (contract: tasks.md 3.2).
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

void qos_send(struct amqp_consumer *c)
{
	struct list_node *pos;
	bool was_shared = c->is_qos_shared;

	c->is_qos_dirty = false;
	c->is_qos_shared = was_shared || needs_share(c);
	/* A count of the consumer's own stays in force beside the shared one, and to set it lifts
	 * the shared one, so it goes first. */
	if (c->is_qos_shared && !was_shared)
		send_count(c, 0, false);
	send_count(c, c->qos, c->is_qos_shared);
	if (!c->is_qos_shared || was_shared || c->is_paused)
		return;
	/* What was delivered to the consumer that ends stays ours. */
	list_foreach (pos, &c->queues) {
		struct amqp_consumed *q = list_entry(pos, struct amqp_consumed, node);

		if (is_consumed(q))
			setup_consume_anew(c, q);
	}
}

void qos_queue_added(struct amqp_consumer *c)
{
	if (!c->is_qos_shared && needs_share(c))
		qos_send(c);
}
