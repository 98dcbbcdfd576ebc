/* The queues that are consumed in a folder, and the bindings by which messages reach them. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/broker_filesystem.h"
#include "transport/filesystem_binding.h"

#define EXCHANGES_MAX 256

void filesystem_note_exchange(struct broker_filesystem *f, const char *name, const char *type)
{
	/* Beyond that the names and tables tell the types well enough. */
	if (map_count(f->exchange_types) < EXCHANGES_MAX || map_get(f->exchange_types, name))
		free(map_put(f->exchange_types, name, mem_strdup(type ? type : "direct")));
}

void filesystem_throw_away(struct broker_filesystem *f, const char *queue)
{
	struct map *queues = map_new();
	struct filesystem_inbox *box = filesystem_inbox_new(f->folders.in, queues);

	map_put(queues, queue, f);
	filesystem_inbox_purge(box);
	filesystem_inbox_free(box);
	map_free(queues);
}

/* Private queues: one entry per binding. They are known to the end, because what was taken from one
 * that is cancelled may still be put back. */

struct private_queue {
	struct list_node node;
	char *queue, *exchange; /* exchange NULL: reached by its name only */
};

static void private_add(struct broker_filesystem *f, const char *queue, const char *exchange)
{
	struct private_queue *q;
	struct list_node *pos;

	list_foreach (pos, &f->private_queues) {
		q = list_entry(pos, struct private_queue, node);
		if (strcmp(q->queue, queue) == 0 &&
		    strcmp(q->exchange ? q->exchange : "", exchange ? exchange : "") == 0)
			return;
	}
	q = mem_calloc(1, sizeof(*q));
	q->queue = mem_strdup(queue);
	q->exchange = mem_strdup(exchange);
	list_append(&f->private_queues, &q->node);
}

static void private_free(struct private_queue *q)
{
	list_remove(&q->node);
	free(q->queue);
	free(q->exchange);
	free(q);
}

void filesystem_private_leave(struct broker_filesystem *f, const char *queue)
{
	struct list_node *pos;

	list_foreach (pos, &f->private_queues) {
		struct private_queue *q = list_entry(pos, struct private_queue, node);
		struct err err = {0};

		if (queue && strcmp(q->queue, queue) != 0)
			continue;
		/* What cannot be undone now costs a file per message later. */
		if (q->exchange)
			(void)filesystem_unbind(f->folders.control, q->exchange, q->queue, &err);
		filesystem_throw_away(f, q->queue);
		map_del(f->declared, q->queue);
	}
}

void filesystem_private_clear(struct broker_filesystem *f)
{
	while (f->private_queues.next && !list_is_empty(&f->private_queues))
		private_free(list_entry(f->private_queues.next, struct private_queue, node));
}

/* Declaring */

static int binding_write(struct broker_filesystem *f, const struct queue_def *queue,
			 const struct binding_def *binding, struct err *err)
{
	if (strcmp(binding->exchange_type, "headers") == 0)
		return err_set(
			err, ERR_UNSUPPORTED,
			"exchange '%.200s': only RabbitMQ has headers exchanges; use direct, "
			"topic or fanout with filesystem://",
			binding->exchange);
	if (filesystem_bind(f->folders.control, queue->name, binding, err) < 0)
		return -1;
	filesystem_note_exchange(f, binding->exchange, binding->exchange_type);
	if (queue->is_private)
		private_add(f, queue->name, binding->exchange);
	return 0;
}

int filesystem_declare(struct broker_filesystem *f, const struct queue_def *queue, struct err *err)
{
	size_t count = queue_def_binding_count(queue);

	if (queue->is_given || map_get(f->declared, queue->name) != NULL)
		return 0;
	for (size_t i = 0; i < count; i++) {
		struct binding_def binding = queue_def_binding(queue, i);

		if (binding_write(f, queue, &binding, err) < 0)
			return -1;
	}
	if (queue->is_private && count == 0)
		private_add(f, queue->name, NULL);
	map_put(f->declared, queue->name, f);
	return 0;
}

/* Consuming */

static struct broker_filesystem *self(struct broker *b)
{
	return (struct broker_filesystem *)b;
}

int filesystem_consume(struct broker *b, const struct queue_def *queue, struct err *err)
{
	struct broker_filesystem *f = self(b);

	if (strchr(queue->name, '/') != NULL)
		return err_set(err, ERR_INVALID, "queue name '%.200s' cannot be a file name",
			       queue->name);
	if (filesystem_declare(f, queue, err) < 0)
		return -1;
	map_put(f->queues, queue->name, f);
	f->needs_scan = true;
	if (f->is_started)
		filesystem_wake_in(f, 0);
	return 0;
}

void filesystem_cancel(struct broker *b, const char *queue)
{
	struct broker_filesystem *f = self(b);

	map_del(f->queues, queue);
	filesystem_private_leave(f, queue);
	f->needs_scan = true; /* drops the names that are held */
}
