/* Native delayed delivery (protocol/delayed.h): its stages, and what binds the queues that are
 * consumed to their end. Declared after the queues, and again on each connection: the broker may be
 * another one. Errors end this only; tasks that are due later then wait in the worker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/delayed.h"
#include "transport/broker_amqp.h"
#include "transport/topic_pattern.h"

void delay_want(struct amqp_consumer *c, const char *queue_type)
{
	if (c->delay.state != DELAY_OFF)
		return;
	c->delay.is_quorum = strcmp(queue_type, "quorum") == 0;
	c->delay.state = DELAY_WANTED;
	setup_continue(c);
}

bool delay_is_busy(const struct amqp_consumer *c)
{
	return c->delay.state == DELAY_DECLARING || c->delay.state == DELAY_BINDING;
}

/* Declaring the stages */

static int declare(struct amqp_consumer *c, struct topology *stage)
{
	amqp_method_number_t ignored;
	int rc = stage ? topology_declare(stage, c->link.conn, AMQP_CHANNEL_SETUP, &ignored) : -1;

	topology_free(stage);
	return rc;
}

static int declare_exchange(struct amqp_consumer *c, const char *name)
{
	struct exchange_def def = {.name = name, .type = "topic", .is_durable = true};

	return declare(c, topology_new_exchange(&def, NULL));
}

/* Its exchange, its queue and what binds them. */
static int declare_level(struct amqp_consumer *c, unsigned level)
{
	char name[24], next[24] = DELAYED_DELIVERY, key[64];

	delayed_level_name(name, level);
	delayed_level_key(key, level, '1');
	if (level > 0)
		delayed_level_name(next, level - 1);
	auto_free char *arguments = mem_printf(
		"{\"x-queue-type\": \"%s\", \"x-overflow\": \"reject-publish\", "
		"\"x-message-ttl\": %lld, \"x-dead-letter-exchange\": \"%s\"%s}",
		c->delay.is_quorum ? "quorum" : "classic", 1000LL << level, next,
		c->delay.is_quorum ? ", \"x-dead-letter-strategy\": \"at-least-once\"" : "");
	struct queue_def def = {.name = name,
				.exchange = name,
				.exchange_type = "topic",
				.routing_key = key,
				.arguments = arguments};

	return declare(c, topology_new(&def, NULL));
}

/* Messages pass a level that they need not wait at. Only the last is answered. */
static int bind_levels(struct amqp_consumer *c)
{
	for (unsigned level = DELAYED_LEVELS; level-- > 0;) {
		char name[24], next[24] = DELAYED_DELIVERY, key[64];

		delayed_level_name(name, level);
		delayed_level_key(key, level, '0');
		if (level > 0)
			delayed_level_name(next, level - 1);
		if (topology_bind_exchange(next, name, key, level > 0, c->link.conn,
					   AMQP_CHANNEL_SETUP) < 0)
			return -1;
	}
	return 0;
}

static void declare_all(struct amqp_consumer *c)
{
	c->delay.state = DELAY_DECLARING;
	for (unsigned level = DELAYED_LEVELS; level-- > 0;)
		if (declare_level(c, level) < 0)
			return;
	if (declare_exchange(c, DELAYED_DELIVERY) == 0)
		bind_levels(c);
}

/* Binding the queues */

/* A headers exchange, bound as kombu does it, would give the queue every message it gets. */
static bool can_carry(const struct topology_binding *b)
{
	return strcmp(b->exchange_type, "direct") != 0 && strcmp(b->exchange_type, "headers") != 0;
}

static void tell_direct(struct amqp_consumer *c, struct amqp_consumed *q,
			const struct topology_binding *b)
{
	if (q->is_delay_told)
		return;
	q->is_delay_told = true;
	amqp_broker_notice(c->broker, false,
			   "Exchange '%s' is a %s exchange, which native delayed delivery does not "
			   "support: tasks with an ETA that are sent to it wait in the worker",
			   b->exchange, b->exchange_type);
}

static size_t carrying(const struct topology *q)
{
	size_t count = 0;

	for (size_t i = 0; i < q->binding_count; i++)
		count += can_carry(&q->bindings[i]);
	return q->is_broadcast ? 0 : count;
}

