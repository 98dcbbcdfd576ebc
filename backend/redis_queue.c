#include "backend/redis_queue.h"

#include <string.h>

void redis_queue_init(struct redis_queue *q)
{
	*q = (struct redis_queue){0};
	list_init(&q->held);
	list_init(&q->sent);
	list_init(&q->waiting);
	list_init(&q->asleep);
}

void redis_queue_add(struct redis_queue *q, struct redis_op *op)
{
	list_append(&q->waiting, &op->node);
	q->count++;
	q->bytes += redis_op_cost(op);
}

struct redis_op *redis_queue_next(struct redis_queue *q)
{
	if (list_is_empty(&q->waiting))
		return NULL;
	return list_entry(q->waiting.next, struct redis_op, node);
}

void redis_queue_sent(struct redis_queue *q, struct redis_op *op)
{
	list_remove(&op->node);
	list_append(&q->sent, &op->node);
	q->sent_count++;
	q->sent_bytes += redis_op_cost(op);
}

void redis_queue_take(struct redis_queue *q, struct redis_op *op)
{
	list_remove(&op->node);
	q->sent_count--;
	q->sent_bytes -= redis_op_cost(op);
}

void redis_queue_hold(struct redis_queue *q, struct redis_op *op)
{
	list_append(&q->held, &op->node);
}

void redis_queue_sleep(struct redis_queue *q, struct redis_op *op)
{
	list_append(&q->asleep, &op->node);
}

void redis_queue_wake(struct redis_queue *q)
{
	struct list_node *node;

	while ((node = list_pop(&q->asleep)) != NULL)
		list_append(&q->waiting, node);
}

void redis_queue_drop(struct redis_queue *q, struct redis_op *op)
{
	q->count--;
	q->bytes -= redis_op_cost(op);
	redis_op_free(op);
}

/* Puts all of `from` in front of `to`, order kept. */
static void list_prepend_all(struct list_node *to, struct list_node *from)
{
	while (!list_is_empty(from)) {
		struct list_node *last = from->prev;

		list_remove(last);
		list_prepend(to, last);
	}
}

void redis_queue_release(struct redis_queue *q)
{
	list_prepend_all(&q->waiting, &q->held);
}

void redis_queue_take_back(struct redis_queue *q)
{
	list_prepend_all(&q->waiting, &q->sent);
	list_prepend_all(&q->waiting, &q->held);
	q->sent_count = 0;
	q->sent_bytes = 0;
}

static bool is_same_key(const struct redis_op *a, const struct redis_op *b)
{
	return a->key.len == b->key.len && memcmp(a->key.data, b->key.data, a->key.len) == 0;
}

bool redis_queue_has_sent(const struct redis_queue *q, const struct redis_op *op)
{
	struct list_node *node;

	list_foreach (node, &q->sent) {
		if (is_same_key(list_entry(node, struct redis_op, node), op))
			return true;
	}
	return false;
}

struct redis_op *redis_queue_superseded(struct redis_queue *q, const struct redis_op *by)
{
	struct list_node *node;

	/* A revoke may have stored nothing. */
	if (by->is_revoke || by->chord)
		return NULL;
	list_foreach (node, &q->held) {
		struct redis_op *op = list_entry(node, struct redis_op, node);

		if (!op->got && !op->chord && op->state != TASK_SUCCESS && is_same_key(op, by))
			return op;
	}
	return NULL;
}
