#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "protocol/delayed.h"
#include "worker/finish/finish.h"
#include "worker/request/next_try.h"

/* `expiration` is what is left of `expires`, in whole milliseconds. */
static void format_expiration(char out[32], int64_t expires_us, int64_t now_us)
{
	int64_t left_ms = (expires_us - now_us) / 1000;

	snprintf(out, 32, "%lld", (long long)(left_ms > 0 ? left_ms : 0));
}

static void tell_sent(struct finish *f, const struct task_message *m, const struct destination *to)
{
	events_sent(f->events,
		    &(struct event_message){
			    .uuid = m->id,
			    .root_id = m->root_id ? m->root_id : m->id,
			    .parent_id = m->parent_id,
			    .name = m->task,
			    .args = m->argsrepr,
			    .kwargs = m->kwargsrepr,
			    .retries = m->retries,
			    .eta_us = m->eta_us,
			    .expires_us = m->expires_us,
			    .queue = to->queue ? to->queue : f->config->task_default_queue,
			    .exchange = to->exchange,
			    .routing_key = to->routing_key,
		    });
}

/* What the clock went on since the ETA was computed. */
#define DELAY_SLACK_US 10000

/* A message that is due later waits in the broker, where that brings it to a queue of ours
 * afterwards: the exchange and key it goes to for that. It still carries its ETA, so what is less
 * than a second is waited for here. */
static void delay(const struct finish *f, const struct task_message *m, const char **exchange,
		  const char **routing_key, char key[DELAYED_KEY_MOST + 1])
{
	int64_t left_us = m->eta_us == TIME_UNSET ? 0 : m->eta_us - clock_wall_us();
	int64_t seconds = (left_us + DELAY_SLACK_US) / 1000000;

	if (seconds >= 1 && broker_can_delay(f->broker, *exchange, *routing_key) &&
	    delayed_key(key, seconds, *routing_key)) {
		*exchange = DELAYED_START;
		*routing_key = key;
	} else if (strcmp(*exchange, DELAYED_DELIVERY) == 0) {
		*routing_key = delayed_key_behind(*routing_key); /* it came that way */
	}
}

static int publish(struct finish *f, const struct task_message *m, const struct destination *to,
		   broker_published_fn *done, void *ctx, struct err *err)
{
	const char *exchange = to->exchange, *routing_key = to->routing_key;
	char expiration[32], delayed[DELAYED_KEY_MOST + 1];
	auto_str body = STR_INIT(PUBLISHER_BODY_MAX(f->config));
	struct content_label label;
	struct exchange_def broadcast;
	int result;

	if (!f->broker)
		return err_set(err, ERR_REFUSED, "the broker connection is closed");
	if (task_message_write_body(&body, m) < 0)
		return err_set(err, ERR_LIMIT, "the message of %s is too large", m->task);
	if (content_encode(&body, &f->config->task_form, &label, err) < 0)
		return err_prefix(err, "the message of %s: ", m->task);
	delay(f, m, &exchange, &routing_key, delayed);
	json_t *headers = task_message_headers(m);
	struct publication p = {
		.exchange = exchange,
		.routing_key = routing_key,
		.declare = to->declare,
		.declare_exchange = destination_exchange(to, &broadcast),
		.content_type = label.type,
		.content_encoding = label.encoding,
		.correlation_id = m->id,
		.reply_to = m->reply_to,
		.priority = m->priority,
		.delivery_mode = to->delivery_mode,
		.headers = headers,
		.body = body.data,
		.body_len = body.len,
	};

	if (m->expires_us != TIME_UNSET) {
		format_expiration(expiration, m->expires_us, clock_wall_us());
		p.expiration = expiration;
	}
	content_label_add(&label, headers);
	result = broker_publish(f->broker, &p, done, ctx, err);
	if (result == 0 && events_has_sent(f->events))
		tell_sent(f, m, to);
	json_decref(headers);
	return result;
}

/* Back to where it came from, whatever task_routes say now; unless the task says where to. */
static int retry_destination(const struct finish *f, const struct next_try *n,
			     struct destination *to, struct err *err)
{
	const struct task_message *m = &n->message;
	const struct route asked = {
		.queue = n->how.queue,
		.exchange = n->how.exchange,
		.exchange_type = n->how.exchange_type,
		.routing_key = n->how.routing_key,
		.priority = m->priority,
		.delivery_mode = n->how.delivery_mode,
	};

	if (n->has_route)
		return routing_send(f->config->routing, m->task, &asked, to, err);
	*to = (struct destination){
		.exchange = m->exchange ? m->exchange : "",
		.routing_key = m->routing_key ? m->routing_key : f->config->task_default_queue,
		.delivery_mode = 2,
	};
	if (!*to->exchange)
		to->queue = to->routing_key;
	return 0;
}

int publisher_retry(struct finish *f, const struct request *r, broker_published_fn *done, void *ctx,
		    struct err *err)
{
	struct next_try next;
	struct destination to;
	int result;

	next_try_make(&next, r, clock_wall_us());
	result = retry_destination(f, &next, &to, err);
	if (result == 0)
		result = publish(f, &next.message, &to, done, ctx, err);
	next_try_clear(&next);
	return result;
}

int publisher_send(struct finish *f, const struct outgoing *o, broker_published_fn *done, void *ctx,
		   struct err *err)
{
	struct task_message m = o->message;
	const struct route asked = {
		.queue = o->queue,
		.exchange = o->exchange,
		.exchange_type = o->exchange_type,
		.routing_key = o->routing_key,
		.priority = m.priority,
		.delivery_mode = o->delivery_mode,
	};
	struct destination to;

	if (routing_send(f->config->routing, o->route_name ? o->route_name : m.task, &asked, &to,
			 err) < 0)
		return -1;
	m.priority = to.priority < 0 ? 0 : to.priority; /* kombu's own default */
	return publish(f, &m, &to, done, ctx, err);
}