static void bind_one(struct amqp_consumer *c, const struct topology *q,
		     const struct topology_binding *b, bool is_last)
{
	bool is_any = b->routing_key[0] == '#';
	auto_free char *key = mem_printf("%s%s", is_any ? "" : "#.", b->routing_key);
	struct topology_binding behind = {.exchange = b->exchange, .routing_key = key};

	topology_bind_exchange(b->exchange, DELAYED_DELIVERY, key, true, c->link.conn,
			       AMQP_CHANNEL_SETUP);
	topology_bind(q, &behind, !is_last, c->link.conn, AMQP_CHANNEL_SETUP);
}

/* False when there is nothing to bind it by. */
static bool bind_queue(struct amqp_consumer *c, struct amqp_consumed *q)
{
	const struct topology *t = q->topology;
	size_t left = carrying(t);

	for (size_t i = 0; i < t->binding_count && !t->is_broadcast; i++) {
		if (can_carry(&t->bindings[i]))
			bind_one(c, t, &t->bindings[i], --left == 0);
		else
			tell_direct(c, q, &t->bindings[i]);
	}
	return carrying(t) > 0;
}

static void bind_next(struct amqp_consumer *c)
{
	struct list_node *pos;

	list_foreach (pos, &c->queues) {
		struct amqp_consumed *q = list_entry(pos, struct amqp_consumed, node);

		if (q->setup != SETUP_ACTIVE || q->delay != DELAY_UNBOUND)
			continue;
		if (bind_queue(c, q)) {
			c->delay.state = DELAY_BINDING;
			c->delay.binding = q;
			return;
		}
		q->delay = DELAY_UNBINDABLE;
	}
}

void delay_continue(struct amqp_consumer *c)
{
	if (c->delay.state == DELAY_WANTED)
		declare_all(c);
	else if (c->delay.state == DELAY_READY)
		bind_next(c);
}

/* Answers */

void delay_method(struct amqp_consumer *c, amqp_method_number_t id)
{
	bool is_declared = c->delay.state == DELAY_DECLARING && id == AMQP_EXCHANGE_BIND_OK_METHOD;
	bool is_bound = c->delay.state == DELAY_BINDING && id == AMQP_QUEUE_BIND_OK_METHOD;

	if (!is_declared && !is_bound)
		return;
	if (c->delay.binding)
		c->delay.binding->delay = DELAY_BOUND;
	c->delay.binding = NULL;
	c->delay.state = DELAY_READY;
	setup_continue(c);
}

void delay_refused(struct amqp_consumer *c, const struct err *why)
{
	struct amqp_consumed *q = c->delay.binding;
	bool is_declaring = c->delay.state == DELAY_DECLARING;

	amqp_broker_notice(c->broker, true,
			   "native delayed delivery%s%s%s cannot be set up, tasks with an ETA wait "
			   "in the worker: %s",
			   q ? " for queue '" : "", q ? q->topology->name : "", q ? "'" : "",
			   why->text);
	if (q)
		q->delay = DELAY_UNBINDABLE;
	c->delay.binding = NULL;
	c->delay.state = is_declaring ? DELAY_FAILED : DELAY_READY;
}

void delay_forget(struct amqp_consumer *c, const struct amqp_consumed *q)
{
	if (c->delay.binding == q)
		c->delay.binding = NULL;
}

void delay_reset(struct amqp_consumer *c)
{
	struct list_node *pos;

	if (c->delay.state != DELAY_OFF)
		c->delay.state = DELAY_WANTED;
	c->delay.binding = NULL;
	list_foreach (pos, &c->queues)
		list_entry(pos, struct amqp_consumed, node)->delay = DELAY_UNBOUND;
}

/* Where a delayed message goes */

static bool takes(const struct topology *q, const char *exchange, const char *key)
{
	bool is_end = strcmp(exchange, DELAYED_DELIVERY) == 0;

	for (size_t i = 0; i < q->binding_count; i++) {
		const struct topology_binding *b = &q->bindings[i];

		if (can_carry(b) && (is_end || strcmp(b->exchange, exchange) == 0) &&
		    topic_key_matches(b->routing_key, strlen(b->routing_key), key))
			return true;
	}
	return false;
}

bool delay_reaches(const struct amqp_consumer *c, const char *exchange, const char *routing_key)
{
	const char *key = delayed_key_behind(routing_key);
	struct list_node *pos;

	list_foreach (pos, &c->queues) {
		const struct amqp_consumed *q = list_entry(pos, struct amqp_consumed, node);

		if (q->delay == DELAY_BOUND && takes(q->topology, exchange, key))
			return true;
	}
	return false;
}
