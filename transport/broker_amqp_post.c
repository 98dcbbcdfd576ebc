/* What is sent at most once: no confirms, and a channel whose end takes nothing else with it. What
 * was on its way on that channel when the broker closed it is lost. */
#include "transport/broker_amqp.h"

enum { NOT_FOUND = 404 };

#define NOTICE_MS 10000 /* between two lines about replies nobody can be sent */

static void post_forget(struct amqp_publisher *p, struct amqp_publish *m, bool is_sent)
{
	p->post_bytes -= publish_cost(m);
	if (is_sent)
		p->broker->posts++;
	else
		p->broker->posts_dropped++;
	amqp_publish_free(m);
}

void amqp_publisher_post(struct amqp_publisher *p, const struct publication *publication)
{
	struct amqp_publish *m = NULL;

	if (!p->is_closing && !(p->is_away && !p->link.conn))
		m = amqp_publisher_encode(p, publication, NULL);
	if (m && publish_cost(m) > BROKER_POSTS_MAX - p->post_bytes) {
		amqp_publish_free(m);
		m = NULL;
	}
	if (!m) {
		p->broker->posts_dropped++;
		return;
	}
	list_append(&p->posts, &m->node);
	p->post_bytes += publish_cost(m);
	amqp_publisher_start(p);
	if (p->link.up_since_ms)
		amqp_conn_wake(p->link.conn);
}

static void post_send(struct amqp_publisher *p, struct amqp_publish *m)
{
	struct amqp_conn *conn = p->link.conn;
	const char *body = m->data + m->method_len + m->header_len;
	size_t max = amqp_conn_max_payload(conn);
	amqp_channel_open_t open = {0};

	if (!p->is_post_open)
		amqp_conn_send(conn, AMQP_CHANNEL_POST, AMQP_CHANNEL_OPEN_METHOD, &open);
	p->is_post_open = true;
	amqp_conn_send_frame(conn, AMQP_CHANNEL_POST, AMQP_FRAME_METHOD, m->data, m->method_len);
	amqp_conn_send_frame(conn, AMQP_CHANNEL_POST, AMQP_FRAME_HEADER, m->data + m->method_len,
			     m->header_len);
	/* All at once: BROKER_POSTS_MAX and what is pending fit the output. */
	for (size_t at = 0; at < m->body_len; at += max)
		amqp_conn_send_frame(conn, AMQP_CHANNEL_POST, AMQP_FRAME_BODY, body + at,
				     m->body_len - at < max ? m->body_len - at : max);
}

void post_flush(struct amqp_publisher *p)
{
	struct list_node *pos, *tmp;

	list_foreach_safe (pos, tmp, &p->posts) {
		struct amqp_publish *m = list_entry(pos, struct amqp_publish, node);

		if (!amqp_publish_is_declared(m))
			continue;
		if (amqp_conn_pending(p->link.conn) >= AMQP_OUTPUT_TARGET) {
			amqp_conn_wake(p->link.conn);
			return;
		}
		bool fits = m->header_len <= amqp_conn_max_payload(p->link.conn);
		if (fits)
			post_send(p, m);
		post_forget(p, m, fits);
	}
}

void post_method(struct amqp_publisher *p, const amqp_method_t *method)
{
	uint64_t now = uv_now(p->broker->loop);
	struct err why = {0};

	if (method->id != AMQP_CHANNEL_CLOSE_METHOD)
		return;
	const amqp_channel_close_t *close = method->decoded;
	p->is_post_open = false; /* opened again with the next */
	if (close->reply_code == NOT_FOUND)
		declare_forget_exchanges(p);
	if (p->post_notice_ms && now - p->post_notice_ms < NOTICE_MS)
		return;
	p->post_notice_ms = now;
	amqp_channel_error(close, &why);
	amqp_broker_notice(p->broker, false, "a reply could not be sent: %s", why.text);
}

void post_drop(struct amqp_publisher *p, const struct amqp_declare *d)
{
	struct list_node *pos, *tmp;

	list_foreach_safe (pos, tmp, &p->posts) {
		struct amqp_publish *m = list_entry(pos, struct amqp_publish, node);
		if (!d || m->queue == d || m->exchange == d)
			post_forget(p, m, false);
	}
}

void post_reset(struct amqp_publisher *p)
{
	post_drop(p, NULL);
	p->is_post_open = false;
}
