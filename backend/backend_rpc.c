/*
 * Results as messages: each record goes to the queue that the task's message names in reply_to, by
 * the worker's own connection to the broker. Nothing is kept, so no SUCCESS is either, and nothing
 * can be read. The queue is the client's; where it is gone the broker drops the message. Mirrors
 * celery/backends/rpc.py. contract: tasks.md 5.5.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "backend/pending.h"
#include "base/clock.h"
#include "base/mem.h"
#include "transport/broker.h"

#define RETRY_MS  200
#define MAX_TRIES 20 /* as celery/backends/rpc.py, retry_policy */

struct backend_rpc {
	struct backend base;
	struct pending pending;	  /* its `waiting`: to be given to the broker */
	struct list_node sent;	  /* given to it, not confirmed */
	struct list_node settled; /* nobody to tell: they end in the next turn of the loop */
	json_t *no_headers;
	uv_timer_t timer;
	bool is_closing;
	int64_t close_by_us;
};

struct rpc_op {
	struct pending_op base;
	struct backend_rpc *rpc;
	char *reply_to, *correlation_id;
	const char *content_type, *content_encoding; /* static */
	char *body;
	size_t len;
	unsigned tries;
};

static void rpc_op_free(struct pending_op *base)
{
	struct rpc_op *op = (struct rpc_op *)base;

	free(op->reply_to);
	free(op->correlation_id);
	free(op->body);
	free(op);
}

static void on_timer(uv_timer_t *timer);

static void wake(struct backend_rpc *r, uint64_t ms)
{
	if (!uv_is_active((uv_handle_t *)&r->timer) || uv_timer_get_due_in(&r->timer) > ms)
		uv_timer_start(&r->timer, on_timer, ms, 0);
}

static void on_published(void *ctx, const struct err *err)
{
	struct rpc_op *op = ctx;
	struct backend_rpc *r = op->rpc;

	/* The broker could not take it now; whatever else it says is its last word. */
	if (err && err->code == ERR_IO && op->tries < MAX_TRIES) {
		list_remove(&op->base.node);
		list_append(&r->pending.waiting, &op->base.node);
		wake(r, RETRY_MS);
		return;
	}
	pending_end(&r->pending, &op->base, err);
	pending_check_room(&r->pending);
	if (!list_is_empty(&r->pending.waiting))
		wake(r, 0);
	else if (r->is_closing && r->pending.count == 0)
		wake(r, 0);
}

static int op_publish(struct rpc_op *op, struct err *err)
{
	struct backend_rpc *r = op->rpc;
	const struct backend_options *options = &r->pending.options;
	const struct publication p = {
		.exchange = "",
		.routing_key = op->reply_to,
		.content_type = op->content_type,
		.content_encoding = op->content_encoding,
		.correlation_id = op->correlation_id,
		.priority = 0,
		.delivery_mode = options->is_persistent ? 2 : 1,
		.headers = r->no_headers,
		.body = op->body,
		.body_len = op->len,
	};

	op->tries++;
	return options->publish(options->ctx, &p, on_published, op, err);
}

/* False when the broker takes no more for now. */
static bool op_send(struct backend_rpc *r, struct rpc_op *op)
{
	struct err err = {0};

	list_remove(&op->base.node);
	list_append(&r->sent, &op->base.node);
	if (op_publish(op, &err) == 0)
		return true;
	if (err.code == ERR_LIMIT) { /* of all that waits there: it costs no try */
		op->tries--;
		list_remove(&op->base.node);
		list_prepend(&r->pending.waiting, &op->base.node);
		return false;
	}
	pending_end(&r->pending, &op->base, &err);
	return true;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct backend_rpc *r = handle->data;

	if (r->pending.options.on_closed)
		r->pending.options.on_closed(r->pending.options.ctx);
	pending_clear(&r->pending);
	json_decref(r->no_headers);
	free(r);
}

