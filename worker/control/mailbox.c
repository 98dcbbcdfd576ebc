#include "worker/control/mailbox.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"

/* The default exchange and those of the server are not ours to declare. */
static bool is_declared(const char *exchange)
{
	return *exchange && strncmp(exchange, "amq.", 4) != 0;
}

static void post(struct control *c, struct control_reply *reply)
{
	struct content_label label;
	struct err err = {0};

	if (content_encode(&reply->body, &c->config->mail_form, &label, &err) < 0) {
		log_error("Control command error: the reply: %s", err.text);
		return;
	}
	const struct exchange_def exchange = {.name = reply->exchange, .type = "direct"};
	const struct publication p = {
		.exchange = reply->exchange,
		.routing_key = reply->routing_key,
		.declare_exchange = is_declared(reply->exchange) ? &exchange : NULL,
		.content_type = label.type,
		.content_encoding = label.encoding,
		.priority = 0,
		.delivery_mode = 1,
		.headers = reply->headers,
		.body = reply->body.data,
		.body_len = reply->body.len,
	};

	broker_post(c->consumer->broker, &p);
}

static void on_mail(void *ctx, struct message *message)
{
	struct control *c = ctx;
	struct control_reply reply;

	control_handle(c, message, &reply);
	if (reply.exchange && c->consumer->broker)
		post(c, &reply);
	control_reply_clear(&reply);
}

int mailbox_listen(struct control *c, struct err *err)
{
	const struct config *config = c->config;
	auto_free char *exchange = mem_printf("%s.pidbox", config->control_exchange);
	auto_free char *queue = mem_printf("%s.%s", config->node_name, exchange);
	const struct mailbox_def def = {
		.queue = queue,
		.exchange = exchange,
		.exchange_type = "fanout",
		.binding_key = "",
		.is_durable = config->control_queue_durable,
		.is_exclusive = config->control_queue_exclusive,
		.ttl_s = config->control_queue_ttl,
		.expires_s = config->control_queue_expires,
	};
	struct err why = {0};

	if (!config->worker_enable_remote_control)
		return 0;
	if (broker_listen(c->consumer->broker, &def, on_mail, c, &why) == 0)
		return 0;
	if (why.code == ERR_UNSUPPORTED) {
		log_info("No remote control: %s", why.text);
		return 0;
	}
	return err_set(err, why.code, "remote control: %s", why.text);
}
