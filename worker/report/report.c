#include "worker/report/report.h"

void report_init(struct report *r, const struct report_options *options)
{
	*r = (struct report){0};
	events_init(&r->events, options->loop, options->config, &r->clock);
	heartbeat_init(&r->heartbeat, options->loop, &r->events, options->counts, options->ctx);
	mingle_init(&r->mingle, options->loop, options->config, &r->clock, options->revoked);
	gossip_init(&r->gossip, options->loop, &r->events, options->on_won, options->ctx);
}

int report_open(struct report *r, struct broker *broker, struct err *err)
{
	return mingle_open(&r->mingle, broker, err) < 0 ? -1 : gossip_open(&r->gossip, broker, err);
}

void report_ready(struct report *r)
{
	mingle_up(&r->mingle);
	gossip_up(&r->gossip);
}

void report_up(struct report *r, struct broker *broker)
{
	r->has_writer = !broker;
	if (broker)
		events_up(&r->events, broker);
	heartbeat_up(&r->heartbeat);
}

void report_writer_up(struct report *r, struct broker *writer)
{
	r->has_writer = true;
	events_up(&r->events, writer);
}

void report_writer_down(struct report *r)
{
	events_down(&r->events);
}

void report_down(struct report *r)
{
	/* worker-offline is held until there is a connection again: nothing may hold up a stop. */
	if (!r->has_writer)
		events_down(&r->events);
	heartbeat_down(&r->heartbeat);
	mingle_down(&r->mingle);
	gossip_down(&r->gossip);
}

void report_stop(struct report *r)
{
	heartbeat_stop(&r->heartbeat);
	mingle_stop(&r->mingle);
	gossip_down(&r->gossip);
}

void report_flush(struct report *r)
{
	events_flush(&r->events);
}

void report_close(struct report *r)
{
	heartbeat_close(&r->heartbeat);
	mingle_close(&r->mingle);
	gossip_close(&r->gossip);
	events_close(&r->events);
}

void report_clear(struct report *r)
{
	mingle_clear(&r->mingle);
	gossip_clear(&r->gossip);
	events_clear(&r->events);
}
