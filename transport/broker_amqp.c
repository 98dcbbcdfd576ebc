#include "transport/broker_amqp.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"

static struct amqp_broker *amqp_of(struct broker *b)
{
	return (struct amqp_broker *)b; /* base is its first member */
}

void amqp_broker_notice(struct amqp_broker *b, bool is_error, const char *fmt, ...)
{
	char text[800];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	/* Routing keys and the like come from strangers: no line breaks, no broken UTF-8. */
	bool is_text = utf8_is_valid(text, strlen(text));
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f || (!is_text && (*p & 0x80)))
			*p = '?';
	b->base.events->on_notice(b->base.ctx, is_error, text);
}

/* Opening */

/* As in kombu, amqps:// says no more than that TLS is wanted, and the setting says it too. Beyond
 * kombu, the certificate's name must be the host's. */
static int tls_load(struct tls_context **ret_tls, const char *setting, const struct url *url,
		    struct err *err)
{
	struct tls_options options = {0};
	int is_wanted = tls_options_decide(&options, TLS_FOR_AMQP, setting, url, err);

	if (is_wanted > 0)
		*ret_tls = tls_context_new(&options, err);
	tls_options_clear(&options);
	return is_wanted < 0 || (is_wanted > 0 && !*ret_tls) ? err_prefix(err, "TLS: ") : 0;
}

static int url_complete(struct url *url, bool has_tls, struct err *err)
{
	free(url->scheme);
	url->scheme = mem_strdup(has_tls ? "amqps" : "amqp");
	if (!url->host)
		url->host = mem_strdup("localhost");
	if (!url->port)
		url->port = has_tls ? 5671 : 5672;
	if (!url->user)
		url->user = mem_strdup("guest");
	if (!url->password)
		url->password = mem_strdup("guest");
	if (!*url->path) {
		free(url->path);
		url->path = mem_strdup("/");
	}
	if (strlen(url->path) > 255)
		return err_set(err, ERR_LIMIT, "virtual host of more than 255 bytes");
	return 0;
}

static bool is_amqp(const char *scheme)
{
	return strcmp(scheme, "amqp") == 0 || strcmp(scheme, "amqps") == 0 ||
	       strcmp(scheme, "pyamqp") == 0;
}

static int urls_load(struct amqp_broker *b, const char *list, const char *tls, struct err *err)
{
	char *item;

	while ((item = url_list_item(list, b->url_count)) != NULL) {
		auto_free char *text = item;
		b->urls = mem_realloc(b->urls, (b->url_count + 1) * sizeof(b->urls[0]));
		b->tls = mem_realloc(b->tls, (b->url_count + 1) * sizeof(b->tls[0]));
		struct url *url = &b->urls[b->url_count];
		struct tls_context **context = &b->tls[b->url_count];
		if (url_parse(url, text, err) != 0)
			return -1;
		*context = NULL;
		b->url_count++;
		if (!is_amqp(url->scheme))
			return err_set(err, ERR_INVALID,
				       "all URLs of a fail-over list must be amqp:// or amqps://, "
				       "but one is %.20s://",
				       url->scheme);
		if (tls_load(context, tls, url, err) != 0 ||
		    url_complete(url, *context != NULL, err) != 0)
			return -1;
	}
	return b->url_count ? 0 : err_set(err, ERR_INVALID, "no broker URL");
}

/* The query of the first URL overrides settings, as in kombu. */
static int query_number(const struct url *url, const char *name, double *ret, struct err *err)
{
	auto_free char *text = url_query(url, name);
	char *end;

	if (!text)
		return 0;
	*ret = strtod(text, &end);
	if (*end || !(*ret >= 0 && *ret <= 86400))
		return err_set(err, ERR_INVALID,
			       "%s=%.40s in the broker URL is no number of seconds", name, text);
	return 0;
}

static void broker_free(struct amqp_broker *b)
{
	for (unsigned i = 0; i < b->url_count; i++) {
		url_clear(&b->urls[i]);
		tls_context_free(b->tls[i]);
	}
	free(b->urls);
	free(b->tls);
	free(b->product_version);
	free(b->node_name);
	free(b);
}

static struct broker *amqp_open(const struct broker_options *options, struct err *err)
{
	struct amqp_broker *b = mem_calloc(1, sizeof(*b));

	b->heartbeat_s = options->heartbeat_s;
	b->connect_timeout_s = options->connect_timeout_s;
	if (urls_load(b, options->url, options->tls, err) != 0 ||
	    query_number(&b->urls[0], "heartbeat", &b->heartbeat_s, err) != 0 ||
	    query_number(&b->urls[0], "connect_timeout", &b->connect_timeout_s, err) != 0) {
		broker_free(b);
		return NULL;
	}
	b->base = (struct broker){
		.driver = &broker_amqp_driver,
		.events = options->events,
		.ctx = options->ctx,
	};
	b->loop = options->loop;
	b->max_message_bytes = options->max_message_bytes;
	b->max_publish_bytes = options->max_publish_bytes;
	b->is_retry_on_startup = options->retry_on_startup;
	b->is_login_external =
		options->login_method && strcasecmp(options->login_method, "EXTERNAL") == 0;
	b->purges = options->purges;
	b->ignores_quorum = options->ignores_quorum;
	b->product_version = mem_strdup(options->product_version ? options->product_version : "");
	b->node_name = mem_strdup(options->node_name ? options->node_name : "smallage");
	amqp_consumer_init(&b->consumer, b, options->max_retries);
	amqp_publisher_init(&b->publisher, b);
	uv_timer_init(b->loop, &b->close_timer);
	b->close_timer.data = b;
	return &b->base;
}

/* The interface */

