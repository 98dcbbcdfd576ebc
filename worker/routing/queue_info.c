#include "worker/routing/queue_info.h"

#include <string.h>

#include "base/str.h"
#include "protocol/pyjson.h"

/* JSON text of queue arguments. */
#define ARGUMENTS_MOST 65536

static json_t *as_json(const char *text)
{
	json_t *value = text ? pyjson_load(text, strlen(text), NULL) : NULL;

	return value ? value : json_null();
}

static json_t *number_of(const json_t *options, const char *name, bool is_real)
{
	const json_t *value = json_object_get(options, name);

	if (!json_is_number(value))
		return json_null();
	return is_real ? json_real(json_number_value(value))
		       : json_integer((json_int_t)json_number_value(value));
}

/* Names of kombu for what RabbitMQ calls x-...; times go out in milliseconds. */
const char *queue_info_arguments(const json_t *options, const char *queue_arguments,
				 struct arena *texts)
{
	static const struct {
		const char *name, *argument;
		double factor;
	} rows[] = {{"expires", "x-expires", 1000},
		    {"message_ttl", "x-message-ttl", 1000},
		    {"max_length", "x-max-length", 1},
		    {"max_length_bytes", "x-max-length-bytes", 1},
		    {"max_priority", "x-max-priority", 1}};
	json_t *all = queue_arguments ? as_json(queue_arguments) : json_object();
	auto_str text = STR_INIT(ARGUMENTS_MOST);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const json_t *value = json_object_get(options, rows[i].name);
		double number = json_number_value(value) * rows[i].factor;

		if (json_is_number(value) && number >= 0 && number < 9e15)
			json_object_set_new(all, rows[i].argument,
					    json_integer((json_int_t)number));
	}
	if (json_object_size(all) > 0)
		pyjson_dump(&text, all);
	json_decref(all);
	return text.len > 0 && !text.is_full ? arena_dup(texts, text.data, text.len) : NULL;
}

static json_t *exchange_info(const struct binding_def *b, int delivery_mode)
{
	return json_pack("{s:s, s:s, s:o, s:b, s:b, s:b, s:o, s:b}", "name", b->exchange, "type",
			 b->exchange_type, "arguments", as_json(b->exchange_arguments), "durable",
			 !b->is_exchange_transient, "passive", 0, "auto_delete",
			 b->is_exchange_auto_delete, "delivery_mode",
			 delivery_mode ? json_integer(delivery_mode) : json_null(), "no_declare",
			 b->is_exchange_given);
}

static json_t *bindings_info(const struct queue_def *def)
{
	json_t *all = json_array();

	for (size_t i = 0; i < def->binding_count; i++) {
		const struct binding_def *b = &def->bindings[i];

		json_array_append_new(all, json_pack("{s:o, s:s, s:o, s:n}", "exchange",
						     exchange_info(b, 0), "routing_key",
						     b->routing_key, "arguments",
						     as_json(b->arguments), "unbind_arguments"));
	}
	return all;
}

/* An option as it was given, of its first names the one that has a value. */
static json_t *given_flag(const json_t *options, const char *name)
{
	const json_t *value = json_object_get(options, name);

	if (!value || json_is_null(value))
		return json_null();
	struct value v = value_of_json(value);

	return json_boolean(value_is_truthy(&v));
}

json_t *queue_info(const struct queue *q, const struct queue_shown *shown)
{
	const struct queue_def *def = &q->def;
	const json_t *o = shown->options;
	struct queue_def own = *def;

	own.bindings = NULL;
	own.binding_count = 0;
	bool has_exchange = queue_def_binding_count(&own) > 0;
	json_t *exchange = json_null();
	if (has_exchange) {
		struct binding_def b = queue_def_binding(&own, 0);

		exchange = exchange_info(&b, q->delivery_mode);
	}
	json_t *info = json_pack(
		"{s:s, s:o, s:s, s:o, s:o, s:o, s:b, s:b, s:b, s:b, s:s?, s:o, s:o, s:o, "
		"s:o, s:o, s:o, s:o}",
		"name", q->name, "exchange", exchange, "routing_key",
		def->routing_key ? def->routing_key : q->name, "queue_arguments",
		as_json(shown->queue_arguments), "binding_arguments",
		as_json(def->binding_arguments), "consumer_arguments",
		as_json(def->consumer_arguments), "durable", !def->is_transient, "exclusive",
		def->is_exclusive, "auto_delete", def->is_auto_delete, "no_ack", 0, "alias",
		q->alias, "bindings", bindings_info(def), "no_declare", given_flag(o, "no_declare"),
		"expires", number_of(o, "expires", true), "message_ttl",
		number_of(o, "message_ttl", true), "max_length", number_of(o, "max_length", false),
		"max_length_bytes", number_of(o, "max_length_bytes", false), "max_priority",
		number_of(o, "max_priority", false));

	if (info && q->is_broadcast)
		json_object_set_new(info, "queue", json_string(q->name));
	return info;
}
