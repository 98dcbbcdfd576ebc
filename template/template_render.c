#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "template/template.h"
#include "template/template_tree.h"

/* One rendering. */
struct eval {
	const struct template *tree;
	const json_t *context;
	bool must_escape;
	struct str *out;
	size_t start; /* length of `out` before */
};

bool template_is_markup(const char *name)
{
	static const char *const ends[] = {".html", ".htm", ".xml"};
	size_t len = strlen(name);

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (len >= strlen(ends[i]) && strcmp(name + len - strlen(ends[i]), ends[i]) == 0)
			return true;
	return false;
}

/* The five characters, as markupsafe writes them. */
static const char *entity(char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&#34;";
	case '\'':
		return "&#39;";
	default:
		return NULL;
	}
}

static void put_value(const struct eval *e, const char *text, size_t len)
{
	size_t from = 0;

	for (size_t i = 0; e->must_escape && i < len; i++) {
		const char *code = entity(text[i]);

		if (!code)
			continue;
		str_add(e->out, text + from, i - from);
		str_puts(e->out, code);
		from = i + 1;
	}
	str_add(e->out, text + from, len - from);
}

static const json_t *look_up(const json_t *value, char *const *names)
{
	for (; value && *names; names++) {
		if (json_is_object(value)) {
			value = json_object_get(value, *names);
		} else if (json_is_array(value) && **names >= '0' && **names <= '9') {
			value = json_array_get(value, strtoul(*names, NULL, 10));
		} else {
			value = NULL;
		}
	}
	return value;
}

static int put_number(const struct eval *e, const json_t *value)
{
	if (json_is_integer(value))
		return str_addf(e->out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return float_repr(e->out, json_real_value(value));
}

/* Celery sends a UUID or a Decimal as {"__type__": ..., "__value__": text}. */
static const json_t *tagged(const json_t *value)
{
	const json_t *inner = json_object_get(value, "__value__");

	return json_object_get(value, "__type__") && json_is_string(inner) ? inner : value;
}

static int put_path(const struct eval *e, const struct template_node *node, struct err *err)
{
	const json_t *value = tagged(look_up(e->context, node->names));

	if (!value || json_is_null(value))
		return 0;
	switch (json_typeof(value)) {
	case JSON_STRING:
		put_value(e, json_string_value(value), json_string_length(value));
		return 0;
	case JSON_INTEGER:
	case JSON_REAL:
		put_number(e, value);
		return 0;
	case JSON_TRUE:
		str_puts(e->out, "True");
		return 0;
	case JSON_FALSE:
		str_puts(e->out, "False");
		return 0;
	case JSON_NULL:
		return 0;
	case JSON_OBJECT:
	case JSON_ARRAY:
		break;
	}
	return err_set(err, ERR_UNSUPPORTED,
		       "%s:%u:%u: the value is a %s; printing one is not supported by this version",
		       e->tree->name, node->line, node->column,
		       json_is_object(value) ? "dict" : "list");
}

static int put_node(const struct eval *e, const struct template_node *node, struct err *err)
{
	switch (node->kind) {
	case TEMPLATE_TEXT:
		str_add(e->out, node->text, node->len);
		break;
	case TEMPLATE_LITERAL:
		put_value(e, node->text, node->len);
		break;
	case TEMPLATE_PATH:
		if (put_path(e, node, err) < 0)
			return -1;
		break;
	}
	if (e->out->is_full || e->out->len - e->start > TEMPLATE_MAX_OUTPUT)
		return err_set(err, ERR_LIMIT, "%s: the text is larger than %zu bytes",
			       e->tree->name, TEMPLATE_MAX_OUTPUT);
	return 0;
}

int template_eval(const struct template *t, const json_t *context, bool must_escape,
		  struct str *out, struct err *err)
{
	struct eval e = {t, context, must_escape, out, out->len};

	for (size_t i = 0; i < t->count; i++)
		if (put_node(&e, &t->nodes[i], err) < 0)
			return -1;
	return 0;
}
