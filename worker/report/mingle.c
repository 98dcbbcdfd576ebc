#include "worker/report/mingle.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "protocol/pyjson.h"

#define PATIENCE_MS 1000
/* Fifty thousand revoked ids take 2 MiB. */
#define BODY_MAX ((size_t)16 << 20)

static void merge(struct mingle *m, const char *node, const json_t *answer)
{
	const json_t *clock = json_object_get(answer, "clock");

	if (strcmp(node, m->config->node_name) == 0 || !json_is_object(answer) ||
	    json_object_size(answer) == 0)
		return;
	m->nodes++;
	log_debug("mingle: processing reply from %s", node);
	if (json_is_integer(clock) && json_integer_value(clock) > 0)
		lamport_merge(m->clock, (uint64_t)json_integer_value(clock));
	else
		lamport_tick(m->clock);
	revoked_merge(m->revoked, json_object_get(answer, "revoked"));
}

static bool is_ours(const struct mingle *m, const struct message *message)
{
	for (size_t i = 0; i < message->header_count; i++) {
		const struct message_header *h = &message->headers[i];

		if (h->text.len == 6 && memcmp(h->text.data, "ticket", 6) == 0)
			return h->value.kind == VALUE_TEXT && h->value.text.len == 36 &&
			       memcmp(h->value.text.data, m->ticket, 36) == 0;
	}
	return false;
}

static void on_mail(void *ctx, struct message *message)
{
	struct mingle *m = ctx;
	const struct content_options content = config_content(m->config);
	struct err err = {0};
	json_t *body = NULL;

	if (!m->is_waiting || !is_ours(m, message) || message->body_len > BODY_MAX)
		return;
	if (content_read(message, &content, &err) == 0)
		body = pyjson_load(message->body, message->body_len, &err);
	if (!body)
		log_error("mingle: an answer cannot be read: %s", err.text);
	m->answers++;
	for (void *it = json_is_object(body) ? json_object_iter(body) : NULL; it;
	     it = json_object_iter_next(body, it))
		merge(m, json_object_iter_key(it), json_object_iter_value(it));
	json_decref(body);
}

static void end(struct mingle *m)
{
	uv_timer_stop(&m->timer);
	m->is_waiting = false;
	if (m->is_listening)
		broker_unlisten(m->broker, m->queue);
	m->is_listening = false;
}

static void on_patience_end(uv_timer_t *timer)
{
	struct mingle *m = timer->data;

	if (m->nodes > 0) {
		log_info("mingle: sync with %u nodes", m->nodes);
		log_info("mingle: sync complete");
	} else {
		log_info("mingle: all alone");
	}
	end(m);
}

static json_t *request_of(struct mingle *m)
{
	json_t *arguments, *reply_to;

	revoked_purge(m->revoked);
	arguments = json_pack("{s:s, s:o}", "from_node", m->config->node_name, "revoked",
			      revoked_list(m->revoked));
	reply_to = json_pack("{s:s, s:s}", "exchange", m->replies, "routing_key", m->address);
	return json_pack("{s:s, s:o, s:n, s:n, s:n, s:s, s:o}", "method", "hello", "arguments",
			 arguments, "destination", "pattern", "matcher", "ticket", m->ticket,
			 "reply_to", reply_to);
}

static void send_hello(struct mingle *m)
{
	const struct exchange_def requests = {.name = m->requests, .type = "fanout"};
	auto_str text = STR_INIT(BODY_MAX);
	double expires = (double)clock_wall_us() / 1e6 + 1;
	json_t *headers = json_pack("{s:I, s:f}", "clock", (json_int_t)1, "expires", expires);
	json_t *body = request_of(m);
	struct content_label label;

	if (pyjson_dump(&text, body) == 0 &&
	    content_encode(&text, &m->config->mail_form, &label, NULL) == 0)
		broker_post(m->broker, &(struct publication){
					       .exchange = m->requests,
					       .routing_key = "",
					       .declare_exchange = &requests,
					       .content_type = label.type,
					       .content_encoding = label.encoding,
					       .priority = 0,
					       .delivery_mode = 1,
					       .headers = headers,
					       .body = text.data,
					       .body_len = text.len,
				       });
	json_decref(headers);
	json_decref(body);
}

void mingle_up(struct mingle *m)
{
	if (!m->is_on || !m->is_listening || m->is_waiting)
		return;
	log_info("mingle: searching for neighbors");
	m->is_waiting = true;
	m->answers = m->nodes = 0;
	uuid4(m->ticket);
	send_hello(m);
	uv_timer_start(&m->timer, on_patience_end, PATIENCE_MS, 0);
}

static int listen_for_answers(struct mingle *m, struct err *err)
{
	struct mailbox_def def = {
		.queue = m->queue,
		.exchange = m->replies,
		.exchange_type = "direct",
		.binding_key = m->address,
		.is_exclusive = true,
		.ttl_s = m->config->control_queue_ttl,
		.expires_s = m->config->control_queue_expires,
	};

	m->is_listening = broker_listen(m->broker, &def, on_mail, m, err) == 0;
	return m->is_listening ? 0 : -1;
}

void mingle_down(struct mingle *m)
{
	struct err err = {0};

	if (!m->is_on)
		return;
	end(m);
	/* So that it is there at the next connection, before the question is asked. */
	if (listen_for_answers(m, &err) < 0)
		log_error("mingle: %s", err.text);
}

void mingle_stop(struct mingle *m)
{
	end(m);
	m->is_on = false;
}

int mingle_open(struct mingle *m, struct broker *broker, struct err *err)
{
	m->broker = broker;
	m->is_on = !m->config->without_mingle && broker->driver->has_neighbors;
	return m->is_on ? listen_for_answers(m, err) : 0;
}

void mingle_init(struct mingle *m, uv_loop_t *loop, const struct config *config,
		 struct lamport *clock, struct revoked *revoked)
{
	*m = (struct mingle){.config = config, .clock = clock, .revoked = revoked};
	uuid4(m->address);
	m->requests = mem_printf("%s.pidbox", config->control_exchange);
	m->replies = mem_printf("reply.%s.pidbox", config->control_exchange);
	m->queue = mem_printf("%s.%s", m->address, m->replies);
	uv_timer_init(loop, &m->timer);
	m->timer.data = m;
}

void mingle_close(struct mingle *m)
{
	m->is_waiting = false;
	uv_close((uv_handle_t *)&m->timer, NULL);
}

void mingle_clear(struct mingle *m)
{
	free(m->queue);
	free(m->requests);
	free(m->replies);
}
