#include "worker/routing/queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/text.h"
#include "protocol/pyjson.h"
#include "worker/routing/queue_info.h"
#include "worker/routing/queue_options.h"

#define NAME_MOST      255 /* of a short string in AMQP */
#define ARGUMENTS_MOST 65536

static const char *const queue_keys[] = {
	"name", "exchange", "exchange_type", "exchange_durable", "exchange_auto_delete",
	"exchange_arguments", "routing_key", "binding_key", "queue_arguments", "binding_arguments",
	"consumer_arguments", "durable", "queue_durable", "exclusive", "auto_delete",
	"queue_auto_delete", "no_ack", "alias", "bindings", "no_declare", "expires", "message_ttl",
	"max_length", "max_length_bytes", "max_priority", "delivery_mode",
	/* kombu's Broadcast */
	"broadcast", "queue", "unique", NULL};
static const char *const exchange_keys[] = {
	"name", "type", "durable", "auto_delete", "arguments", "delivery_mode", "no_declare", NULL};
static const char *const binding_keys[] = {"exchange", "exchange_type", "routing_key", "arguments",
					   NULL};

/* What is being read. */
struct reader {
	struct queue *q;
	struct queue_options o;
	enum queue_form form;
	const struct queue_defaults *defaults;
};

static bool is_type(const char *type)
{
	/* RabbitMQ's plug-ins bring more, whose names begin with x-. */
	return strcmp(type, "direct") == 0 || strcmp(type, "topic") == 0 ||
	       strcmp(type, "fanout") == 0 || strcmp(type, "headers") == 0 ||
	       strncmp(type, "x-", 2) == 0;
}

static void check_type(struct reader *r, const char *type)
{
	if (type && !is_type(type) && r->form != QUEUE_REMOTE)
		err_set(r->o.err, ERR_INVALID,
			"%s: '%.60s' is no type of exchange; use direct, topic, fanout or headers",
			r->o.what, type);
}

/* An exchange written as a name, or as a mapping like kombu's Exchange. */
static void read_exchange(struct reader *r, const json_t *value, struct binding_def *b,
			  int *ret_delivery_mode)
{
	struct queue_options o = r->o;

	if (!json_is_object(value))
		return;
	o.values = value;
	options_only(&o, exchange_keys);
	b->exchange = options_text(&o, "name");
	if (!b->exchange && !o.is_lenient)
		err_set(o.err, ERR_INVALID, "%s: an exchange without name", o.what);
	b->exchange_type = options_text(&o, "type");
	b->exchange_arguments = options_object(&o, "arguments");
	b->is_exchange_transient = !options_flag(&o, "durable", true);
	b->is_exchange_auto_delete = options_flag(&o, "auto_delete", false);
	b->is_exchange_given = options_flag(&o, "no_declare", false);
	*ret_delivery_mode = options_delivery_mode(&o, "delivery_mode");
}

/* kombu: the more special name, then the common one. */
static bool either_flag(struct queue_options *o, const char *own, const char *common,
			bool otherwise)
{
	return options_has(o, own) ? options_flag(o, own, otherwise)
				   : options_flag(o, common, otherwise);
}

/* Options of the exchange beside its name. Only from_dict hands the queue's own on to it. */
static void read_exchange_options(struct reader *r, struct binding_def *b)
{
	const char *durable = r->form == QUEUE_OBJECT ? "exchange_durable" : "durable";
	const char *auto_delete = r->form == QUEUE_OBJECT ? "exchange_auto_delete" : "auto_delete";

	b->exchange = options_text(&r->o, "exchange");
	b->exchange_type = options_text(&r->o, "exchange_type");
	b->exchange_arguments = options_object(&r->o, "exchange_arguments");
	b->is_exchange_transient = !either_flag(&r->o, "exchange_durable", durable, true);
	b->is_exchange_auto_delete = either_flag(&r->o, "exchange_auto_delete", auto_delete, false);
	r->q->delivery_mode = options_delivery_mode(&r->o, "delivery_mode");
}

static void read_main_binding(struct reader *r, struct binding_def *b)
{
	const json_t *exchange = json_object_get(r->o.values, "exchange");

	if (json_is_object(exchange))
		read_exchange(r, exchange, b, &r->q->delivery_mode);
	else
		read_exchange_options(r, b);
	check_type(r, b->exchange_type);
	b->arguments = options_object(&r->o, "binding_arguments");
	b->routing_key = options_text(&r->o, "binding_key");
	if (!b->routing_key || !*b->routing_key)
		b->routing_key = options_text(&r->o, "routing_key");
}

