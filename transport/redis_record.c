#include "transport/redis_record.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson_items.h"
#include "transport/envelope.h"

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

/* Where the members of `properties.delivery_info` begin in the message, when a mark can stand in
 * front of them; NULL when it is more than that. */
static const char *mark_place(struct span message)
{
	auto_items root, properties, info;
	struct span value;

	pyjson_items_init(&root);
	pyjson_items_init(&properties);
	pyjson_items_init(&info);
	if (pyjson_items_scan(&root, message.data, message.len, NULL) < 0)
		return NULL;
	value = pyjson_items_find(&root, "properties");
	if (value.data == NULL || pyjson_items_scan(&properties, value.data, value.len, NULL) < 0)
		return NULL;
	value = pyjson_items_find(&properties, "delivery_info");
	if (value.data == NULL || pyjson_items_scan(&info, value.data, value.len, NULL) < 0 ||
	    info.kind != PYJSON_OBJECT || info.count == 0 ||
	    pyjson_items_find(&info, "redelivered").data != NULL)
		return NULL;
	return value.data + 1;
}

void redis_record_mark(struct str *out, const struct redis_record *record)
{
	const char *place = mark_place(record->message);
	size_t before = out->len, head = place ? (size_t)(place - record->message.data) : 0;

	if (place) {
		str_add(out, record->message.data, head);
		str_puts(out, "\"redelivered\": true, ");
		str_add(out, place, record->message.len - head);
		return;
	}
	if (envelope_mark_redelivered(out, record->message.data, record->message.len, NULL) == 0)
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
