#include "transport/queue_def.h"

static bool has_main_binding(const struct queue_def *def)
{
	return def->exchange && *def->exchange;
}

size_t queue_def_binding_count(const struct queue_def *def)
{
	return def->binding_count + (has_main_binding(def) ? 1 : 0);
}

struct binding_def queue_def_binding(const struct queue_def *def, size_t index)
{
	struct binding_def b = {
		.exchange = def->exchange,
		.exchange_type = def->exchange_type,
		.routing_key = def->routing_key ? def->routing_key : def->name,
		.arguments = def->binding_arguments,
		.exchange_arguments = def->exchange_arguments,
		.is_exchange_transient = def->is_exchange_transient,
		.is_exchange_auto_delete = def->is_exchange_auto_delete,
		.is_exchange_given = def->is_exchange_given,
	};

	if (!has_main_binding(def) || index > 0)
		b = def->bindings[index - (has_main_binding(def) ? 1 : 0)];
	if (!b.exchange_type)
		b.exchange_type = "direct";
	if (!b.routing_key)
		b.routing_key = "";
	return b;
}
