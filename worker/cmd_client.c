#include "worker/cmd_client.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "worker/backend_config.h"

#define CLOSE_DEADLINE_S 2.0

/* A turn of the loop that a timer began would still wait for input at its end. */
void client_wake(struct client *c)
{
	uv_stop(&c->loop);
}

static void on_up(void *ctx, const char *host)
{
	struct client *c = ctx;

	snprintf(c->host, sizeof(c->host), "%s", host);
	c->is_broker_up = true;
	c->is_broker_settled = true;
	client_wake(c);
}

static void on_down(void *ctx, const struct err *why, double retry_in_s, int attempt,
		    int max_attempts)
{
	struct client *c = ctx;

	(void)attempt;
	(void)max_attempts;
	c->broker_err = *why;
	c->is_broker_up = false;
	if (retry_in_s < 0)
		c->is_broker_settled = true;
	client_wake(c);
}

/* Nothing is consumed, so nothing is delivered. */
static void on_delivery(void *ctx, struct message *message, unsigned session, uint64_t tag)
{
	struct client *c = ctx;

	(void)message;
	broker_reject(c->broker, session, tag, true);
}

static void on_broker_notice(void *ctx, bool is_error, const char *text)
{
	struct client *c = ctx;

	if (is_error) {
		c->is_broker_in_trouble = true;
		err_clear(&c->broker_err);
		err_set(&c->broker_err, ERR_IO, "%s", text);
	}
}

static void on_broker_closed(void *ctx)
{
	struct client *c = ctx;

	c->broker = NULL;
	c->is_broker_closed = true;
	client_wake(c);
}

static const struct broker_events events = {
	.on_up = on_up,
	.on_down = on_down,
	.on_delivery = on_delivery,
	.on_notice = on_broker_notice,
	.on_closed = on_broker_closed,
};

static void on_backend_notice(void *ctx, bool is_error, const char *text)
{
	struct client *c = ctx;

	err_clear(&c->backend_err);
	err_set(&c->backend_err, ERR_IO, "%s", text);
	if (is_error)
		c->is_backend_failed = true;
}

static void on_backend_room(void *ctx)
{
	(void)ctx;
}

static void on_backend_closed(void *ctx)
{
	struct client *c = ctx;

	c->backend = NULL;
	c->is_backend_closed = true;
	client_wake(c);
}

void client_open(struct client *c, const struct config *config)
{
	memset(c, 0, sizeof(*c));
	c->config = config;
	c->broker_url = config->broker_write_url;
	uv_loop_init(&c->loop);
	uv_timer_init(&c->loop, &c->timer);
	c->timer.data = c;
}

static void on_time_over(uv_timer_t *timer)
{
	struct client *c = timer->data;

	c->is_time_over = true;
}

bool client_wait(struct client *c, const bool *flag, double seconds)
{
	c->is_time_over = false;
	uv_update_time(&c->loop);
	uv_timer_start(&c->timer, on_time_over, (uint64_t)(seconds * 1000), 0);
	while (!*flag && !c->is_time_over)
		uv_run(&c->loop, UV_RUN_ONCE);
	uv_timer_stop(&c->timer);
	return *flag;
}

/* Every URL of a fail-over list gets one try. */
static int url_count(const char *urls)
{
	int count = 1;

	for (; *urls; urls++)
		count += *urls == ';';
	return count;
}

int client_open_broker(struct client *c, struct err *err)
{
	const struct config *config = c->config;
	const struct broker_options options = {
		.loop = &c->loop,
		.url = c->broker_url,
		.events = &events,
		.ctx = c,
		.heartbeat_s = config->broker_heartbeat,
		.connect_timeout_s = config->broker_connection_timeout,
		.max_retries = url_count(c->broker_url) - 1,
		.retry_on_startup = true,
		.max_message_bytes = config->worker_max_message_bytes,
		.max_publish_bytes = config->worker_max_waiting_bytes,
		.transport_options = config->broker_transport_options,
		.tls = config->broker_use_ssl,
		.login_method = config->broker_login_method,
		.product_version = SMALLAGE_VERSION,
		.node_name = config->node_name,
	};

	c->broker = broker_open(&options, err);
	return c->broker ? 0 : -1;
}

int client_await_broker(struct client *c, double timeout_s, struct err *err)
{
	broker_start(c->broker);
	if (!client_wait(c, &c->is_broker_settled, timeout_s))
		return err_set(err, ERR_TIMEOUT, "no connection within %g s%s%s", timeout_s,
			       c->broker_err.text[0] ? ": " : "", c->broker_err.text);
	if (!c->is_broker_up)
		return err_set(err, ERR_IO, "%s",
			       c->broker_err.text[0] ? c->broker_err.text : "no connection");
	return 0;
}

int client_connect_broker(struct client *c, double timeout_s, struct err *err)
{
	if (client_open_broker(c, err) != 0)
		return -1;
	return client_await_broker(c, timeout_s, err);
}

int client_connect_backend(struct client *c, struct err *err)
{
	struct backend_options options = {
		.loop = &c->loop,
		.connect_timeout_s = c->config->broker_connection_timeout,
		.on_notice = on_backend_notice,
		.on_room = on_backend_room,
		.on_closed = on_backend_closed,
		.ctx = c,
	};

	c->backend = backend_config_open(c->config, &options, err);
	return c->backend ? 0 : -1;
}

static void on_probed(void *ctx, const char *record, size_t len, const struct err *err)
{
	struct client *c = ctx;

	(void)record;
	(void)len;
	if (err)
		c->probe_err = *err;
	c->is_probed = true;
	client_wake(c);
}

int client_probe_backend(struct client *c, double timeout_s, struct err *err)
{
	double waited = 0;
	char id[37];

	uuid4(id);
	backend_get(c->backend, id, on_probed, c);
	/* A store waits an outage out; one refused connection is answer enough here. */
	while (!c->is_probed && !c->is_backend_failed && waited < timeout_s) {
		client_wait(c, &c->is_probed, 0.05);
		waited += 0.05;
	}
	if (!c->is_probed)
		return err_set(err, ERR_TIMEOUT, "%s",
			       c->backend_err.text[0] ? c->backend_err.text : "no answer");
	if (c->probe_err.code != ERR_NONE)
		return err_set(err, c->probe_err.code, "%s", c->probe_err.text);
	return 0;
}

static void close_handle(uv_handle_t *handle, void *ctx)
{
	(void)ctx;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

void client_close(struct client *c)
{
	if (c->broker) {
		broker_close(c->broker, CLOSE_DEADLINE_S);
		client_wait(c, &c->is_broker_closed, CLOSE_DEADLINE_S + 1);
	}
	if (c->backend) {
		backend_close(c->backend, CLOSE_DEADLINE_S);
		client_wait(c, &c->is_backend_closed, CLOSE_DEADLINE_S + 1);
	}
	if (c->broker || c->backend)
		return; /* something hangs; the process ends anyway */
	uv_walk(&c->loop, close_handle, NULL);
	uv_run(&c->loop, UV_RUN_DEFAULT);
	uv_loop_close(&c->loop);
}
