#include "worker/report/events.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "worker/report/events_impl.h"

/* One message: a batch of task events or one worker event. */
struct packet {
	struct list_node node;
	struct events *events;
	const char *routing_key; /* static */
	const json_t *headers;
	unsigned count;
	size_t len;
	char body[]; /* while held */
};

static void drop(struct events *e, unsigned count, const char *why)
{
	e->dropped += count;
	if (!e->is_dropping)
		log_warning("Events are dropped from now on: %s", why);
	e->is_dropping = true;
}

static void on_published(void *ctx, const struct err *err)
{
	struct packet *p = ctx;
	struct events *e = p->events;

	e->waiting_bytes -= p->len;
	if (err) {
		drop(e, p->count, err->text);
	} else {
		e->sent += p->count;
		if (e->is_dropping && e->waiting_bytes < EVENTS_WAITING_MAX / 2) {
			e->is_dropping = false;
			log_warning("Events are sent again; %llu were dropped since the start",
				    (unsigned long long)e->dropped);
		}
	}
	free(p);
}

static void publish(struct events *e, struct packet *p, const char *body)
{
	struct err err = {0};
	struct publication publication = {
		.exchange = e->exchange.name,
		.routing_key = p->routing_key,
		.declare_exchange = &e->exchange,
		.content_type = "application/json",
		.content_encoding = "utf-8",
		.priority = 0,
		.delivery_mode = 1,
		.headers = p->headers,
		.body = body,
		.body_len = p->len,
	};

	if (broker_publish(e->broker, &publication, on_published, p, &err) < 0)
		on_published(p, &err);
}

/* To the broker, or aside until there is one. */
static void send_out(struct events *e, const char *routing_key, const struct str *body,
		     unsigned count)
{
	bool is_held = !e->broker;

	if (body->len > EVENTS_WAITING_MAX - e->waiting_bytes) {
		drop(e, count, "too many wait for the broker");
		return;
	}
	struct packet *p = mem_alloc(sizeof(*p) + (is_held ? body->len : 0));

	*p = (struct packet){
		.events = e,
		.routing_key = routing_key,
		.headers = e->headers,
		.count = count,
		.len = body->len,
	};
	if (strcmp(routing_key, "task.sent") == 0)
		p->headers = e->producer_headers;
	e->waiting_bytes += p->len;
	if (!is_held) {
		publish(e, p, body->data);
		return;
	}
	memcpy(p->body, body->data, body->len);
	list_append(&e->held, &p->node);
}

void events_flush(struct events *e)
{
	uv_prepare_stop(&e->prepare);
	uv_timer_stop(&e->timer);
	if (e->batch_count == 0)
		return;
	e->flushed_ms = uv_now(e->timer.loop);
	unsigned count = e->batch_count;

	str_addc(&e->batch, ']');
	e->batch_count = 0;
	send_out(e, "task.multi", &e->batch, count);
	str_shrink(&e->batch, 4 * EVENTS_BATCH_BYTES);
}

static void on_turn(uv_prepare_t *prepare)
{
	events_flush(prepare->data);
}

static void on_time(uv_timer_t *timer)
{
	events_flush(timer->data);
}

/* At the end of this turn; but a busy worker's turns are many and short, and each message costs the
 * broker more than the events in it. */
void events_flush_soon(struct events *e)
{
	uint64_t since_ms = uv_now(e->timer.loop) - e->flushed_ms;

	if (since_ms >= EVENTS_PAUSE_MS)
		uv_prepare_start(&e->prepare, on_turn);
	else
		uv_timer_start(&e->timer, on_time, EVENTS_PAUSE_MS - since_ms, 0);
}

void events_send_single(struct events *e, const char *routing_key)
{
	events_flush(e); /* what happened before is told before */
	send_out(e, routing_key, &e->single, 1);
	str_shrink(&e->single, EVENTS_BATCH_BYTES);
}

void events_drop_large(struct events *e)
{
	drop(e, 1, "one is too large");
}

void events_up(struct events *e, struct broker *broker)
{
	e->broker = broker;
	e->exchange.type = broker->driver->event_exchange_type;
	while (!list_is_empty(&e->held)) {
		struct packet *held = list_entry(list_pop(&e->held), struct packet, node);
		struct packet *p = mem_alloc(sizeof(*p));

		*p = *held;
		publish(e, p, held->body);
		free(held);
	}
}

void events_down(struct events *e)
{
	e->broker = NULL; /* what this turn has collected is held, too */
	events_flush(e);
}

static void update_groups(struct events *e)
{
	e->has_tasks = e->is_enabled && (!e->has_filter || e->has_task_group);
}

bool events_enable(struct events *e)
{
	if (!e->has_filter || e->has_task_group)
		return false;
	e->has_task_group = true;
	update_groups(e);
	log_info("Events of group {task} enabled by remote.");
	return true;
}

bool events_disable(struct events *e)
{
	if (!e->has_task_group)
		return false;
	e->has_task_group = false;
	update_groups(e);
	log_info("Events of group {task} disabled by remote.");
	return true;
}

/* As celery.utils.nodenames.anon_nodename names a sender of messages. */
static void name_producer(struct events *e, const char *node)
{
	const char *at = strchr(node, '@');
	auto_free char *name = mem_printf("gen%d@%s", (int)getpid(), at ? at + 1 : node);

	event_sender(&e->producer, name, getpid());
	e->producer_headers = json_pack("{s:s}", "hostname", name);
}

void events_init(struct events *e, uv_loop_t *loop, const struct config *config,
		 struct lamport *clock)
{
	*e = (struct events){.config = config, .clock = clock};
	e->exchange = (struct exchange_def){.name = config->event_exchange, .is_durable = true};
	e->headers = json_pack("{s:s}", "hostname", config->node_name);
	str_init(&e->sender, 4096);
	str_init(&e->producer, 4096);
	str_init(&e->batch, EVENTS_WAITING_MAX);
	str_init(&e->single, EVENTS_WAITING_MAX);
	str_init(&e->repr, 65536);
	event_sender(&e->sender, config->node_name, getpid());
	name_producer(e, config->node_name);
	list_init(&e->held);
	e->has_filter = !config->worker_send_task_events;
	e->is_enabled = config->worker_send_task_events || !config->without_heartbeat ||
			!config->without_gossip;
	e->has_sent = config->task_send_sent_event;
	update_groups(e);
	uv_prepare_init(loop, &e->prepare);
	uv_timer_init(loop, &e->timer);
	e->prepare.data = e->timer.data = e;
}

void events_close(struct events *e)
{
	unsigned long long lost = 0;
	struct list_node *pos;

	list_foreach (pos, &e->held)
		lost += list_entry(pos, struct packet, node)->count;
	if (lost > 0)
		log_warning("%llu events were not sent, because there was no connection", lost);
	uv_close((uv_handle_t *)&e->prepare, NULL);
	uv_close((uv_handle_t *)&e->timer, NULL);
}

void events_clear(struct events *e)
{
	while (!list_is_empty(&e->held))
		free(list_entry(list_pop(&e->held), struct packet, node));
	json_decref(e->headers);
	json_decref(e->producer_headers);
	str_clear(&e->sender);
	str_clear(&e->producer);
	str_clear(&e->batch);
	str_clear(&e->single);
	str_clear(&e->repr);
}
