#include "protocol/value.h"

#include "protocol/pyjson.h"

struct value value_of_json(const json_t *json)
{
	struct value value = {.kind = VALUE_ABSENT};

	if (!json)
		return value;
	switch (json_typeof(json)) {
	case JSON_NULL:
		value.kind = VALUE_NULL;
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		value.kind = VALUE_BOOL;
		value.truth = json_is_true(json);
		break;
	case JSON_INTEGER:
		value.kind = VALUE_INT;
		value.integer = json_integer_value(json);
		break;
	case JSON_REAL:
		value.kind = VALUE_REAL;
		value.real = json_real_value(json);
		break;
	case JSON_STRING:
		value.kind = VALUE_TEXT;
		value.text = (struct span){json_string_value(json), json_string_length(json)};
		break;
	case JSON_ARRAY:
	case JSON_OBJECT:
		value.kind = VALUE_JSON;
		value.json = (json_t *)(uintptr_t)json; /* only its reference count is written */
		break;
	}
	return value;
}

static bool is_plain_list(const json_t *json)
{
	if (!json_is_array(json))
		return false;
	for (size_t i = 0; i < json_array_size(json); i++)
		if (value_of_json(json_array_get(json, i)).kind == VALUE_JSON)
			return false;
	return true;
}

struct value value_copy_json(struct arena *arena, const json_t *json)
{
	struct value value = value_of_json(json);

	if (value.kind == VALUE_TEXT)
		value.text.data = arena_dup(arena, value.text.data, value.text.len);
	if (value.kind != VALUE_JSON)
		return value;
	if (json_is_object(json) && json_object_size(json) == 0)
		return (struct value){.kind = VALUE_EMPTY};
	if (is_plain_list(json)) {
		size_t count = json_array_size(json);
		struct value *items = arena_alloc(arena, count * sizeof(*items));

		for (size_t i = 0; i < count; i++)
			items[i] = value_copy_json(arena, json_array_get(json, i));
		return (struct value){.kind = VALUE_LIST, .list = {items, count}};
	}
	json_incref(value.json);
	return value;
}

json_t *value_to_json(const struct value *value)
{
	json_t *array;

	switch (value->kind) {
	case VALUE_ABSENT:
		break;
	case VALUE_NULL:
		return json_null();
	case VALUE_BOOL:
		return json_boolean(value->truth);
	case VALUE_INT:
		return json_integer(value->integer);
	case VALUE_REAL:
		return json_real(value->real);
	case VALUE_TEXT:
		return json_stringn_nocheck(value->text.data, value->text.len);
	case VALUE_LIST:
		array = json_array();
		for (size_t i = 0; i < value->list.count; i++)
			json_array_append_new(array, value_to_json(&value->list.items[i]));
		return array;
	case VALUE_EMPTY:
		return json_object();
	case VALUE_JSON:
		return json_incref(value->json);
	}
	return NULL;
}

void value_drop(struct value *value)
{
	if (value->kind == VALUE_JSON)
		json_decref(value->json);
	value->kind = VALUE_ABSENT;
}

bool value_is_list(const struct value *value)
{
	return value->kind == VALUE_LIST ||
	       (value->kind == VALUE_JSON && json_is_array(value->json));
}

size_t value_list_size(const struct value *value)
{
	if (value->kind == VALUE_LIST)
		return value->list.count;
	return value->kind == VALUE_JSON ? json_array_size(value->json) : 0;
}

struct value value_list_at(const struct value *value, size_t i)
{
	return value->kind == VALUE_LIST ? value->list.items[i]
					 : value_of_json(json_array_get(value->json, i));
}

static bool json_is_truthy(const json_t *json)
{
	const char *token;
	enum pyjson_tag tag;

	if (json_is_array(json))
		return json_array_size(json) > 0;
	tag = pyjson_tag(json, &token);
	if (tag == PYJSON_BYTES || tag == PYJSON_BASE64)
		return *token != '\0';
	return json_object_size(json) > 0;
}

bool value_is_truthy(const struct value *value)
{
	switch (value->kind) {
	case VALUE_ABSENT:
	case VALUE_NULL:
	case VALUE_EMPTY:
		break;
	case VALUE_BOOL:
		return value->truth;
	case VALUE_INT:
		return value->integer != 0;
	case VALUE_REAL:
		return value->real != 0.0;
	case VALUE_TEXT:
		return value->text.len > 0;
	case VALUE_LIST:
		return value->list.count > 0;
	case VALUE_JSON:
		return json_is_truthy(value->json);
	}
	return false;
}

int value_dump(struct str *out, const struct value *value)
{
	json_t *json;
	int result;

	if (value->kind == VALUE_TEXT)
		return pyjson_dump_str(out, value->text.data, value->text.len);
	if (value->kind == VALUE_NULL)
		return str_puts(out, "null");
	json = value_to_json(value);
	result = pyjson_dump(out, json);
	json_decref(json);
	return result;
}
