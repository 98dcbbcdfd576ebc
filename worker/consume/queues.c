#include "worker/consume/queues.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "worker/consume/consumer.h"

/* Mirrors celery/app/amqp.py, Queues: what the settings define, what was made of a name only, and
 * what remote control described. */

struct known_queue {
	struct list_node node;
	const struct queue *queue; /* the settings', or `own` */
	struct queue *own;
	bool is_consumed;
};

void queues_init(struct list_node *queues)
{
	list_init(queues);
}

static void known_free(struct known_queue *q)
{
	list_remove(&q->node);
	queue_free(q->own);
	free(q);
}

void queues_clear(struct list_node *queues)
{
	struct list_node *pos, *tmp;

	list_foreach_safe (pos, tmp, queues)
		known_free(list_entry(pos, struct known_queue, node));
}

static struct known_queue *known_find(const struct consumer *c, const char *name, size_t *ret_count)
{
	struct list_node *pos;
	size_t count = 0;

	list_foreach (pos, &c->queues) {
		struct known_queue *q = list_entry(pos, struct known_queue, node);

		count++;
		if (strcmp(q->queue->name, name) == 0 ||
		    (q->queue->alias && strcmp(q->queue->alias, name) == 0))
			return q;
	}
	if (ret_count)
		*ret_count = count;
	return NULL;
}

json_t *queues_list(const struct consumer *c)
{
	json_t *list = json_array();
	struct list_node *pos;

	list_foreach (pos, &c->queues) {
		struct known_queue *q = list_entry(pos, struct known_queue, node);

		if (q->is_consumed)
			json_array_append(list, q->queue->info);
	}
	return list;
}

/* --- adding and cancelling --- */

/* Takes `own` over, which is NULL where the settings have the queue. */
static struct known_queue *known_add(struct consumer *c, const struct queue *queue,
				     struct queue *own, struct err *err)
{
	size_t count = 0;
	struct known_queue *q;

	known_find(c, "", &count);
	if (count >= QUEUES_MAX) {
		queue_free(own);
		err_set(err, ERR_LIMIT, "%d queues are known already", QUEUES_MAX);
		return NULL;
	}
	q = mem_calloc(1, sizeof(*q));
	q->own = own;
	q->queue = own ? own : queue;
	list_append(&c->queues, &q->node);
	return q;
}

static int consume(struct consumer *c, struct known_queue *q, struct err *err)
{
	if (broker_consume(c->broker, &q->queue->def, err) < 0)
		return -1;
	q->is_consumed = true;
	return 0;
}

/* Celery's condition: one quorum queue among all that are known, consumed or not. */
static void delay_where_quorum(struct consumer *c)
{
	const struct queue *queue;
	struct list_node *pos;
	bool is_quorum = false;

	for (size_t i = 0; (queue = routing_queue_at(c->config->routing, i)); i++)
		is_quorum |= queue_is_quorum(queue);
	list_foreach (pos, &c->queues)
		is_quorum |= queue_is_quorum(list_entry(pos, struct known_queue, node)->queue);
	if (is_quorum)
		broker_delay(c->broker, c->config->broker_native_delayed_delivery_queue_type);
}

/* The queue that remote control speaks of. */
static struct known_queue *known_get(struct consumer *c, const char *name, const json_t *options,
				     struct err *err)
{
	const struct routing *routing = c->config->routing;
	const struct queue *defined = routing_queue(routing, name);
	struct known_queue *q = known_find(c, name, NULL);
	struct queue *own;

	if (q)
		return q;
	if (defined)
		return known_add(c, defined, NULL, err);
	own = queue_read(name, options, QUEUE_REMOTE, routing_defaults(routing), err);
	return own ? known_add(c, NULL, own, err) : NULL;
}

int queues_add(struct consumer *c, const char *name, const json_t *options, bool *ret_is_new,
	       struct err *err)
{
	struct known_queue *q = known_get(c, name, options, err);

