#include "worker/report/heartbeat.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "base/log.h"

#define SW_IDENT "smallage"

static struct event_node node_of(const struct heartbeat *h)
{
	return (struct event_node){
		.freq_s = h->interval_s,
		.sw_ident = SW_IDENT,
		.sw_ver = SMALLAGE_VERSION,
		.sw_sys = h->system,
	};
}

static void tell(struct heartbeat *h, const char *type)
{
	struct event_node node = node_of(h);
	struct heartbeat_counts counts = h->counts(h->ctx);

	node.active = counts.active;
	node.processed = counts.processed;
	if (getloadavg(node.loadavg, 3) != 3)
		node.loadavg[0] = node.loadavg[1] = node.loadavg[2] = 0;
	events_node(h->events, type, &node);
}

void heartbeat_now(struct heartbeat *h)
{
	struct event_node node = node_of(h);

	log_debug("Heartbeat requested by remote.");
	node.freq_s = 5;
	node.is_short = true;
	events_node(h->events, "worker-heartbeat", &node);
}

static void on_time(uv_timer_t *timer)
{
	tell(timer->data, "worker-heartbeat");
}

void heartbeat_up(struct heartbeat *h)
{
	uint64_t interval_ms = (uint64_t)(h->interval_s * 1000);

	if (!h->is_on || h->is_online || h->is_over)
		return;
	h->is_online = true;
	tell(h, "worker-online");
	uv_timer_start(&h->timer, on_time, interval_ms, interval_ms);
}

void heartbeat_down(struct heartbeat *h)
{
	if (!h->is_online)
		return;
	h->is_online = false;
	uv_timer_stop(&h->timer);
	tell(h, "worker-offline");
}

void heartbeat_stop(struct heartbeat *h)
{
	heartbeat_down(h);
	h->is_over = true;
}

void heartbeat_init(struct heartbeat *h, uv_loop_t *loop, struct events *events,
		    heartbeat_counts_fn *counts, void *ctx)
{
	const struct config *config = events->config;
	struct utsname names;

	*h = (struct heartbeat){.events = events, .counts = counts, .ctx = ctx};
	h->is_on = !config->without_heartbeat;
	h->interval_s = config->heartbeat_interval > 0 ? config->heartbeat_interval : 2.0;
	snprintf(h->system, sizeof(h->system), "%s", uname(&names) == 0 ? names.sysname : "Linux");
	uv_timer_init(loop, &h->timer);
	h->timer.data = h;
}

void heartbeat_close(struct heartbeat *h)
{
	uv_close((uv_handle_t *)&h->timer, NULL);
}
