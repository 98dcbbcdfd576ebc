#include "transport/redis_record.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_items.h"

static char *text_of(struct span value)
{
	auto_arena arena = {0};

	if (value.data == NULL || pyjson_kind_of(value) != PYJSON_STRING)
		return mem_strdup("");
	value = pyjson_items_decode(&arena, (struct span){value.data + 1, value.len - 2});
	return mem_dup(value.data, value.len);
}

/* kombu takes what int() takes; others are seldom. */
static int priority_of(struct span message)
{
	auto_items root, properties;
	struct span value;
	int priority = -1;

	pyjson_items_init(&root);
	pyjson_items_init(&properties);
	if (pyjson_items_scan(&root, message.data, message.len, NULL) < 0)
		return -1;
	value = pyjson_items_find(&root, "properties");
	if (value.data == NULL || pyjson_items_scan(&properties, value.data, value.len, NULL) < 0)
		return -1;
	value = pyjson_items_find(&properties, "priority");
	if (value.data != NULL && pyjson_kind_of(value) == PYJSON_NUM) {
		struct value number = pyjson_items_value(NULL, value);

		if (number.kind == VALUE_INT)
			priority = number.integer < 0	? 0
				   : number.integer > 9 ? 9
							: (int)number.integer;
		value_drop(&number);
	}
	return priority;
}

int redis_record_read(struct redis_record *record, const char *data, size_t len, struct err *err)
{
	auto_items items;

	memset(record, 0, sizeof(*record));
	pyjson_items_init(&items);
	if (pyjson_items_scan(&items, data, len, err) < 0)
		return err_prefix(err, "record of an unacked message: ");
	if (items.kind != PYJSON_ARRAY || items.count != 3 ||
	    pyjson_kind_of(items.all[0].value) != PYJSON_OBJECT)
		return err_set(err, ERR_INVALID,
			       "record of an unacked message: not [message, exchange, key]");
	record->message = items.all[0].value;
	record->exchange = text_of(items.all[1].value);
	record->key = text_of(items.all[2].value);
	record->priority = priority_of(record->message);
	return 0;
}

/* Where a mark goes: in front of the members of an object. */
struct place {
	const char *at;
	bool is_empty; /* there are none */
};

/* False when there is more to do than to put a mark there. An object that is not there is none of
 * kombu's business either. */
static bool place_find(struct place *place, const struct pyjson_items *parent, const char *key)
{
	struct span value = pyjson_items_find(parent, key);
	auto_items items;

	pyjson_items_init(&items);
	if (value.data == NULL || pyjson_items_scan(&items, value.data, value.len, NULL) < 0 ||
	    items.kind != PYJSON_OBJECT || pyjson_items_find(&items, "redelivered").data != NULL)
		return false;
	*place = (struct place){value.data + 1, items.count == 0};
	return true;
}

/* As kombu's Redis transport does it: in the headers and in delivery_info, in the order in which
 * they stand in the message. */
static bool places_find(struct place places[2], struct span message)
{
	auto_items root, properties;
	struct span value;

	pyjson_items_init(&root);
	pyjson_items_init(&properties);
	if (pyjson_items_scan(&root, message.data, message.len, NULL) < 0 ||
	    !place_find(&places[0], &root, "headers"))
		return false;
	value = pyjson_items_find(&root, "properties");
	if (value.data == NULL || pyjson_items_scan(&properties, value.data, value.len, NULL) < 0 ||
	    !place_find(&places[1], &properties, "delivery_info"))
		return false;
	if (places[0].at > places[1].at) {
		struct place first = places[1];

		places[1] = places[0];
		places[0] = first;
	}
	return true;
}

/* The long way, for messages that are not all there, or were marked before. */
static int mark_loaded(struct str *out, struct span message)
{
	json_auto_t *root = pyjson_load(message.data, message.len, NULL);
	json_t *headers = json_object_get(root, "headers");
	json_t *info = json_object_get(json_object_get(root, "properties"), "delivery_info");

	if (!json_is_object(root))
		return -1;
	if (json_is_object(headers))
		json_object_set_new(headers, "redelivered", json_true());
	if (json_is_object(info))
		json_object_set_new(info, "redelivered", json_true());
	return pyjson_dump(out, root);
}

void redis_record_mark(struct str *out, const struct redis_record *record)
{
	struct place places[2];
	const char *from = record->message.data, *end = from + record->message.len;
	size_t before = out->len;

	if (places_find(places, record->message)) {
		for (int i = 0; i < 2; i++) {
			str_add(out, from, (size_t)(places[i].at - from));
			str_puts(out, "\"redelivered\": true");
			str_puts(out, places[i].is_empty ? "" : ", ");
			from = places[i].at;
		}
		str_add(out, from, (size_t)(end - from));
		return;
	}
	if (mark_loaded(out, record->message) == 0)
		return;
	out->len = before;
	out->is_full = false;
	str_add(out, record->message.data, record->message.len);
}

void redis_record_clear(struct redis_record *record)
{
	free(record->exchange);
	free(record->key);
	record->exchange = record->key = NULL;
}
