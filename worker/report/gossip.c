#include "worker/report/gossip.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "protocol/pyjson.h"

#define LOOK_MS	     5000
#define FREQ_S	     60.0 /* of a node that does not say */
#define FREQ_MAX_S   86400.0
#define BODY_MAX     ((size_t)4 << 20)
#define NAME_MAX_LEN 512

struct gossip_node {
	double freq_s;
	int64_t seen_us; /* monotonic */
};

static bool is_alive(const struct gossip_node *node, int64_t now_us)
{
	return (double)(now_us - node->seen_us) < 2 * node->freq_s * 1e6;
}

static void forget(struct gossip *g, const char *name)
{
	free(map_del(g->nodes, name));
}

static struct gossip_node *node_of(struct gossip *g, const char *name)
{
	struct gossip_node *node = map_get(g->nodes, name);

	if (node || map_count(g->nodes) >= GOSSIP_NODES_MAX || strlen(name) > NAME_MAX_LEN)
		return node;
	node = mem_calloc(1, sizeof(*node));
	node->freq_s = FREQ_S;
	map_put(g->nodes, name, node);
	return node;
}

/* Mirrors celery/events/state.py, _event(). */
static void note_node(struct gossip *g, const char *name, const char *subject, const json_t *event)
{
	const json_t *freq = json_object_get(event, "freq");
	bool is_known = map_get(g->nodes, name) != NULL;

	if (strcmp(subject, "offline") == 0) {
		log_debug("%s left", name);
		forget(g, name);
		return;
	}
	struct gossip_node *node = node_of(g, name);

	if (!node)
		return;
	node->seen_us = clock_mono_us();
	if (json_is_number(freq) && json_number_value(freq) > 0 &&
	    json_number_value(freq) < FREQ_MAX_S)
		node->freq_s = json_number_value(freq);
	if (!is_known || strcmp(subject, "online") == 0)
		log_debug("%s joined the party", name);
}

static void hear(struct gossip *g, const char *name, const json_t *event)
{
	const char *type = json_string_value(json_object_get(event, "type"));
	const json_t *clock = json_object_get(event, "clock");

	if (!type)
		return;
	if (json_is_integer(clock) && json_integer_value(clock) > 0)
		lamport_merge(g->clock, (uint64_t)json_integer_value(clock));
	else
		lamport_tick(g->clock);
	if (strncmp(type, "worker-", 7) == 0)
		note_node(g, name, type + 7, event);
}

/* Others that are known to live. */
static size_t count_alive(const struct gossip *g)
{
	int64_t now_us = clock_mono_us();
	size_t count = 0;

	for (struct map_entry *e = map_first(g->nodes); e; e = map_next(e))
		count += is_alive(map_value(e), now_us);
	return count;
}

static char *header_text(const struct message *message, const char *name)
{
	for (size_t i = 0; i < message->header_count; i++) {
		const struct message_header *h = &message->headers[i];

		if (h->text.len == strlen(name) && memcmp(h->text.data, name, h->text.len) == 0)
			return h->value.kind == VALUE_TEXT && h->value.text.len > 0
				       ? mem_dup(h->value.text.data, h->value.text.len)
				       : NULL;
	}
	return NULL;
}

static void on_event(struct gossip *g, const struct message *message, const json_t *event)
{
	const char *key = message->routing_key ? message->routing_key : "";
	auto_free char *name = NULL;

	if (strcmp(key, "worker.elect") == 0) {
		election_heard(&g->election, event);
		return;
	}
	if (strcmp(key, "worker.elect.ack") == 0) {
		election_acked(&g->election, event, count_alive(g));
		return;
	}
	name = header_text(message, "hostname");
	if (!name)
		name = mem_strdup(json_string_value(json_object_get(event, "hostname")));
	if (!name)
		return;
	if (strcmp(name, g->config->node_name) == 0)
		lamport_tick(g->clock);
	else
		hear(g, name, event);
}

static void on_mail(void *ctx, struct message *message)
{
	struct gossip *g = ctx;
	struct err err = {0};
	json_t *event;

	if (message->body_len > BODY_MAX ||
	    (message->routing_key && strncmp(message->routing_key, "task", 4) == 0))
		return;
	event = pyjson_load(message->body, message->body_len, &err);
	if (json_is_object(event))
		on_event(g, message, event);
	else
		log_error("gossip: an event cannot be read: %s",
			  event ? "it is no object" : err.text);
	json_decref(event);
}

static void on_look(uv_timer_t *timer)
{
	struct gossip *g = timer->data;
	int64_t now_us = clock_mono_us();

	for (struct map_entry *e = map_first(g->nodes), *next; e; e = next) {
		next = map_next(e);
		if (is_alive(map_value(e), now_us))
			continue;
		log_info("missed heartbeat from %s", map_key(e));
		forget(g, map_key(e));
	}
}

void gossip_up(struct gossip *g)
{
	if (g->is_on)
		uv_timer_start(&g->timer, on_look, LOOK_MS, LOOK_MS);
}

/* Without a connection everybody is silent; that says nothing about them. */
void gossip_down(struct gossip *g)
{
	uv_timer_stop(&g->timer);
}

void gossip_elect(struct gossip *g, const json_t *id, const json_t *topic, const json_t *action)
{
	if (g->is_on)
		election_stand(&g->election, id, topic, action);
}

int gossip_open(struct gossip *g, struct broker *broker, struct err *err)
{
	const struct config *config = g->config;
	struct mailbox_def def = {
		.queue = g->queue,
		.exchange = config->event_exchange,
		.exchange_type = broker->driver->event_exchange_type,
		.is_exchange_durable = true,
		.binding_key = "worker.#",
		.is_durable = config->event_queue_durable,
		.is_exclusive = config->event_queue_exclusive,
		.ttl_s = config->heartbeat_interval > 0 ? config->heartbeat_interval
							: config->event_queue_ttl,
		.expires_s = config->event_queue_expires,
	};

	g->is_on = !config->without_gossip && broker->driver->has_neighbors;
	if (g->is_on && def.is_durable && def.is_exclusive)
		return err_set(err, ERR_INVALID,
			       "event_queue_exclusive and event_queue_durable cannot both be set");
	return g->is_on ? broker_listen(broker, &def, on_mail, g, err) : 0;
}

void gossip_init(struct gossip *g, uv_loop_t *loop, struct events *events, election_won_fn *on_won,
		 void *ctx)
{
	char id[37];

	*g = (struct gossip){.config = events->config, .events = events, .clock = events->clock};
	uuid4(id);
	g->queue = mem_printf("%s.%s", g->config->event_queue_prefix, id);
	g->nodes = map_new();
	election_init(&g->election, events, on_won, ctx);
	uv_timer_init(loop, &g->timer);
	g->timer.data = g;
}

void gossip_close(struct gossip *g)
{
	uv_close((uv_handle_t *)&g->timer, NULL);
}

void gossip_clear(struct gossip *g)
{
	for (struct map_entry *e = map_first(g->nodes); e; e = map_next(e))
		free(map_value(e));
	map_free(g->nodes);
	election_clear(&g->election);
	free(g->queue);
}
