#include "worker/routing/routing.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "protocol/pyjson.h"

#define QUEUES_MOST 10000

struct routing {
	struct queue **queues;
	size_t count;
	struct map *names; /* and aliases -> struct queue */
	struct routes *routes;
	struct queue_defaults defaults;
	char *default_queue, *default_exchange, *default_exchange_type, *default_routing_key;
	char *missing_exchange_type, *missing_arguments, *default_arguments;
	bool creates_missing;
};

void routing_free(struct routing *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->count; i++)
		queue_free(r->queues[i]);
	free(r->queues);
	map_free(r->names);
	routes_free(r->routes);
	free(r->default_queue);
	free(r->default_exchange);
	free(r->default_exchange_type);
	free(r->default_routing_key);
	free(r->missing_exchange_type);
	free(r->missing_arguments);
	free(r->default_arguments);
	free(r);
}

/* Reading task_queues */

static int add(struct routing *r, struct queue *q, struct err *err)
{
	if (!q)
		return -1;
	if (r->count >= QUEUES_MOST || map_get(r->names, q->name)) {
		err_set(err, ERR_INVALID, "queue '%.100s' %s", q->name,
			r->count >= QUEUES_MOST ? "is one too many" : "is there twice");
		queue_free(q);
		return -1;
	}
	r->queues = mem_realloc(r->queues, (r->count + 1) * sizeof(*r->queues));
	r->queues[r->count++] = q;
	map_put(r->names, q->name, q);
	return 0;
}

static int add_item(struct routing *r, const json_t *item, struct err *err)
{
	const char *name =
		json_string_value(json_is_string(item) ? item : json_object_get(item, "name"));
	struct queue_def def;

	if (!name)
		return err_set(err, ERR_INVALID,
			       "each item must be the name of a queue or a mapping with a 'name' "
			       "(in quotes, if it looks like a number)");
	if (json_is_object(item))
		return add(r, queue_read(name, item, QUEUE_OBJECT, &r->defaults, err), err);
	def = routing_missing(r, name);
	return add(r, queue_new(&def, err), err);
}

static int add_entry(struct routing *r, const char *name, const json_t *value, struct err *err)
{
	const json_t *own_name = json_object_get(value, "name");

	if (json_is_null(value))
		return add(r, queue_read(name, NULL, QUEUE_MAPPING, &r->defaults, err), err);
	if (!json_is_object(value) || own_name)
		return err_set(err, ERR_INVALID, "queue '%.100s' must be a mapping%s", name,
			       own_name ? " without a 'name' of its own" : "");
	return add(r, queue_read(name, value, QUEUE_MAPPING, &r->defaults, err), err);
}

static int add_all(struct routing *r, json_t *setting, struct err *err)
{
	const char *name;
	json_t *value;
	size_t i;

	json_array_foreach (setting, i, value)
		if (add_item(r, value, err) < 0)
			return -1;
	json_object_foreach (setting, name, value)
		if (add_entry(r, name, value, err) < 0)
			return -1;
	return 0;
}

static int add_default(struct routing *r, struct err *err)
{
	struct queue_def def = {
		.name = r->default_queue,
		.exchange = r->default_exchange,
		.exchange_type = r->default_exchange_type,
		.routing_key = r->default_routing_key,
		.arguments = r->default_arguments,
	};

	return add(r, queue_new(&def, err), err);
}

/* An alias goes before a name, as in Celery. */
static void add_aliases(struct routing *r)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->queues[i]->alias)
			map_put(r->names, r->queues[i]->alias, r->queues[i]);
}

static int read_queues(struct routing *r, const char *text, struct err *err)
{
	json_t *setting = text ? pyjson_load(text, strlen(text), err) : json_null();
	int result = setting ? add_all(r, setting, err) : -1;

	json_decref(setting);
	if (result == 0 && r->count == 0)
		result = add_default(r, err);
	add_aliases(r);
	return result < 0 ? err_prefix(err, "task_queues: ") : 0;
}

static int read_routes(struct routing *r, const char *text, struct err *err)
{
	json_t *setting = text ? pyjson_load(text, strlen(text), err) : json_null();

	if (setting)
		r->routes = routes_read(setting, err);
	json_decref(setting);
	return r->routes ? 0 : -1;
}

static char *arguments_of(const char *queue_type, int max_priority)
{
	bool is_quorum = queue_type && strcmp(queue_type, "quorum") == 0;

	if (!is_quorum && max_priority <= 0)
		return NULL;
	if (max_priority <= 0)
		return mem_strdup("{\"x-queue-type\": \"quorum\"}");
	return mem_printf("{%s\"x-max-priority\": %d}",
			  is_quorum ? "\"x-queue-type\": \"quorum\", " : "", max_priority);
}

struct routing *routing_new(const struct routing_options *o, struct err *err)
{
	struct routing *r = mem_calloc(1, sizeof(*r));

