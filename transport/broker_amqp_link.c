#include "transport/broker_amqp.h"

#include "base/mem.h"

/* A connection that did not last this long counts as a failed attempt: whatever ended it might end
 * the next one as well, and must not make us spin. */
#define SHORT_LIVED_MS 5000

static void link_open(struct amqp_link *link)
{
	struct amqp_broker *b = link->broker;
	auto_free char *name = mem_printf("%s %s", b->node_name, link->role);
	struct amqp_conn_options options = {
		.loop = b->loop,
		.heartbeat_s = b->heartbeat_s,
		.connect_timeout_s = b->connect_timeout_s,
		.max_output = AMQP_OUTPUT_MAX,
		.product_version = b->product_version,
		.name = name,
		.events = link->events,
		.ctx = link->owner,
	};

	link->url_index = link->backoff.url_index;
	options.url = &b->urls[link->url_index];
	options.tls = b->tls[link->url_index];
	options.is_login_external = b->is_login_external;
	link->conn = amqp_conn_open(&options);
}

static void retry_due(uv_timer_t *timer)
{
	struct amqp_link *link = timer->data;

	if (!link->is_stopped && !link->conn)
		link_open(link);
}

void link_init(struct amqp_link *link, struct amqp_broker *b, int max_retries)
{
	link->broker = b;
	backoff_init(&link->backoff, b->url_count, max_retries);
	uv_timer_init(b->loop, &link->timer);
	link->timer.data = link;
}

void link_start(struct amqp_link *link)
{
	uv_timer_start(&link->timer, retry_due, 0, 0);
}

void link_opened(struct amqp_link *link)
{
	backoff_reset(&link->backoff);
	link->up_since_ms = uv_now(link->broker->loop);
}

void link_lost(struct amqp_link *link, const struct err *why)
{
	uint64_t now = uv_now(link->broker->loop);
	bool had_lasted = link->up_since_ms && now - link->up_since_ms >= SHORT_LIVED_MS;
	double delay_s = had_lasted ? 0 : backoff_next(&link->backoff);

	link_drop(link);
	if (link->is_stopped)
		return;
	if (delay_s < 0)
		link->is_stopped = true;
	else
		uv_timer_start(&link->timer, retry_due, (uint64_t)(delay_s * 1000), 0);
	link->on_retry(link->owner, why, delay_s);
}

bool link_stop(struct amqp_link *link)
{
	link->is_stopped = true;
	uv_timer_stop(&link->timer);
	if (!link->conn)
		return false;
	amqp_conn_close(link->conn);
	return true;
}

void link_drop(struct amqp_link *link)
{
	amqp_conn_free(link->conn);
	link->conn = NULL;
	link->up_since_ms = 0;
}
