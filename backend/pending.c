#include "backend/pending.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define OP_BYTES ((size_t)256) /* the operation itself, about */

void pending_init(struct pending *p, const struct backend_options *options, char *label,
		  void (*free_op)(struct pending_op *op))
{
	*p = (struct pending){.options = *options, .label = label, .free_op = free_op};
	list_init(&p->waiting);
}

void pending_clear(struct pending *p)
{
	mem_free_ptr(&p->label);
}

static void add(struct pending *p, struct pending_op *op, const char *task_id, size_t bytes)
{
	op->id = mem_strdup(task_id);
	op->bytes = bytes + strlen(task_id) + OP_BYTES;
	list_append(&p->waiting, &op->node);
	p->count++;
	p->bytes += op->bytes;
	p->was_full = p->was_full || pending_is_full(p);
}

void pending_add_store(struct pending *p, struct pending_op *op,
		       const struct backend_record *record, size_t bytes, backend_done_fn *done,
		       void *ctx)
{
	op->state = record->state;
	op->is_revoke = record->is_revoke;
	op->done = done;
	op->ctx = ctx;
	add(p, op, record->task_id, bytes);
}

void pending_add_read(struct pending *p, struct pending_op *op, const char *task_id,
		      backend_got_fn *got, void *ctx)
{
	op->got = got;
	op->ctx = ctx;
	add(p, op, task_id, 0);
}

struct pending_op *pending_first(struct pending *p)
{
	if (list_is_empty(&p->waiting))
		return NULL;
	return list_entry(p->waiting.next, struct pending_op, node);
}

void pending_take_back(struct pending *p, struct list_node *from)
{
	while (!list_is_empty(from)) {
		struct list_node *last = from->prev;

		list_remove(last);
		list_prepend(&p->waiting, last);
	}
}

static void drop(struct pending *p, struct pending_op *op)
{
	list_remove(&op->node);
	p->count--;
	p->bytes -= op->bytes;
	free(op->id);
	p->free_op(op);
}

void pending_end(struct pending *p, struct pending_op *op, const struct err *err)
{
	if (err)
		p->failed++;
	else
		p->stored++;
	if (op->got)
		op->got(op->ctx, NULL, 0, err);
	else if (op->done)
		op->done(op->ctx, err);
	else if (err && p->options.on_refused)
		p->options.on_refused(p->options.ctx, op->id, op->state, err);
	drop(p, op);
}

void pending_found(struct pending *p, struct pending_op *op, const char *record, size_t len)
{
	op->got(op->ctx, record, len, NULL);
	drop(p, op);
}

void pending_give_up(struct pending *p)
{
	struct pending_op *op;
	struct err err = {0};

	err_set(&err, ERR_TIMEOUT, "%s did not take the result in time", p->label);
	while ((op = pending_first(p)) != NULL)
		pending_end(p, op, &err);
}

void pending_check_room(struct pending *p)
{
	if (!p->was_full || p->bytes > p->options.max_waiting_bytes / 4 * 3)
		return;
	p->was_full = false;
	if (p->options.on_room)
		p->options.on_room(p->options.ctx);
}

bool pending_is_full(const struct pending *p)
{
	return p->bytes >= p->options.max_waiting_bytes;
}

void pending_notice(const struct pending *p, bool is_error, const char *text)
{
	auto_free char *line = mem_printf("Result store %s %.400s", p->label, text);

	if (p->options.on_notice)
		p->options.on_notice(p->options.ctx, is_error, line);
}

void pending_say_down(struct pending *p, const char *why)
{
	auto_free char *text = NULL;

	if (p->is_outage)
		return;
	p->is_outage = true;
	text = mem_printf("is out of reach, results wait: %.300s", why);
	pending_notice(p, true, text);
}

void pending_say_up(struct pending *p)
{
	if (!p->is_outage)
		return;
	p->is_outage = false;
	pending_notice(p, false, "is back");
}

void pending_stats(const struct pending *p, bool is_up, struct backend_stats *ret_stats)
{
	ret_stats->is_up = is_up;
	ret_stats->waiting = p->count;
	ret_stats->waiting_bytes = p->bytes;
	ret_stats->stored = p->stored;
	ret_stats->failed = p->failed;
	ret_stats->reconnects = p->reconnects;
	snprintf(ret_stats->host, sizeof(ret_stats->host), "%s", p->label);
}
