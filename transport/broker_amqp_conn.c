#include "transport/broker_amqp_conn.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "transport/amqp_field.h"
#include "transport/stream.h"

#define FRAME_MAX	    131072
#define FRAME_EXTRA	    8		/* head and end mark */
#define METHOD_MAX	    (16 * 1024) /* of the methods we send; tables in them are ours */
#define LOGIN_TIMEOUT_MIN_S 10
#define POOL_PAGE	    4096
#define TLS_ALERT	    "\25\3" /* how a server that speaks TLS answers one that does not */

enum conn_state { CONN_LOGIN, CONN_OPEN, CONN_CLOSING, CONN_CLOSED_BY_PEER, CONN_DOWN };

struct amqp_conn {
	struct stream *stream;
	const struct amqp_conn_events *events;
	void *ctx;
	enum conn_state state;
	bool is_login_external;
	uv_loop_t *loop;
	const struct url *url; /* the driver's, which outlives us */
	char *product_version, *name;
	double heartbeat_s;
	double login_timeout_s;
	uint64_t heartbeat_ms; /* as negotiated; 0 = off */
	uint64_t timer_due_ms;
	bool is_late; /* the loop was held up, so silence proves nothing yet */
	size_t frame_max;
	unsigned server_version;
	uv_timer_t timer; /* end of login; heartbeats; end of close */
	struct err why;	  /* the peer's reason to close */
	amqp_pool_t pool;
};

static void conn_down(struct amqp_conn *c, const struct err *why)
{
	if (c->state == CONN_DOWN)
		return;
	c->state = CONN_DOWN;
	uv_timer_stop(&c->timer);
	stream_close(c->stream);
	c->stream = NULL;
	c->events->on_down(c->ctx, why);
}

static void conn_broken(struct amqp_conn *c, const char *what)
{
	struct err err = {0};

	err_set(&err, ERR_PROTOCOL, "the broker broke the protocol: %s", what);
	conn_down(c, &err);
}

/* Sending */

static void put_u32(unsigned char *p, size_t value)
{
	p[0] = (unsigned char)(value >> 24);
	p[1] = (unsigned char)(value >> 16);
	p[2] = (unsigned char)(value >> 8);
	p[3] = (unsigned char)value;
}

static void put_head(unsigned char *p, uint8_t type, unsigned channel, size_t len)
{
	p[0] = type;
	p[1] = (unsigned char)(channel >> 8);
	p[2] = (unsigned char)channel;
	put_u32(p + 3, len);
}

int amqp_conn_send_frame(struct amqp_conn *c, unsigned channel, uint8_t type, const void *payload,
			 size_t len)
{
	unsigned char head[7];

	if (!c->stream)
		return -1;
	struct str *out = stream_output(c->stream);
	if (out->max - out->len < len + FRAME_EXTRA)
		return -1;
	put_head(head, type, channel, len);
	str_add(out, head, sizeof(head));
	str_add(out, payload, len);
	return str_addc(out, (char)AMQP_FRAME_END);
}

int amqp_conn_send(struct amqp_conn *c, unsigned channel, amqp_method_number_t id, void *method)
{
	if (!c->stream)
		return -1;
	struct str *out = stream_output(c->stream);
	if (out->max - out->len < METHOD_MAX + 4 + FRAME_EXTRA)
		return -1;
	unsigned char *p = (unsigned char *)str_reserve(out, METHOD_MAX + 4 + FRAME_EXTRA);
	amqp_bytes_t encoded = {.len = METHOD_MAX, .bytes = p + 11};
	int len = amqp_encode_method(id, method, encoded);
	if (len < 0)
		return -1;
	put_head(p, AMQP_FRAME_METHOD, channel, (size_t)len + 4);
	put_u32(p + 7, id);
	p[11 + len] = AMQP_FRAME_END;
	str_commit(out, (size_t)len + 4 + FRAME_EXTRA);
	return 0;
}

void amqp_conn_wake(struct amqp_conn *c)
{
	if (c->stream)
		stream_wake(c->stream);
}

size_t amqp_conn_pending(const struct amqp_conn *c)
{
	return c->stream ? stream_pending(c->stream) : 0;
}

size_t amqp_conn_max_payload(const struct amqp_conn *c)
{
	return c->frame_max - FRAME_EXTRA;
}

