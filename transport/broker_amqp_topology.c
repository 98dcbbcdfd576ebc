#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/amqp_field.h"
#include "transport/broker_amqp.h"

#define NAME_MAX_BYTES	    255	 /* of a short string on the wire */
#define ARGUMENTS_MAX_BYTES 4096 /* as JSON text; must fit the method buffer with room to spare */

amqp_bytes_t amqp_text(const char *text)
{
	amqp_bytes_t bytes = {0};

	if (!text)
		return bytes;
	bytes.len = strlen(text);
	memcpy(&bytes.bytes, &text, sizeof(text)); /* the library only reads it */
	return bytes;
}

static int name_check(const char *what, const char *name, struct err *err)
{
	if (name && strlen(name) > NAME_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "%s of more than %d bytes", what, NAME_MAX_BYTES);
	return 0;
}

static int arguments_load(json_t **ret_arguments, const char *queue, const char *text,
			  struct err *err)
{
	json_error_t why;

	if (!text || !*text)
		return 0;
	if (strlen(text) > ARGUMENTS_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "queue '%s': arguments of more than %d bytes", queue,
			       ARGUMENTS_MAX_BYTES);
	*ret_arguments = json_loads(text, 0, &why);
	if (!json_is_object(*ret_arguments))
		return err_set(err, ERR_INVALID, "queue '%s': arguments are no JSON object", queue);
	return 0;
}

/* Exchanges of these names are the broker's own, and to declare them is an error. */
static bool is_internal(const char *exchange)
{
	return strncmp(exchange, "amq.", 4) == 0;
}

static int binding_load(struct topology_binding *b, const char *queue,
			const struct binding_def *def, struct err *err)
{
	if (name_check("exchange name", def->exchange, err) != 0 ||
	    name_check("routing key", def->routing_key, err) != 0)
		return -1;
	b->exchange = mem_strdup(def->exchange);
	b->exchange_type = mem_strdup(def->exchange_type);
	b->routing_key = mem_strdup(def->routing_key);
	b->is_exchange_transient = def->is_exchange_transient;
	b->is_exchange_auto_delete = def->is_exchange_auto_delete;
	b->is_exchange_given = def->is_exchange_given || is_internal(def->exchange);
	if (arguments_load(&b->arguments, queue, def->arguments, err) != 0)
		return -1;
	return arguments_load(&b->exchange_arguments, queue, def->exchange_arguments, err);
}

static int bindings_load(struct topology *q, const struct queue_def *def, struct err *err)
{
	size_t count = queue_def_binding_count(def);

	q->bindings = mem_calloc(count + 1, sizeof(*q->bindings));
	q->binding_count = count;
	for (size_t i = 0; i < count; i++) {
		struct binding_def binding = queue_def_binding(def, i);

		if (binding_load(&q->bindings[i], q->name, &binding, err) != 0)
			return -1;
	}
	return 0;
}

struct topology *topology_new(const struct queue_def *def, struct err *err)
{
	struct topology *q;

	if (!def->name || !*def->name) {
		err_set(err, ERR_INVALID, "a queue without name");
		return NULL;
	}
	if (name_check("queue name", def->name, err) != 0)
		return NULL;
	q = mem_calloc(1, sizeof(*q));
	q->name = mem_strdup(def->name);
	q->is_transient = def->is_transient;
	q->is_auto_delete = def->is_auto_delete;
	q->is_exclusive = def->is_exclusive;
	q->is_given = def->is_given;
	q->is_broadcast = def->is_broadcast;
	if (bindings_load(q, def, err) != 0 ||
	    arguments_load(&q->arguments, q->name, def->arguments, err) != 0 ||
	    arguments_load(&q->consumer_arguments, q->name, def->consumer_arguments, err) != 0) {
		topology_free(q);
		return NULL;
	}
	return q;
}

struct topology *topology_new_exchange(const struct exchange_def *def, struct err *err)
{
	struct queue_def as_queue = {.name = def->name,
				     .exchange = def->name,
				     .exchange_type = def->type,
				     .is_exchange_transient = !def->is_durable};

	if (!def->name || !*def->name) {
		err_set(err, ERR_INVALID, "an exchange without name");
		return NULL;
	}
	struct topology *q = topology_new(&as_queue, err);
	if (q) {
		q->is_exchange_only = true;
		q->bindings[0].is_exchange_given = false;
	}
	return q;
}

static void argument_ms(struct topology *q, const char *name, double seconds)
{
	if (seconds < 0)
		return;
	if (!q->arguments)
		q->arguments = json_object();
	json_object_set_new(q->arguments, name, json_integer((json_int_t)(seconds * 1000)));
}

struct topology *topology_new_mailbox(const struct mailbox_def *def, struct err *err)
{
	struct queue_def as_queue = {
		.name = def->queue,
		.exchange = def->exchange,
		.exchange_type = def->exchange_type,
		.routing_key = def->binding_key ? def->binding_key : "",
		.is_exchange_transient = !def->is_exchange_durable,
	};
	struct topology *q = topology_new(&as_queue, err);

	if (!q)
		return NULL;
	q->is_transient = !def->is_durable;
	q->is_auto_delete = !def->is_durable;
	q->is_exclusive = def->is_exclusive;
	argument_ms(q, "x-message-ttl", def->ttl_s);
	argument_ms(q, "x-expires", def->expires_s);
	return q;
}

