#include "worker/consume/queue_info.h"

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

/* json_deep_copy cuts keys at a NUL. */
static json_t *copy_of(const json_t *object)
{
	auto_str text = STR_INIT(ARGUMENTS_MOST);

	return pyjson_dump(&text, object) == 0 ? as_json(text.data) : json_null();
}

static json_t *number_of(const json_t *options, const char *name, bool is_real)
{
	const json_t *value = json_object_get(options, name);

	if (!json_is_number(value))
		return json_null();
	return is_real ? json_real(json_number_value(value))
		       : json_integer((json_int_t)json_number_value(value));
}

/* The first of the two that is there and not null. */
static bool flag(const json_t *options, const char *own, const char *common, bool otherwise)
{
	const json_t *value = json_object_get(options, own);

	if (!value || json_is_null(value))
		value = json_object_get(options, common);
	if (!value || json_is_null(value))
		return otherwise;
	struct value v = value_of_json(value);

	return value_is_truthy(&v);
}

void queue_info_flags(struct queue_def *def, const json_t *options)
{
	def->is_transient = !flag(options, "queue_durable", "durable", true);
	def->is_exchange_transient = !flag(options, "exchange_durable", "durable", true);
	def->is_auto_delete = flag(options, "queue_auto_delete", "auto_delete", false);
	def->is_exchange_auto_delete = flag(options, "exchange_auto_delete", "auto_delete", false);
	def->is_exclusive = flag(options, "exclusive", "exclusive", false);
	if (def->is_exclusive)
		def->is_auto_delete = true;
}

/* Names of kombu for what RabbitMQ calls x-...; times go out in milliseconds. */
char *queue_info_arguments(const json_t *options)
{
	static const struct {
		const char *name, *argument;
		double factor;
	} rows[] = {{"expires", "x-expires", 1000},
		    {"message_ttl", "x-message-ttl", 1000},
		    {"max_length", "x-max-length", 1},
		    {"max_length_bytes", "x-max-length-bytes", 1},
		    {"max_priority", "x-max-priority", 1}};
	const json_t *given = json_object_get(options, "queue_arguments");
	json_t *all = json_is_object(given) ? copy_of(given) : json_object();
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
	return text.len > 0 && !text.is_full ? str_detach(&text) : NULL;
}

static json_t *exchange_info(const struct queue_def *def)
{
	return json_pack("{s:s, s:s, s:n, s:b, s:b, s:b, s:n, s:b}", "name", def->exchange, "type",
			 def->exchange_type, "arguments", "durable", !def->is_exchange_transient,
			 "passive", 0, "auto_delete", def->is_exchange_auto_delete, "delivery_mode",
			 "no_declare", 0);
}

json_t *queue_info(const struct queue_def *def, const json_t *options)
{
	const json_t *shown = json_object_get(options, "queue_arguments");
	json_t *arguments = !options		    ? as_json(def->arguments)
			    : json_is_object(shown) ? copy_of(shown)
						    : json_null();

	return json_pack("{s:s, s:o, s:s, s:o, s:n, s:n, s:b, s:b, s:b, s:b, s:n, s:[], s:n, s:o, "
			 "s:o, s:o, s:o, s:o}",
			 "name", def->name, "exchange", exchange_info(def), "routing_key",
			 def->routing_key, "queue_arguments", arguments, "binding_arguments",
			 "consumer_arguments", "durable", !def->is_transient, "exclusive",
			 def->is_exclusive, "auto_delete", def->is_auto_delete, "no_ack", 0,
			 "alias", "bindings", "no_declare", "expires",
			 number_of(options, "expires", true), "message_ttl",
			 number_of(options, "message_ttl", true), "max_length",
			 number_of(options, "max_length", false), "max_length_bytes",
			 number_of(options, "max_length_bytes", false), "max_priority",
			 number_of(options, "max_priority", false));
}