static void end_settled(struct backend_rpc *r)
{
	struct err err = {0};

	err_set(&err, ERR_UNSUPPORTED,
		"rpc:// keeps no results: they go to the client that sent the task");
	while (!list_is_empty(&r->settled)) {
		struct pending_op *op = list_entry(r->settled.next, struct pending_op, node);

		pending_end(&r->pending, op, op->got ? &err : NULL);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct backend_rpc *r = timer->data;
	struct pending_op *op;

	end_settled(r);
	while ((op = pending_first(&r->pending)) != NULL && op_send(r, (struct rpc_op *)op))
		;
	pending_check_room(&r->pending);
	/* What the broker has been given is confirmed or refused before it closes: never given up
	 * here, because its answer would come for what is gone. */
	if (r->is_closing && clock_mono_us() >= r->close_by_us)
		pending_give_up(&r->pending);
	if (!list_is_empty(&r->pending.waiting))
		wake(r, RETRY_MS);
	else if (r->is_closing && r->pending.count == 0 && !uv_is_closing((uv_handle_t *)timer))
		uv_close((uv_handle_t *)timer, on_handle_closed);
}

static struct backend *rpc_open(const struct backend_options *options, struct err *err)
{
	struct backend_rpc *r;

	if (!options->publish) {
		err_set(err, ERR_UNSUPPORTED,
			"result_backend: rpc:// needs a connection to the broker");
		return NULL;
	}
	r = mem_calloc(1, sizeof(*r));
	r->base.driver = &backend_rpc_driver;
	pending_init(&r->pending, options, mem_strdup("rpc://"), rpc_op_free);
	list_init(&r->sent);
	list_init(&r->settled);
	r->no_headers = json_object();
	uv_timer_init(options->loop, &r->timer);
	r->timer.data = r;
	return &r->base;
}

/* It ends in the next turn of the loop. */
static void settle(struct backend_rpc *r, struct rpc_op *op)
{
	list_remove(&op->base.node);
	list_append(&r->settled, &op->base.node);
	wake(r, 0);
}

static void rpc_store(struct backend *b, const struct backend_record *record, backend_done_fn *done,
		      void *ctx)
{
	struct backend_rpc *r = (struct backend_rpc *)b;
	struct rpc_op *op = mem_calloc(1, sizeof(*op));
	const char *id = record->correlation_id ? record->correlation_id : record->task_id;

	op->rpc = r;
	pending_add_store(&r->pending, &op->base, record, record->reply_to ? record->len : 0, done,
			  ctx);
	if (!record->reply_to || !*record->reply_to) {
		settle(r, op);
		return;
	}
	op->reply_to = mem_strdup(record->reply_to);
	op->correlation_id = mem_strdup(id);
	op->content_type = record->label.type;
	op->content_encoding = record->label.encoding;
	op->body = mem_dup(record->data, record->len);
	op->len = record->len;
	wake(r, 0);
}

static void rpc_get(struct backend *b, const char *task_id, backend_got_fn *got, void *ctx)
{
	struct backend_rpc *r = (struct backend_rpc *)b;
	struct rpc_op *op = mem_calloc(1, sizeof(*op));

	op->rpc = r;
	pending_add_read(&r->pending, &op->base, task_id, got, ctx);
	settle(r, op);
}

static bool rpc_is_full(const struct backend *b)
{
	return pending_is_full(&((const struct backend_rpc *)b)->pending);
}

static void rpc_close(struct backend *b, double deadline_s)
{
	struct backend_rpc *r = (struct backend_rpc *)b;

	r->is_closing = true;
	r->close_by_us = clock_mono_us() + (int64_t)(deadline_s * 1e6);
	wake(r, 0);
}

static void rpc_stats(const struct backend *b, struct backend_stats *ret_stats)
{
	/* Whether the broker is there is told as the broker's. */
	pending_stats(&((const struct backend_rpc *)b)->pending, true, ret_stats);
}

static const char *const rpc_schemes[] = {"rpc", NULL};

const struct backend_driver backend_rpc_driver = {
	.schemes = rpc_schemes,
	.open = rpc_open,
	.store = rpc_store,
	.get = rpc_get,
	.is_full = rpc_is_full,
	.close = rpc_close,
	.stats = rpc_stats,
};
