#include "protocol/pyjson_items.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson_lex.h"

void pyjson_items_init(struct pyjson_items *items)
{
	items->all = items->some;
	items->count = 0;
	items->kind = PYJSON_NULL;
}

int pyjson_items_scan(struct pyjson_items *items, const char *data, size_t len, struct err *err)
{
	pyjson_items_init(items);
	if (pyjson_scan(data, len, &items->kind, items->some, PYJSON_ITEMS_SOME, &items->count,
			err) == -1)
		return -1;
	if (items->count <= PYJSON_ITEMS_SOME)
		return 0;
	items->all = mem_calloc(items->count, sizeof(*items->all));
	return pyjson_scan(data, len, &items->kind, items->all, items->count, &items->count, err);
}

void pyjson_items_clear(struct pyjson_items *items)
{
	if (items->all != items->some)
		free(items->all);
}

static bool key_is(struct span key, const char *name)
{
	auto_str text = {.max = STR_MAX_DEFAULT};

	if (!memchr(key.data, '\\', key.len))
		return key.len == strlen(name) && memcmp(key.data, name, key.len) == 0;
	pyjson_unescape(&text, key);
	return text.len == strlen(name) && memcmp(text.data, name, text.len) == 0;
}

struct span pyjson_items_find(const struct pyjson_items *items, const char *name)
{
	for (size_t i = items->kind == PYJSON_OBJECT ? items->count : 0; i > 0; i--)
		if (key_is(items->all[i - 1].key, name))
			return items->all[i - 1].value;
	return (struct span){0};
}

struct span pyjson_items_find_set(const struct pyjson_items *items, const char *name)
{
	struct span value = pyjson_items_find(items, name);

	return value.data && pyjson_kind_of(value) != PYJSON_NULL ? value : (struct span){0};
}

struct span pyjson_items_decode(struct arena *arena, struct span raw)
{
	auto_str text = {.max = STR_MAX_DEFAULT};

	if (!memchr(raw.data, '\\', raw.len))
		return raw;
	pyjson_unescape(&text, raw);
	return (struct span){arena_dup(arena, text.data, text.len), text.len};
}

/* An integer of 64 bits; false for any other number. */
static bool read_int(struct span token, int64_t *ret)
{
	char text[24];

	if (token.len >= sizeof(text) || token.data[token.len - 1] > '9')
		return false;
	for (size_t i = *token.data == '-'; i < token.len; i++)
		if (token.data[i] < '0' || token.data[i] > '9')
			return false;
	memcpy(text, token.data, token.len);
	text[token.len] = '\0';
	errno = 0;
	*ret = strtoll(text, NULL, 10);
	return errno == 0;
}

/* What needs no tree; false for anything else. */
static bool read_plain(struct arena *arena, struct span text, struct value *ret)
{
	enum pyjson_kind kind = pyjson_kind_of(text);

	if (kind == PYJSON_NULL)
		ret->kind = VALUE_NULL;
	else if (kind == PYJSON_BOOL)
		*ret = (struct value){.kind = VALUE_BOOL, .truth = *text.data == 't'};
	else if (kind == PYJSON_STRING)
		*ret = (struct value){.kind = VALUE_TEXT,
				      .text = pyjson_items_decode(
					      arena, (struct span){text.data + 1, text.len - 2})};
	else if (kind == PYJSON_NUM && read_int(text, &ret->integer))
		ret->kind = VALUE_INT;
	else
		return false;
	return true;
}

/* Lists of such values, and the empty object. */
static bool read_flat(struct arena *arena, struct span text, struct value *ret)
{
	auto_items items;
	struct value *values;

	if (pyjson_items_scan(&items, text.data, text.len, NULL) == -1)
		return false;
	*ret = (struct value){.kind = VALUE_EMPTY};
	if (items.kind != PYJSON_ARRAY)
		return items.count == 0;
	values = arena_alloc(arena, items.count * sizeof(*values));
	for (size_t i = 0; i < items.count; i++)
		if (!read_plain(arena, items.all[i].value, &values[i]))
			return false;
	*ret = (struct value){.kind = VALUE_LIST, .list = {values, items.count}};
	return true;
}

struct value pyjson_items_value(struct arena *arena, struct span text)
{
	enum pyjson_kind kind = pyjson_kind_of(text);
	struct value value = {0};
	json_t *json;

	if (read_plain(arena, text, &value))
		return value;
	if ((kind == PYJSON_ARRAY || kind == PYJSON_OBJECT) && read_flat(arena, text, &value))
		return value;
	json = pyjson_load(text.data, text.len, NULL);
	value = value_copy_json(arena, json);
	json_decref(json);
	return value;
}