void topology_free(struct topology *q)
{
	if (!q)
		return;
	for (size_t i = 0; i < q->binding_count; i++) {
		free(q->bindings[i].exchange);
		free(q->bindings[i].exchange_type);
		free(q->bindings[i].routing_key);
		json_decref(q->bindings[i].arguments);
		json_decref(q->bindings[i].exchange_arguments);
	}
	free(q->bindings);
	free(q->name);
	json_decref(q->arguments);
	json_decref(q->consumer_arguments);
	free(q);
}

bool topology_is_quorum(const struct topology *q)
{
	const char *type = json_string_value(json_object_get(q->arguments, "x-queue-type"));

	return type && strcmp(type, "quorum") == 0;
}

bool topology_has_single_consumer(const struct topology *q)
{
	return json_is_true(json_object_get(q->arguments, "x-single-active-consumer"));
}

/* Sends a method whose `table` member takes the arguments. */
static int send_with(struct amqp_conn *conn, unsigned channel, amqp_method_number_t id,
		     void *method, const json_t *arguments, amqp_table_t *table)
{
	amqp_pool_t pool;
	int rc = 0;

	init_amqp_pool(&pool, 1024);
	if (arguments)
		rc = amqp_field_from_json(arguments, &pool, table, NULL);
	if (rc == 0)
		rc = amqp_conn_send(conn, channel, id, method);
	empty_amqp_pool(&pool);
	return rc;
}

static int exchange_declare(const struct topology_binding *b, struct amqp_conn *conn,
			    unsigned channel)
{
	amqp_exchange_declare_t declare = {
		.exchange = amqp_text(b->exchange),
		.type = amqp_text(b->exchange_type),
		.durable = !b->is_exchange_transient,
		.auto_delete = b->is_exchange_auto_delete,
	};

	return send_with(conn, channel, AMQP_EXCHANGE_DECLARE_METHOD, &declare,
			 b->exchange_arguments, &declare.arguments);
}

static int queue_declare(const struct topology *q, struct amqp_conn *conn, unsigned channel)
{
	amqp_queue_declare_t declare = {
		.queue = amqp_text(q->name),
		.passive = q->is_given,
		.durable = !q->is_transient,
		.auto_delete = q->is_auto_delete,
		.exclusive = q->is_exclusive,
	};

	return send_with(conn, channel, AMQP_QUEUE_DECLARE_METHOD, &declare, q->arguments,
			 &declare.arguments);
}

int topology_bind(const struct topology *q, const struct topology_binding *b, bool is_nowait,
		  struct amqp_conn *conn, unsigned channel)
{
	amqp_queue_bind_t bind = {
		.queue = amqp_text(q->name),
		.exchange = amqp_text(b->exchange),
		.routing_key = amqp_text(b->routing_key),
		.nowait = is_nowait,
	};

	return send_with(conn, channel, AMQP_QUEUE_BIND_METHOD, &bind, b->arguments,
			 &bind.arguments);
}

int topology_bind_exchange(const char *exchange, const char *source, const char *routing_key,
			   bool is_nowait, struct amqp_conn *conn, unsigned channel)
{
	amqp_exchange_bind_t bind = {
		.destination = amqp_text(exchange),
		.source = amqp_text(source),
		.routing_key = amqp_text(routing_key),
		.nowait = is_nowait,
	};

	return amqp_conn_send(conn, channel, AMQP_EXCHANGE_BIND_METHOD, &bind);
}

int topology_declare(const struct topology *q, struct amqp_conn *conn, unsigned channel,
		     amqp_method_number_t *ret_last)
{
	size_t count = q->is_given ? 0 : q->binding_count;

	*ret_last = q->is_exchange_only ? AMQP_EXCHANGE_DECLARE_OK_METHOD
		    : count > 0		? AMQP_QUEUE_BIND_OK_METHOD
					: AMQP_QUEUE_DECLARE_OK_METHOD;
	for (size_t i = 0; i < count; i++)
		if (!q->bindings[i].is_exchange_given &&
		    exchange_declare(&q->bindings[i], conn, channel) != 0)
			return -1;
	if (q->is_exchange_only)
		return 0;
	if (queue_declare(q, conn, channel) != 0)
		return -1;
	/* Only the last is answered, or its answer could not be told from the others'. */
	for (size_t i = 0; i < count; i++)
		if (topology_bind(q, &q->bindings[i], i + 1 < count, conn, channel) != 0)
			return -1;
	return 0;
}

int topology_consume(const struct topology *q, const char *tag, bool is_nowait,
		     struct amqp_conn *conn, unsigned channel)
{
	amqp_basic_consume_t consume = {
		.queue = amqp_text(q->name), .consumer_tag = amqp_text(tag), .nowait = is_nowait};

	return send_with(conn, channel, AMQP_BASIC_CONSUME_METHOD, &consume, q->consumer_arguments,
			 &consume.arguments);
}

void amqp_channel_error(const amqp_channel_close_t *close, struct err *err)
{
	json_t *text = amqp_field_string(close->reply_text.bytes, close->reply_text.len);

	/* The text begins with the code's name: "PRECONDITION_FAILED - inequivalent arg ..." */
	err_set(err, ERR_REFUSED, "%u %s", close->reply_code, json_string_value(text));
	json_decref(text);
}
