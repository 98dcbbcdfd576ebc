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

static int arguments_load(struct topology *q, const char *text, struct err *err)
{
	json_error_t why;

	if (!text || !*text)
		return 0;
	if (strlen(text) > ARGUMENTS_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "queue '%s': arguments of more than %d bytes",
			       q->name, ARGUMENTS_MAX_BYTES);
	q->arguments = json_loads(text, 0, &why);
	if (!json_is_object(q->arguments))
		return err_set(err, ERR_INVALID, "queue '%s': arguments are no JSON object",
			       q->name);
	return 0;
}

struct topology *topology_new(const struct queue_def *def, struct err *err)
{
	struct topology *q;

	if (!def->name || !*def->name) {
		err_set(err, ERR_INVALID, "a queue without name");
		return NULL;
	}
	if (name_check("queue name", def->name, err) != 0 ||
	    name_check("exchange name", def->exchange, err) != 0 ||
	    name_check("routing key", def->routing_key, err) != 0)
		return NULL;
	q = mem_calloc(1, sizeof(*q));
	q->name = mem_strdup(def->name);
	q->exchange = mem_strdup(def->exchange ? def->exchange : "");
	q->exchange_type = mem_strdup(def->exchange_type ? def->exchange_type : "direct");
	q->routing_key = mem_strdup(def->routing_key ? def->routing_key : def->name);
	q->is_transient = def->is_transient;
	q->is_auto_delete = def->is_auto_delete;
	q->is_exclusive = def->is_exclusive;
	q->is_exchange_transient = def->is_exchange_transient;
	q->is_exchange_auto_delete = def->is_exchange_auto_delete;
	if (arguments_load(q, def->arguments, err) != 0) {
		topology_free(q);
		return NULL;
	}
	return q;
}

struct topology *topology_new_exchange(const struct exchange_def *def, struct err *err)
{
	struct queue_def as_queue = {
		.name = def->name, .exchange = def->name, .exchange_type = def->type};

	if (!def->name || !*def->name) {
		err_set(err, ERR_INVALID, "an exchange without name");
		return NULL;
	}
	struct topology *q = topology_new(&as_queue, err);
	if (q) {
		q->is_exchange_only = true;
		q->is_exchange_transient = !def->is_durable;
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
	};
	struct topology *q = topology_new(&as_queue, err);

	if (!q)
		return NULL;
	q->is_exchange_transient = !def->is_exchange_durable;
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
	free(q->name);
	free(q->exchange);
	free(q->exchange_type);
	free(q->routing_key);
	json_decref(q->arguments);
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

static int exchange_declare(const struct topology *q, struct amqp_conn *conn, unsigned channel)
{
	amqp_exchange_declare_t declare = {
		.exchange = amqp_text(q->exchange),
		.type = amqp_text(q->exchange_type),
		.durable = !q->is_exchange_transient,
		.auto_delete = q->is_exchange_auto_delete,
	};

	return amqp_conn_send(conn, channel, AMQP_EXCHANGE_DECLARE_METHOD, &declare);
}

static int queue_declare(const struct topology *q, struct amqp_conn *conn, unsigned channel)
{
	amqp_queue_declare_t declare = {
		.queue = amqp_text(q->name),
		.durable = !q->is_transient,
		.auto_delete = q->is_auto_delete,
		.exclusive = q->is_exclusive,
	};
	amqp_pool_t pool;
	int rc;

	init_amqp_pool(&pool, 1024);
	rc = amqp_field_from_json(q->arguments, &pool, &declare.arguments, NULL);
	if (rc == 0)
		rc = amqp_conn_send(conn, channel, AMQP_QUEUE_DECLARE_METHOD, &declare);
	empty_amqp_pool(&pool);
	return rc;
}

static int queue_bind(const struct topology *q, struct amqp_conn *conn, unsigned channel)
{
	amqp_queue_bind_t bind = {
		.queue = amqp_text(q->name),
		.exchange = amqp_text(q->exchange),
		.routing_key = amqp_text(q->routing_key),
	};

	return amqp_conn_send(conn, channel, AMQP_QUEUE_BIND_METHOD, &bind);
}

int topology_declare(const struct topology *q, struct amqp_conn *conn, unsigned channel,
		     amqp_method_number_t *ret_last)
{
	bool has_exchange = *q->exchange != '\0';

	if (q->is_exchange_only) {
		*ret_last = AMQP_EXCHANGE_DECLARE_OK_METHOD;
		return exchange_declare(q, conn, channel);
	}
	*ret_last = has_exchange ? AMQP_QUEUE_BIND_OK_METHOD : AMQP_QUEUE_DECLARE_OK_METHOD;
	if (has_exchange && exchange_declare(q, conn, channel) != 0)
		return -1;
	if (queue_declare(q, conn, channel) != 0)
		return -1;
	return has_exchange ? queue_bind(q, conn, channel) : 0;
}

void amqp_channel_error(const amqp_channel_close_t *close, struct err *err)
{
	json_t *text = amqp_field_string(close->reply_text.bytes, close->reply_text.len);

	/* The text begins with the code's name: "PRECONDITION_FAILED - inequivalent arg ..." */
	err_set(err, ERR_REFUSED, "%u %s", close->reply_code, json_string_value(text));
	json_decref(text);
}