unsigned amqp_conn_rabbitmq_version(const struct amqp_conn *c)
{
	return c->server_version;
}

/* Heartbeats */

static void heartbeat_due(uv_timer_t *timer);

static void heartbeat_arm(struct amqp_conn *c)
{
	uint64_t now = uv_now(c->loop);
	uint64_t send_at = stream_last_write_ms(c->stream) + c->heartbeat_ms / 2;
	uint64_t dead_at = stream_last_read_ms(c->stream) + 2 * c->heartbeat_ms;

	c->timer_due_ms = send_at < dead_at ? send_at : dead_at;
	if (c->timer_due_ms <= now) /* what we sent has not left yet */
		c->timer_due_ms = now + c->heartbeat_ms / 8 + 1;
	uv_timer_start(&c->timer, heartbeat_due, c->timer_due_ms - now, 0);
}

static void heartbeat_due(uv_timer_t *timer)
{
	struct amqp_conn *c = timer->data;
	struct err err = {0};
	uint64_t now = uv_now(c->loop);
	/* After a stop of our own process its bytes may be waiting unread. */
	bool was_late = now > c->timer_due_ms + c->heartbeat_ms / 2 && !c->is_late;

	c->is_late = was_late;
	if (was_late) {
		c->timer_due_ms = now + 200;
		uv_timer_start(&c->timer, heartbeat_due, 200, 0);
		return;
	}
	if (now >= stream_last_read_ms(c->stream) + 2 * c->heartbeat_ms) {
		err_set(&err, ERR_TIMEOUT, "no heartbeat from the broker for %.0f seconds",
			(double)(2 * c->heartbeat_ms) / 1000);
		conn_down(c, &err);
		return;
	}
	if (now >= stream_last_write_ms(c->stream) + c->heartbeat_ms / 2 &&
	    amqp_conn_pending(c) == 0)
		amqp_conn_send_frame(c, 0, AMQP_FRAME_HEARTBEAT, "", 0);
	heartbeat_arm(c);
}

/* Login */

static amqp_bytes_t text_bytes(const char *text)
{
	amqp_bytes_t bytes = {.len = strlen(text)};

	memcpy(&bytes.bytes, &text, sizeof(text)); /* the library only reads it */
	return bytes;
}

static bool bytes_have(amqp_bytes_t bytes, const char *word)
{
	return bytes.len > 0 && memmem(bytes.bytes, bytes.len, word, strlen(word)) != NULL;
}

static void server_note(struct amqp_conn *c, const amqp_table_t *properties)
{
	json_t *object = amqp_field_to_json(properties);
	const char *product = json_string_value(json_object_get(object, "product"));
	const char *version = json_string_value(json_object_get(object, "version"));
	unsigned major = 0, minor = 0;

	if (product && version && strcmp(product, "RabbitMQ") == 0 &&
	    sscanf(version, "%3u.%3u", &major, &minor) >= 1)
		c->server_version = major * 100 + (minor < 99 ? minor : 99);
	json_decref(object);
}

static json_t *client_properties(const struct amqp_conn *c)
{
	return json_pack("{s:s, s:s, s:s, s:{s:b, s:b, s:b}}", "product", "smallage",
			 "product_version", c->product_version, "connection_name", c->name,
			 "capabilities", "consumer_cancel_notify", 1, "connection.blocked", 1,
			 "authentication_failure_close", 1);
}

static void start_received(struct amqp_conn *c, const amqp_connection_start_t *start)
{
	auto_str response;
	amqp_pool_t pool;
	const char *mechanism = c->is_login_external ? "EXTERNAL" : "PLAIN";
	amqp_connection_start_ok_t ok = {.mechanism = text_bytes(mechanism),
					 .locale = text_bytes("en_US")};

	str_init(&response, 8192);
	if (!bytes_have(start->mechanisms, mechanism)) {
		struct err err = {0};
		err_set(&err, ERR_UNSUPPORTED, "the broker offers no %s login", mechanism);
		conn_down(c, &err);
		return;
	}
	server_note(c, &start->server_properties);
	if (!c->is_login_external) {
		str_addc(&response, '\0');
		str_puts(&response, c->url->user);
		str_addc(&response, '\0');
		str_puts(&response, c->url->password);
	}
	ok.response = (amqp_bytes_t){.len = response.len, .bytes = response.data};
	json_t *properties = client_properties(c);
	init_amqp_pool(&pool, POOL_PAGE);
	if (amqp_field_from_json(properties, &pool, &ok.client_properties, NULL) != 0 ||
	    amqp_conn_send(c, 0, AMQP_CONNECTION_START_OK_METHOD, &ok) != 0)
		conn_broken(c, "login could not be encoded");
	empty_amqp_pool(&pool);
	json_decref(properties);
	if (response.len > 0)
		explicit_bzero(response.data, response.len);
}

