#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "protocol/pyjson.h"
#include "worker/finish/finish.h"

/* `expiration` is what is left of `expires`, in whole milliseconds. */
static void format_expiration(char out[32], int64_t expires_us, int64_t now_us)
{
	int64_t left_ms = (expires_us - now_us) / 1000;

	snprintf(out, 32, "%lld", (long long)(left_ms > 0 ? left_ms : 0));
}

/* The message of the next try: same id and workflow, one retry more, due later. It borrows all its
 * texts from the request. Mirrors celery/app/task.py, signature_from_request(). */
static struct task_message next_try(const struct request *r, int64_t now_us)
{
	struct task_message next = r->message;

	next.protocol = 2;
	next.retries++;
	next.eta_us = now_us + (int64_t)(r->outcome.countdown_s * 1e6);
	if (r->outcome.countdown_s <= 0)
		next.eta_us = TIME_UNSET;
	if (!next.parent_id)
		next.parent_id = next.id; /* as Celery: published from inside the task itself */
	next.ignore_result = r->policy.ignore_result ? TRI_TRUE : TRI_FALSE;
	return next;
}

/* Protocol 1 carries no reprs; monitors want them in protocol 2. */
static char *repr_of(struct str *out, struct span json, bool as_tuple)
{
	json_t *value = pyjson_load(json.data, json.len, NULL);

	if (value)
		pyjson_repr(out, value, 1024, 3, as_tuple);
	json_decref(value);
	return out->data;
}

int publisher_retry(struct finish *f, const struct request *r, broker_published_fn *done, void *ctx,
		    struct err *err)
{
	int64_t now_us = clock_wall_us();
	struct task_message next = next_try(r, now_us);
	char expiration[32];
	auto_str argsrepr = STR_INIT(8192);
	auto_str kwargsrepr = STR_INIT(8192);
	auto_str body = STR_INIT(f->config->worker_max_message_bytes + 65536);

	if (!next.argsrepr)
		next.argsrepr = repr_of(&argsrepr, next.args, true);
	if (!next.kwargsrepr)
		next.kwargsrepr = repr_of(&kwargsrepr, next.kwargs, false);
	json_t *headers = task_message_headers(&next);
	int result = -1;

	if (task_message_write_body(&body, &next) < 0) {
		err_set(err, ERR_LIMIT, "the message of the retry is too large");
	} else {
		struct publication p = {
			.exchange = next.exchange ? next.exchange : "",
			.routing_key =
				next.routing_key ? next.routing_key : f->config->task_default_queue,
			.content_type = "application/json",
			.content_encoding = "utf-8",
			.correlation_id = next.id,
			.reply_to = next.reply_to,
			.priority = next.priority,
			.delivery_mode = 2,
			.headers = headers,
			.body = body.data,
			.body_len = body.len,
		};
		if (next.expires_us != TIME_UNSET) {
			format_expiration(expiration, next.expires_us, now_us);
			p.expiration = expiration;
		}
		result = broker_publish(f->broker, &p, done, ctx, err);
	}
	json_decref(headers);
	return result;
}