/* celery/app/amqp.py, Queues._add() and __setitem__(). */
static void fill_defaults(struct reader *r, struct binding_def *b)
{
	if (r->form == QUEUE_REMOTE && !b->exchange)
		b->exchange = r->q->name; /* celery/worker/consumer/consumer.py, add_task_queue() */
	if (!b->exchange || !*b->exchange) {
		*b = (struct binding_def){.exchange = r->defaults->exchange,
					  .exchange_type = r->defaults->exchange_type,
					  .routing_key = b->routing_key,
					  .arguments = b->arguments};
		r->q->delivery_mode = 0;
	}
	if (!b->exchange_type || !*b->exchange_type)
		b->exchange_type = "direct";
	if (!b->routing_key && r->form != QUEUE_OBJECT && !r->q->is_broadcast)
		b->routing_key = r->q->name;
	if (!b->routing_key || !*b->routing_key)
		b->routing_key = r->defaults->routing_key;
}

/* Bindings */

static void read_binding(struct reader *r, const json_t *value, struct binding_def *b)
{
	const json_t *exchange = json_object_get(value, "exchange");
	struct reader of = *r;
	int ignored = 0;

	of.o.values = value;
	options_only(&of.o, binding_keys);
	if (json_is_object(exchange)) {
		read_exchange(&of, exchange, b, &ignored);
	} else {
		b->exchange = options_text(&of.o, "exchange");
		b->exchange_type = options_text(&of.o, "exchange_type");
	}
	check_type(&of, b->exchange_type);
	b->routing_key = options_text(&of.o, "routing_key");
	b->arguments = options_object(&of.o, "arguments");
	if (!b->exchange || !*b->exchange)
		err_set(of.o.err, ERR_INVALID, "%s: each of its bindings needs an exchange",
			of.o.what);
	if (!b->exchange_type)
		b->exchange_type = "direct";
	if (!b->routing_key)
		b->routing_key = "";
}

/* Strangers cannot describe them: kombu takes objects there. */
static void read_bindings(struct reader *r)
{
	const json_t *list = json_object_get(r->o.values, "bindings");
	size_t count = json_array_size(list);
	struct binding_def *all;

	if (!list || r->form == QUEUE_REMOTE)
		return;
	if (!json_is_array(list) || count > QUEUE_BINDINGS_MAX) {
		err_set(r->o.err, ERR_INVALID, "%s: 'bindings' must be a list of at most %d",
			r->o.what, QUEUE_BINDINGS_MAX);
		return;
	}
	all = arena_alloc(&r->q->texts, (count + 1) * sizeof(*all));
	memset(all, 0, (count + 1) * sizeof(*all));
	for (size_t i = 0; i < count; i++)
		read_binding(r, json_array_get(list, i), &all[i]);
	r->q->def.bindings = all;
	r->q->def.binding_count = count;
}

/* The queue itself */

/* task_queue_max_priority stands in queue_arguments, where an own x-max-priority goes before. */
static const char *with_max_priority(struct reader *r, const char *arguments)
{
	json_t *all = arguments ? pyjson_load(arguments, strlen(arguments), NULL) : json_object();
	auto_str text = STR_INIT(ARGUMENTS_MOST);

	if (r->defaults->max_priority > 0 && !json_object_get(all, "x-max-priority"))
		json_object_set_new(all, "x-max-priority", json_integer(r->defaults->max_priority));
	if (json_object_size(all) > 0)
		pyjson_dump(&text, all);
	json_decref(all);
	return text.len > 0 && !text.is_full ? arena_dup(&r->q->texts, text.data, text.len) : NULL;
}

static void check_numbers(struct reader *r)
{
	static const char *const numbers[] = {"expires", "message_ttl", "max_length",
					      "max_length_bytes", "max_priority"};
	double ignored;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		options_number(&r->o, numbers[i], &ignored);
	if (options_flag(&r->o, "no_ack", false) && r->form != QUEUE_REMOTE)
		err_set(r->o.err, ERR_UNSUPPORTED,
			"%s: no_ack loses tasks with the worker and is not supported; remove it",
			r->o.what);
}

static void read_flags(struct reader *r)
{
	struct queue_def *def = &r->q->def;

	def->is_transient = !either_flag(&r->o, "queue_durable", "durable", true);
	def->is_exclusive = options_flag(&r->o, "exclusive", false);
	def->is_auto_delete =
		either_flag(&r->o, "queue_auto_delete", "auto_delete", r->q->is_broadcast) ||
		def->is_exclusive;
	def->is_given = options_flag(&r->o, "no_declare", false);
}

/* kombu/common.py: its name is the exchange's, its queue one of this worker's own. */
static void read_broadcast(struct reader *r, const char *name)
{
	const char *queue = options_text(&r->o, "queue");
	bool is_unique = options_flag(&r->o, "unique", false) || !queue;
	char id[37];

	uuid4(id);
	auto_free char *made = mem_printf("%s.%s", queue ? queue : "bcast", id);
	r->q->name = is_unique ? arena_strdup(&r->q->texts, made) : queue;
	r->q->def.is_private = is_unique;
	r->q->def.is_broadcast = true;
	if (!r->q->alias)
		r->q->alias = arena_strdup(&r->q->texts, name);
}