static void tune_received(struct amqp_conn *c, const amqp_connection_tune_t *tune)
{
	unsigned ours = c->heartbeat_s <= 0 ? 0 : (unsigned)(c->heartbeat_s + 0.5);
	unsigned heartbeat = ours > 65535 ? 65535 : ours;
	amqp_connection_tune_ok_t ok = {.channel_max = tune->channel_max};
	amqp_connection_open_t open = {.virtual_host = text_bytes(c->url->path),
				       .capabilities = text_bytes("")};

	if (c->heartbeat_s > 0 && heartbeat == 0)
		heartbeat = 1;
	if (heartbeat > 0 && tune->heartbeat > 0 && tune->heartbeat < heartbeat)
		heartbeat = tune->heartbeat;
	if (tune->frame_max >= AMQP_FRAME_MIN_SIZE && tune->frame_max < FRAME_MAX)
		c->frame_max = tune->frame_max;
	c->heartbeat_ms = (uint64_t)heartbeat * 1000;
	ok.frame_max = (uint32_t)c->frame_max;
	ok.heartbeat = (uint16_t)heartbeat;
	if (amqp_conn_send(c, 0, AMQP_CONNECTION_TUNE_OK_METHOD, &ok) != 0 ||
	    amqp_conn_send(c, 0, AMQP_CONNECTION_OPEN_METHOD, &open) != 0)
		conn_broken(c, "login could not be encoded");
}

static void open_received(struct amqp_conn *c)
{
	c->state = CONN_OPEN;
	uv_timer_stop(&c->timer);
	if (c->heartbeat_ms > 0)
		heartbeat_arm(c);
	c->events->on_open(c->ctx);
}

static void login_timeout(uv_timer_t *timer)
{
	struct amqp_conn *c = timer->data;
	struct err err = {0};

	err_set(&err, ERR_TIMEOUT, "the broker did not finish the login in %.0f seconds",
		c->login_timeout_s);
	conn_down(c, &err);
}

/* The end */

static void close_timeout(uv_timer_t *timer)
{
	struct amqp_conn *c = timer->data;

	conn_down(c, c->state == CONN_CLOSING ? NULL : &c->why);
}

/* Codes after which trying the same again helps (AMQP 0-9-1, "connection-forced" and ours). */
static enum err_code reply_class(unsigned code)
{
	return code == 320 || code == 311 || code == 313 || code == 506 || code == 541
		       ? ERR_IO
		       : ERR_REFUSED;
}

