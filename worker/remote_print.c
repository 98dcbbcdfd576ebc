#include "worker/remote_print.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"

#define BODY_INDENT 4

/* What came from the network does not steer the terminal. */
static void add_safe(struct str *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		str_addc(out, (c < ' ' && c != '\n' && c != '\t') || c == 0x7f ? '?' : text[i]);
	}
}

static void dump(struct str *out, const json_t *value, unsigned depth);

static void line_break(struct str *out, unsigned depth)
{
	str_addf(out, "\n%*s", (int)(depth * 4), "");
}

struct member {
	const char *key;
	const json_t *value;
};

static int compare_members(const void *a, const void *b)
{
	const struct member *left = a, *right = b;

	return strcmp(left->key, right->key);
}

static void dump_object(struct str *out, const json_t *object, unsigned depth)
{
	size_t count = json_object_size(object), i = 0;
	auto_free struct member *members = mem_calloc(count + 1, sizeof(*members));
	json_t *value;
	const char *key;

	json_object_foreach ((json_t *)(uintptr_t)object, key, value)
		members[i++] = (struct member){key, value};
	qsort(members, count, sizeof(*members), compare_members);
	str_addc(out, '{');
	for (i = 0; i < count; i++) {
		str_puts(out, i ? "," : "");
		line_break(out, depth + 1);
		pyjson_dump_str(out, members[i].key, strlen(members[i].key));
		str_puts(out, ": ");
		dump(out, members[i].value, depth + 1);
	}
	if (count)
		line_break(out, depth);
	str_addc(out, '}');
}

static void dump_list(struct str *out, const json_t *list, unsigned depth)
{
	const json_t *item;
	size_t i;

	str_addc(out, '[');
	json_array_foreach (list, i, item) {
		str_puts(out, i ? "," : "");
		line_break(out, depth + 1);
		dump(out, item, depth + 1);
	}
	if (json_array_size(list))
		line_break(out, depth);
	str_addc(out, ']');
}

/* json.dumps(value, sort_keys=True, indent=4); loading has bounded the depth. */
static void dump(struct str *out, const json_t *value, unsigned depth)
{
	if (json_is_array(value))
		dump_list(out, value, depth);
	else if (json_is_object(value) && pyjson_tag(value, NULL) != PYJSON_NUMBER)
		dump_object(out, value, depth);
	else
		pyjson_dump(out, value);
}

static void add_repr(struct str *out, const json_t *value);

static void repr_members(struct str *out, const json_t *object)
{
	json_t *value;
	const char *key;
	bool is_first = true;

	str_addc(out, '{');
	json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
		str_puts(out, is_first ? "" : ", ");
		pyjson_repr_str(out, key, strlen(key), 0);
		str_puts(out, ": ");
		add_repr(out, value);
		is_first = false;
	}
	str_addc(out, '}');
}

/* Python's repr(value); pyjson_repr's texts inside of containers are those of Celery's saferepr. */
static void add_repr(struct str *out, const json_t *value)
{
	const json_t *item;
	size_t i;

	if (json_is_string(value)) {
		pyjson_repr_str(out, json_string_value(value), json_string_length(value), 0);
	} else if (json_is_object(value) && pyjson_tag(value, NULL) != PYJSON_NUMBER) {
		repr_members(out, value);
	} else if (json_is_array(value)) {
		str_addc(out, '[');
		json_array_foreach (value, i, item) {
			str_puts(out, i ? ", " : "");
			add_repr(out, item);
		}
		str_addc(out, ']');
	} else {
		pyjson_repr(out, value, 0, 0, false);
	}
}

/* str(value) */
static void add_text(struct str *out, const json_t *value)
{
	if (json_is_string(value))
		add_safe(out, json_string_value(value), json_string_length(value));
	else
		add_repr(out, value);
}

static void add_list(struct str *out, const json_t *list)
{
	const json_t *item;
	size_t i;

	if (json_array_size(list) == 0)
		str_puts(out, "- empty -");
	json_array_foreach (list, i, item) {
		str_puts(out, i ? "\n* " : "* ");
		add_text(out, item);
	}
}

static void add_indented(struct str *out, const struct str *text, int width)
{
	str_addf(out, "%*s", width, "");
	for (size_t i = 0; i < text->len; i++) {
		str_addc(out, text->data[i]);
		if (text->data[i] == '\n')
			str_addf(out, "%*s", width, "");
	}
}

static void add_pretty(struct str *out, const json_t *value)
{
	if (json_is_array(value))
		add_list(out, value);
	else if (json_is_object(value) && pyjson_tag(value, NULL) != PYJSON_NUMBER)
		dump(out, value, 0);
	else
		add_text(out, value);
}

void remote_print(struct str *out, const char *node, const json_t *payload)
{
	const json_t *ok = json_object_get(payload, "ok");
	const json_t *error = ok ? NULL : json_object_get(payload, "error");
	const json_t *told = ok ? ok : error ? error : payload;
	auto_str text = STR_INIT(out->max);

	str_puts(out, "->  ");
	add_safe(out, node, strlen(node));
	str_puts(out, error ? ": ERROR\n" : ": OK\n");
	add_pretty(&text, told);
	add_indented(out, &text, told == payload ? BODY_INDENT : 2 * BODY_INDENT);
	str_addc(out, '\n');
	out->is_full |= text.is_full;
}