	if (ret_is_new)
		*ret_is_new = false;
	if (!q)
		return -1;
	if (q->is_consumed)
		return 0;
	if (consume(c, q, err) < 0)
		return -1;
	delay_where_quorum(c);
	if (ret_is_new)
		*ret_is_new = true;
	return 0;
}

void queues_cancel(struct consumer *c, const char *name)
{
	struct known_queue *q = known_find(c, name, NULL);

	if (!q || !q->is_consumed)
		return;
	q->is_consumed = false;
	broker_cancel(c->broker, q->queue->name);
}

/* --- the queues of the settings --- */

static bool is_excluded(const struct config *config, const struct queue *q, const char *name)
{
	for (char *const *x = config->exclude_queues; x && *x; x++)
		if (strcmp(*x, name) == 0 ||
		    (q && (strcmp(*x, q->name) == 0 || (q->alias && strcmp(*x, q->alias) == 0))))
			return true;
	return false;
}

static int check_known(const struct config *config, struct err *err)
{
	for (char *const *name = config->queues; name && *name; name++)
		if (!routing_creates_missing(config->routing) &&
		    !routing_queue(config->routing, *name))
			return err_set(
				err, ERR_NOT_FOUND,
				"Trying to select queue subset of ['%s'], but queue '%s' isn't "
				"defined in the task_queues setting.",
				*name, *name);
	return 0;
}

/* `own` as known_add takes it. */
static int begin_with(struct consumer *c, const struct queue *queue, struct queue *own,
		      struct err *err)
{
	const char *name = own ? own->name : queue->name;
	struct known_queue *q = known_find(c, name, NULL);

	if (q)
		queue_free(own);
	else
		q = known_add(c, queue, own, err);
	if (!q || consume(c, q, err) < 0)
		return err_prefix(err, "queue '%s': ", queue ? queue->name : name);
	return 0;
}

static int declare_selected(struct consumer *c, unsigned *count, struct err *err)
{
	const struct config *config = c->config;

	for (char *const *name = config->queues; *name; name++) {
		const struct queue *queue = routing_queue(config->routing, *name);
		struct queue_def missing = routing_missing(config->routing, *name);
		struct queue *own;

		if (is_excluded(config, queue, *name))
			continue;
		own = queue ? NULL : queue_new(&missing, err);
		if ((!queue && !own) || begin_with(c, queue, own, err) < 0)
			return -1;
		++*count;
	}
	return 0;
}

static int declare_all(struct consumer *c, unsigned *count, struct err *err)
{
	const struct queue *queue;

	for (size_t i = 0; (queue = routing_queue_at(c->config->routing, i)); i++) {
		if (is_excluded(c->config, queue, queue->name))
			continue;
		if (begin_with(c, queue, NULL, err) < 0)
			return -1;
		++*count;
	}
	return 0;
}

/* celery/utils/nodenames.py, worker_direct() */
static int declare_direct(struct consumer *c, unsigned *count, struct err *err)
{
	const char *node = c->config->node_name;
	auto_free char *name = mem_printf("%s.dq2", node);
	struct queue_def def = {
		.name = name, .exchange = "C.dq2", .exchange_type = "direct", .routing_key = node};
	struct queue *own;

	if (!c->config->worker_direct)
		return 0;
	own = queue_new(&def, err);
	++*count;
	return own ? begin_with(c, NULL, own, err) : -1;
}

int queues_declare(struct consumer *c, struct err *err)
{
	const struct config *config = c->config;
	bool is_selected = config->queues && *config->queues;
	unsigned count = 0;

	if (check_known(config, err) < 0)
		return -1;
	if ((is_selected ? declare_selected(c, &count, err) : declare_all(c, &count, err)) < 0 ||
	    declare_direct(c, &count, err) < 0)
		return -1;
	if (count == 0)
		return err_set(err, ERR_INVALID,
			       "no queue is left to consume from: every queue is "
			       "excluded by -X");
	delay_where_quorum(c);
	return 0;
}