static void check_broadcast_keys(struct reader *r)
{
	if (r->form != QUEUE_REMOTE && !r->q->is_broadcast &&
	    (options_has(&r->o, "queue") || options_has(&r->o, "unique")))
		err_set(r->o.err, ERR_INVALID, "%s: 'queue' and 'unique' go with 'broadcast: true'",
			r->o.what);
}

static void read_queue(struct reader *r, const char *name)
{
	struct queue *q = r->q;
	struct queue_shown shown = {.options = r->o.values};
	struct binding_def b = {0};

	if (r->form != QUEUE_REMOTE)
		q->is_broadcast = options_flag(&r->o, "broadcast", false);
	q->name = arena_strdup(&q->texts, name);
	q->alias = options_text(&r->o, "alias");
	check_broadcast_keys(r);
	read_main_binding(r, &b);
	if (q->is_broadcast) {
		read_broadcast(r, name);
		if (!b.exchange || !*b.exchange) {
			b.exchange = arena_strdup(&q->texts, name);
			b.exchange_type = b.exchange_type ? b.exchange_type : "fanout";
		}
	}
	fill_defaults(r, &b);
	read_bindings(r);
	/* kombu's copy of a queue with bindings, which is what it declares, has no exchange. */
	if (q->def.binding_count > 0)
		b.exchange = "";
	read_flags(r);
	check_numbers(r);
	q->def.name = q->name;
	q->def.exchange = b.exchange;
	q->def.exchange_type = b.exchange_type;
	q->def.routing_key = b.routing_key;
	q->def.binding_arguments = b.arguments;
	q->def.exchange_arguments = b.exchange_arguments;
	q->def.is_exchange_transient = b.is_exchange_transient;
	q->def.is_exchange_auto_delete = b.is_exchange_auto_delete;
	q->def.is_exchange_given = b.is_exchange_given;
	q->def.consumer_arguments = options_object(&r->o, "consumer_arguments");
	shown.queue_arguments = with_max_priority(r, options_object(&r->o, "queue_arguments"));
	q->def.arguments = queue_info_arguments(r->o.values, shown.queue_arguments, &q->texts);
	q->info = queue_info(q, &shown);
}

static int check_name(const char *name, const char *what, struct err *err)
{
	if (strlen(name) > NAME_MOST || !utf8_is_valid(name, strlen(name)))
		return err_set(err, ERR_LIMIT, "%s must be UTF-8 of at most %d bytes", what,
			       NAME_MOST);
	return *name ? 0 : err_set(err, ERR_INVALID, "%s is empty", what);
}

struct queue *queue_read(const char *name, const json_t *options, enum queue_form form,
			 const struct queue_defaults *defaults, struct err *err)
{
	struct queue *q = mem_calloc(1, sizeof(*q));
	auto_free char *what = mem_printf("queue '%.100s'", name);
	struct err found = {0};
	struct reader r = {.q = q,
			   .form = form,
			   .defaults = defaults,
			   .o = {.values = options,
				 .what = what,
				 .is_lenient = form == QUEUE_REMOTE,
				 .texts = &q->texts,
				 .err = &found}};

	if (check_name(name, "the name of a queue", &found) == 0) {
		options_only(&r.o, queue_keys);
		read_queue(&r, name);
	}
	if (found.code == ERR_NONE && q->info)
		return q;
	if (found.code == ERR_NONE)
		err_set(&found, ERR_INVALID, "%s: its names must be UTF-8", what);
	err_set(err, found.code, "%s", found.text);
	queue_free(q);
	return NULL;
}

struct queue *queue_new(const struct queue_def *def, struct err *err)
{
	struct queue *q;
	struct queue_shown shown = {.queue_arguments = def->arguments};

	if (check_name(def->name, "the name of a queue", err) < 0 ||
	    (def->exchange && *def->exchange &&
	     check_name(def->exchange, "the name of an exchange", err) < 0))
		return NULL;
	q = mem_calloc(1, sizeof(*q));
	q->def = *def;
	q->name = q->def.name = arena_strdup(&q->texts, def->name);
	q->def.exchange = arena_strdup(&q->texts, def->exchange);
	q->def.exchange_type = arena_strdup(&q->texts, def->exchange_type);
	q->def.routing_key = arena_strdup(&q->texts, def->routing_key);
	q->def.arguments = arena_strdup(&q->texts, def->arguments);
	q->info = queue_info(q, &shown);
	if (q->info)
		return q;
	queue_free(q);
	err_set(err, ERR_INVALID, "queue '%.100s': its names must be UTF-8", def->name);
	return NULL;
}

bool queue_is_quorum(const struct queue *q)
{
	const char *text = q->def.arguments;
	json_t *arguments = text ? pyjson_load(text, strlen(text), NULL) : NULL;
	const char *type = json_string_value(json_object_get(arguments, "x-queue-type"));
	bool is_quorum = type && strcmp(type, "quorum") == 0;

	json_decref(arguments);
	return is_quorum;
}

void queue_free(struct queue *q)
{
	if (!q)
		return;
	json_decref(q->info);
	arena_clear(&q->texts);
	free(q);
}