static void close_received(struct amqp_conn *c, const amqp_connection_close_t *close)
{
	amqp_connection_close_ok_t ok = {0};
	json_t *text = amqp_field_string(close->reply_text.bytes, close->reply_text.len);

	/* The text begins with the code's name: "ACCESS_REFUSED - Login was refused ..." */
	err_set(&c->why, reply_class(close->reply_code), "%u %s", close->reply_code,
		json_string_value(text));
	json_decref(text);
	c->state = CONN_CLOSED_BY_PEER;
	amqp_conn_send(c, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
	uv_timer_start(&c->timer, close_timeout, 500, 0);
}

void amqp_conn_close(struct amqp_conn *c)
{
	amqp_connection_close_t close = {.reply_code = 200, .reply_text = text_bytes("bye")};

	if (c->state == CONN_OPEN &&
	    amqp_conn_send(c, 0, AMQP_CONNECTION_CLOSE_METHOD, &close) == 0) {
		uv_timer_start(&c->timer, close_timeout, 2000, 0);
		c->state = CONN_CLOSING;
	} else if (c->state == CONN_OPEN || c->state == CONN_LOGIN) {
		/* Through the loop, never from inside this call. */
		uv_timer_start(&c->timer, close_timeout, 0, 0);
		c->state = CONN_CLOSING;
	}
}

/* Receiving */

static void control_received(struct amqp_conn *c, const amqp_method_t *m)
{
	const amqp_connection_blocked_t *blocked = m->decoded;

	switch (m->id) {
	case AMQP_CONNECTION_CLOSE_METHOD:
		close_received(c, m->decoded);
		return;
	case AMQP_CONNECTION_CLOSE_OK_METHOD:
		if (c->state == CONN_CLOSING || c->state == CONN_CLOSED_BY_PEER)
			conn_down(c, c->state == CONN_CLOSING ? NULL : &c->why);
		else
			conn_broken(c, "an answer to a close that was not sent");
		return;
	case AMQP_CONNECTION_BLOCKED_METHOD: {
		json_t *reason = amqp_field_string(blocked->reason.bytes, blocked->reason.len);
		c->events->on_blocked(c->ctx, json_string_value(reason));
		json_decref(reason);
		return;
	}
	case AMQP_CONNECTION_UNBLOCKED_METHOD:
		c->events->on_blocked(c->ctx, NULL);
		return;
	default:
		break;
	}
	if (c->state != CONN_LOGIN)
		return;
	if (m->id == AMQP_CONNECTION_START_METHOD)
		start_received(c, m->decoded);
	else if (m->id == AMQP_CONNECTION_TUNE_METHOD)
		tune_received(c, m->decoded);
	else if (m->id == AMQP_CONNECTION_OPEN_OK_METHOD)
		open_received(c);
	else
		conn_broken(c, "unexpected method at login");
}

/* Methods with a table that only clients send. The library would decode tables in tables to any
 * depth, so none of them gets there. */
static bool is_clients_method(uint32_t id)
{
	switch (id) {
	case AMQP_CONNECTION_START_OK_METHOD:
	case AMQP_EXCHANGE_DECLARE_METHOD:
	case AMQP_EXCHANGE_BIND_METHOD:
	case AMQP_EXCHANGE_UNBIND_METHOD:
	case AMQP_QUEUE_DECLARE_METHOD:
	case AMQP_QUEUE_BIND_METHOD:
	case AMQP_QUEUE_UNBIND_METHOD:
	case AMQP_BASIC_CONSUME_METHOD:
		return true;
	default:
		return false;
	}
}

static void method_received(struct amqp_conn *c, unsigned channel, struct span payload)
{
	amqp_method_t m = {0};
	uint32_t id;

	if (payload.len < 4) {
		conn_broken(c, "method frame without method");
		return;
	}
	memcpy(&id, payload.data, 4);
	m.id = ntohl(id);
	amqp_bytes_t encoded = {.len = payload.len - 4};
	const char *arguments = payload.data + 4;
	memcpy(&encoded.bytes, &arguments, sizeof(arguments));
	if (is_clients_method(m.id)) {
		conn_broken(c, "a method that only clients send");
		return;
	}
	/* The only table a server sends in a method. */
	if (m.id == AMQP_CONNECTION_START_METHOD &&
	    (encoded.len < 2 ||
	     amqp_field_scan(arguments + 2, encoded.len - 2, NULL, NULL, NULL) != 0)) {
		conn_broken(c, "bad server properties");
		return;
	}
	if (amqp_decode_method(m.id, &c->pool, encoded, &m.decoded) != 0) {
		conn_broken(c, "a method could not be decoded");
		return;
	}
	if (channel == 0) {
		control_received(c, &m);
		return;
	}
	if (m.id == AMQP_CHANNEL_CLOSE_METHOD) {
		amqp_channel_close_ok_t ok = {0};
		amqp_conn_send(c, channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
	}
	c->events->on_method(c->ctx, channel, &m);
}

static void frame_received(struct amqp_conn *c, uint8_t type, unsigned channel, struct span payload)
{
	if (c->state == CONN_CLOSED_BY_PEER && channel != 0)
		return;
	if (c->state == CONN_LOGIN && channel != 0) {
		conn_broken(c, "channels before the login");
		return;
	}
	switch (type) {
	case AMQP_FRAME_METHOD:
		method_received(c, channel, payload);
		break;
	case AMQP_FRAME_HEADER:
		c->events->on_header(c->ctx, channel, payload);
		break;
	case AMQP_FRAME_BODY:
		c->events->on_body(c->ctx, channel, payload);
		break;
	case AMQP_FRAME_HEARTBEAT:
		break;
	default:
		conn_broken(c, "unknown type of frame");
		break;
	}
	/* Messages with many headers make it grow; what is kept is bounded by one frame. */
	recycle_amqp_pool(&c->pool);
}

static size_t data_received(void *ctx, const char *data, size_t len)
{
	struct amqp_conn *c = ctx;
	size_t used = 0;

	if (c->state == CONN_LOGIN && len >= 4 && memcmp(data, "AMQP", 4) == 0) {
		conn_broken(c, "it does not speak AMQP 0-9-1");
		return len;
	}
	if (c->state == CONN_LOGIN && len >= 2 && memcmp(data, TLS_ALERT, 2) == 0) {
		conn_broken(c, "it speaks TLS on this port: use amqps://");
		return len;
	}
	while (c->state != CONN_DOWN && len - used >= FRAME_EXTRA) {
		uint16_t channel;
		uint32_t size;
		memcpy(&channel, data + used + 1, sizeof(channel));
		memcpy(&size, data + used + 3, sizeof(size));
		struct span payload = {.data = data + used + 7, .len = ntohl(size)};
		if (payload.len > c->frame_max - FRAME_EXTRA) {
			conn_broken(c, "frame above the negotiated size");
			break;
		}
		if (len - used < payload.len + FRAME_EXTRA)
			break;
		if ((unsigned char)payload.data[payload.len] != AMQP_FRAME_END) {
			conn_broken(c, "frame without end mark");
			break;
		}
		frame_received(c, (uint8_t)data[used], ntohs(channel), payload);
		used += payload.len + FRAME_EXTRA;
	}
	return used;
}

static void stream_connected(void *ctx)
{
	struct amqp_conn *c = ctx;

	uv_timer_start(&c->timer, login_timeout, (uint64_t)(c->login_timeout_s * 1000), 0);
	stream_write(c->stream, "AMQP\0\0\11\1", 8);
}

static void stream_flush(void *ctx)
{
	struct amqp_conn *c = ctx;

	if (c->state == CONN_OPEN)
		c->events->on_flush(c->ctx);
}

static void stream_failed(void *ctx, const struct err *why)
{
	struct amqp_conn *c = ctx;

	if (c->state == CONN_CLOSED_BY_PEER)
		why = &c->why;
	conn_down(c, c->state == CONN_CLOSING ? NULL : why);
}

struct amqp_conn *amqp_conn_open(const struct amqp_conn_options *options)
{
	static const struct stream_events events = {
		.on_connected = stream_connected,
		.on_data = data_received,
		.on_flush = stream_flush,
		.on_failed = stream_failed,
	};
	struct amqp_conn *c = mem_calloc(1, sizeof(*c));
	struct stream_options stream = {
		.loop = options->loop,
		.host = options->url->host,
		.port = options->url->port,
		.tls = options->tls,
		.connect_timeout_s = options->connect_timeout_s,
		.max_output = options->max_output,
		.max_input = FRAME_MAX + FRAME_EXTRA,
		.events = &events,
		.ctx = c,
	};

	c->loop = options->loop;
	c->events = options->events;
	c->ctx = options->ctx;
	c->url = options->url;
	c->is_login_external = options->is_login_external;
	c->product_version = mem_strdup(options->product_version);
	c->name = mem_strdup(options->name);
	c->heartbeat_s = options->heartbeat_s;
	c->login_timeout_s = options->connect_timeout_s > LOGIN_TIMEOUT_MIN_S
				     ? options->connect_timeout_s
				     : LOGIN_TIMEOUT_MIN_S;
	c->frame_max = FRAME_MAX;
	init_amqp_pool(&c->pool, POOL_PAGE);
	uv_timer_init(c->loop, &c->timer);
	c->timer.data = c;
	c->stream = stream_open(&stream);
	return c;
}

static void timer_closed(uv_handle_t *handle)
{
	struct amqp_conn *c = handle->data;

	empty_amqp_pool(&c->pool);
	free(c->product_version);
	free(c->name);
	free(c);
}

void amqp_conn_free(struct amqp_conn *c)
{
	if (!c)
		return;
	c->state = CONN_DOWN;
	stream_close(c->stream);
	c->stream = NULL;
	uv_close((uv_handle_t *)&c->timer, timer_closed);
}
