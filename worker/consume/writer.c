/* The broker that tasks, retries and events are sent to, where it is not the one they come from
 * (broker_write_url). It never holds up consuming: what cannot be sent waits, bounded as always. */
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "worker/consume/consumer.h"

static bool is_folder(const char *url)
{
	return strncasecmp(url, "filesystem:", strlen("filesystem:")) == 0;
}

bool consumer_has_writer(const struct config *config)
{
	const char *read = config->broker_read_url, *write = config->broker_write_url;

	/* Folders are not named by URLs, so two of these are one. */
	return strcmp(read, write) != 0 && !(is_folder(read) && is_folder(write));
}

static void on_up(void *ctx, const char *host)
{
	struct consumer *c = ctx;

	c->is_writer_up = true;
	log_info("Connected to %s for sending", host);
	if (c->report)
		report_writer_up(c->report, c->writer);
}

static void on_down(void *ctx, const struct err *why, double retry_in_s, int attempt,
		    int max_attempts)
{
	struct consumer *c = ctx;

	(void)attempt;
	(void)max_attempts;
	if (c->is_writer_up)
		log_warning("Connection to %s, which is sent to, was lost: %s", c->writer_label,
			    why->text);
	else if (!c->is_stopping)
		log_error("Cannot connect to %s for sending: %s. Trying again in %.2f seconds...",
			  c->writer_label, why->text, retry_in_s);
	c->is_writer_up = false;
	if (c->report)
		report_writer_down(c->report);
}

/* Nothing is consumed from it. */
static void on_delivery(void *ctx, struct message *message, unsigned session, uint64_t tag)
{
	struct consumer *c = ctx;

	(void)message;
	broker_reject(c->writer, session, tag, true);
}

static void on_notice(void *ctx, bool is_error, const char *text)
{
	(void)ctx;
	log_write(is_error ? LOG_ERROR : LOG_WARNING, NULL, "%s", text);
}

static void on_closed(void *ctx)
{
	struct consumer *c = ctx;

	c->writer = c->finish.broker = NULL;
	c->is_writer_up = false;
	if (c->report)
		report_writer_down(c->report);
	if (c->on_change)
		c->on_change(c->ctx);
}

const struct broker_events consumer_writer_events = {
	.on_up = on_up,
	.on_down = on_down,
	.on_delivery = on_delivery,
	.on_notice = on_notice,
	.on_closed = on_closed,
};

void consumer_broker_stats(const struct consumer *c, struct broker_stats *ret_stats)
{
	struct broker_stats writer = {0};

	*ret_stats = (struct broker_stats){0};
	if (c->broker)
		broker_stats(c->broker, ret_stats);
	if (!c->writer)
		return;
	broker_stats(c->writer, &writer);
	ret_stats->is_blocked |= writer.is_blocked;
	ret_stats->published += writer.published;
	ret_stats->publishes_waiting += writer.publishes_waiting;
	ret_stats->reconnects += writer.reconnects;
}