static int amqp_consume(struct broker *base, const struct queue_def *queue, struct err *err)
{
	return amqp_consumer_add(&amqp_of(base)->consumer, queue, err);
}

static void amqp_cancel(struct broker *base, const char *queue)
{
	amqp_consumer_cancel(&amqp_of(base)->consumer, queue);
}

static void amqp_start(struct broker *base)
{
	struct amqp_broker *b = amqp_of(base);

	b->is_started = true;
	link_start(&b->consumer.link);
	amqp_publisher_start(&b->publisher);
}

static void amqp_qos(struct broker *base, unsigned count, unsigned waiting)
{
	amqp_consumer_qos(&amqp_of(base)->consumer, count, waiting);
}

static void amqp_ack(struct broker *base, unsigned session, uint64_t tag)
{
	amqp_consumer_settle(&amqp_of(base)->consumer, session, tag, SETTLE_ACK);
}

static void amqp_reject(struct broker *base, unsigned session, uint64_t tag, bool requeue)
{
	amqp_consumer_settle(&amqp_of(base)->consumer, session, tag,
			     requeue ? SETTLE_REQUEUE : SETTLE_REJECT);
}

static void amqp_delay(struct broker *base, const char *queue_type)
{
	delay_want(&amqp_of(base)->consumer, queue_type);
}

static bool amqp_can_delay(const struct broker *base, const char *exchange, const char *routing_key)
{
	return delay_reaches(&((const struct amqp_broker *)base)->consumer, exchange, routing_key);
}

static void amqp_pause(struct broker *base)
{
	amqp_consumer_pause(&amqp_of(base)->consumer);
}

static int amqp_publish(struct broker *base, const struct publication *p, broker_published_fn *done,
			void *ctx, struct err *err)
{
	return amqp_publisher_add(&amqp_of(base)->publisher, p, done, ctx, err);
}

static int amqp_listen(struct broker *base, const struct mailbox_def *def, broker_mail_fn *on_mail,
		       void *ctx, struct err *err)
{
	return mailboxes_add(&amqp_of(base)->consumer.mailboxes, def, on_mail, ctx, err);
}

static void amqp_unlisten(struct broker *base, const char *queue)
{
	mailboxes_remove(&amqp_of(base)->consumer.mailboxes, queue);
}

static void amqp_post(struct broker *base, const struct publication *p)
{
	amqp_publisher_post(&amqp_of(base)->publisher, p);
}

/* Closing */

static void timer_closed(uv_handle_t *handle)
{
	struct amqp_broker *b = handle->data;

	if (--b->timers_open > 0)
		return;
	b->base.events->on_closed(b->base.ctx);
	broker_free(b);
}

static void timer_close(struct amqp_broker *b, uv_timer_t *timer)
{
	timer->data = b;
	b->timers_open++;
	uv_close((uv_handle_t *)timer, timer_closed);
}

static void close_finished(uv_timer_t *timer)
{
	struct amqp_broker *b = timer->data;

	amqp_consumer_clear(&b->consumer);
	amqp_publisher_clear(&b->publisher);
	timer_close(b, &b->consumer.link.timer);
	timer_close(b, &b->consumer.retry_timer);
	timer_close(b, &b->consumer.hold_timer);
	timer_close(b, &b->consumer.mailboxes.timer);
	timer_close(b, &b->publisher.link.timer);
	timer_close(b, &b->close_timer);
}

void amqp_broker_part_closed(struct amqp_broker *b)
{
	if (--b->parts_open == 0)
		uv_timer_start(&b->close_timer, close_finished, 0, 0);
}

static void amqp_close(struct broker *base, double deadline_s)
{
	struct amqp_broker *b = amqp_of(base);

	if (b->is_closing)
		return;
	b->is_closing = true;
	b->parts_open = 2;
	uv_timer_start(&b->close_timer, close_finished,
		       deadline_s > 0 ? (uint64_t)(deadline_s * 1000) : 0, 0);
	amqp_consumer_pause(&b->consumer);
	amqp_consumer_close(&b->consumer);
	amqp_publisher_close(&b->publisher);
}

static void amqp_stats(const struct broker *base, struct broker_stats *ret_stats)
{
	const struct amqp_broker *b = (const struct amqp_broker *)base;
	auto_str host;

	*ret_stats = (struct broker_stats){
		.is_up = b->consumer.is_up,
		.is_blocked = b->publisher.is_blocked,
		.session = b->session,
		.delivered = b->delivered,
		.acked = b->acked,
		.rejected = b->rejected,
		.published = b->published,
		.reconnects = b->reconnects,
		.late_acks = b->late_acks,
		.mails = b->mails,
		.posts = b->posts,
		.posts_dropped = b->posts_dropped,
		.publishes_waiting = b->publisher.count,
	};
	str_init(&host, sizeof(ret_stats->host) - 1);
	url_format_redacted(&host, &b->urls[b->consumer.link.url_index]);
	if (host.data)
		memcpy(ret_stats->host, host.data, host.len + 1);
}

static const char *const schemes[] = {"amqp", "pyamqp", "amqps", NULL};

const struct broker_driver broker_amqp_driver = {
	.schemes = schemes,
	.event_exchange_type = "topic",
	.has_neighbors = true,
	.open = amqp_open,
	.consume = amqp_consume,
	.cancel = amqp_cancel,
	.start = amqp_start,
	.qos = amqp_qos,
	.ack = amqp_ack,
	.reject = amqp_reject,
	.delay = amqp_delay,
	.can_delay = amqp_can_delay,
	.pause = amqp_pause,
	.close = amqp_close,
	.publish = amqp_publish,
	.listen = amqp_listen,
	.unlisten = amqp_unlisten,
	.post = amqp_post,
	.stats = amqp_stats,
};