	r->names = map_new();
	r->default_queue = mem_strdup(o->default_queue);
	r->default_exchange = mem_strdup(o->default_exchange);
	r->default_exchange_type = mem_strdup(o->default_exchange_type);
	r->default_routing_key = mem_strdup(o->default_routing_key);
	r->missing_exchange_type =
		mem_strdup(o->missing_exchange_type ? o->missing_exchange_type : "direct");
	r->missing_arguments = arguments_of(o->missing_queue_type, o->max_priority);
	r->default_arguments = arguments_of(o->default_queue_type, o->max_priority);
	r->creates_missing = o->creates_missing;
	r->defaults = (struct queue_defaults){.exchange = r->default_exchange,
					      .exchange_type = r->default_exchange_type,
					      .routing_key = r->default_routing_key,
					      .max_priority = o->max_priority};
	if (read_queues(r, o->queues, err) == 0 && read_routes(r, o->routes, err) == 0)
		return r;
	routing_free(r);
	return NULL;
}

/* Queues */

const struct queue *routing_queue_at(const struct routing *r, size_t index)
{
	return index < r->count ? r->queues[index] : NULL;
}

const struct queue *routing_queue(const struct routing *r, const char *name)
{
	return map_get(r->names, name);
}

bool routing_creates_missing(const struct routing *r)
{
	return r->creates_missing;
}

const struct queue_defaults *routing_defaults(const struct routing *r)
{
	return &r->defaults;
}

struct queue_def routing_missing(const struct routing *r, const char *name)
{
	return (struct queue_def){
		.name = name,
		.exchange = name,
		.exchange_type = r->missing_exchange_type,
		.routing_key = name,
		.arguments = r->missing_arguments,
	};
}

/* Sending */

/* The queue of this name, defined or made of the name. */
static int expand(const struct routing *r, const char *name, struct destination *to,
		  const struct queue **ret_queue, struct err *err)
{
	const struct queue *q = routing_queue(r, name);

	*ret_queue = q;
	if (!q && !r->creates_missing)
		return err_set(err, ERR_NOT_FOUND, "Queue '%.255s' missing from task_queues", name);
	if (!q)
		to->missing = routing_missing(r, name);
	to->queue = q ? q->name : name;
	to->declare = q ? &q->def : &to->missing;
	return 0;
}

static struct route merged(const struct routing *r, const char *task, const struct route *asked)
{
	const struct route *rule = routes_find(r->routes, task);
	struct route m = rule ? *rule : ROUTE_NONE;

	m.queue = asked->queue ? asked->queue : m.queue;
	m.exchange = asked->exchange ? asked->exchange : m.exchange;
	m.exchange_type = asked->exchange_type ? asked->exchange_type : m.exchange_type;
	m.routing_key = asked->routing_key ? asked->routing_key : m.routing_key;
	m.priority = asked->priority >= 0 ? asked->priority : m.priority;
	m.delivery_mode = asked->delivery_mode ? asked->delivery_mode : m.delivery_mode;
	/* A rule that names only an exchange leaves out the default queue. */
	if (!m.queue && (!rule || !m.exchange))
		m.queue = r->default_queue;
	return m;
}

/* A direct queue is reached by its name through the default exchange; so is one that has no
 * exchange of its own. */
static bool goes_by_name(const struct route *m, const struct queue_def *queue)
{
	const char *type = m->exchange_type ? m->exchange_type : queue->exchange_type;

	if (!m->exchange && !*queue->exchange)
		return true;
	return (!m->exchange || !m->routing_key) && (!type || strcmp(type, "direct") == 0);
}

static void aim(struct destination *to, const struct route *m)
{
	const struct queue_def *queue = to->declare;

	to->exchange = m->exchange ? m->exchange : "";
	to->routing_key = m->routing_key ? m->routing_key : "";
	if (!queue)
		return;
	if (goes_by_name(m, queue)) {
		to->exchange = "";
		to->routing_key = to->queue;
	} else if (!m->exchange) {
		to->exchange = queue->exchange;
		to->routing_key = m->routing_key ? m->routing_key : queue->routing_key;
	}
}

int routing_send(const struct routing *r, const char *task, const struct route *asked,
		 struct destination *to, struct err *err)
{
	struct route m = merged(r, task, asked);
	const struct queue *q = NULL;

	*to = (struct destination){.priority = m.priority, .delivery_mode = m.delivery_mode};
	if (m.queue && expand(r, m.queue, to, &q, err) < 0)
		return -1;
	if (!to->delivery_mode)
		to->delivery_mode = q && q->delivery_mode ? q->delivery_mode : 2;
	aim(to, &m);
	if (q && q->is_broadcast) {
		to->broadcast_to = to->declare;
		to->declare = NULL;
	}
	return 0;
}

const struct exchange_def *destination_exchange(const struct destination *to,
						struct exchange_def *scratch)
{
	const struct queue_def *def = to->broadcast_to;

	if (!def || !*to->exchange || def->is_given || def->is_exchange_given ||
	    def->is_exchange_auto_delete || def->exchange_arguments)
		return NULL;
	*scratch = (struct exchange_def){.name = to->exchange,
					 .type = def->exchange_type,
					 .is_durable = !def->is_exchange_transient};
	return scratch;
}
