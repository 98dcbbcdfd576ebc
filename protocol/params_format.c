/* Writes a parameter list: as it is declared, or as Python source. */
#include <string.h>

#include "protocol/params.h"
#include "protocol/params_impl.h"
#include "protocol/pyjson.h"

struct writer {
	struct str *out;
	const char *comma;
	bool is_python;
};

static void put_python(struct str *out, const json_t *value);

static void put_python_object(struct str *out, const json_t *object)
{
	json_t *o = (json_t *)(uintptr_t)object; /* jansson's iterators take it so */
	const char *separator = "";

	str_addc(out, '{');
	for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
		str_puts(out, separator);
		pyjson_repr_str(out, json_object_iter_key(it), json_object_iter_key_len(it), 0);
		str_puts(out, ": ");
		put_python(out, json_object_iter_value(it));
		separator = ", ";
	}
	str_addc(out, '}');
}

static void put_python_number(struct str *out, const json_t *value)
{
	auto_str token = STR_INIT(STR_MAX_DEFAULT);

	pyjson_dump(&token, value);
	/* Python's JSON has words for them that its source has not. */
	if (strpbrk(token.data, "NI"))
		str_addf(out, "float('%s')", token.data);
	else
		str_add(out, token.data, token.len);
}

static void put_python(struct str *out, const json_t *value)
{
	const json_t *item;
	size_t i;

	if (json_is_null(value)) {
		str_puts(out, "None");
	} else if (json_is_boolean(value)) {
		str_puts(out, json_is_true(value) ? "True" : "False");
	} else if (json_is_string(value)) {
		pyjson_repr_str(out, json_string_value(value), json_string_length(value), 0);
	} else if (json_is_array(value)) {
		str_addc(out, '[');
		json_array_foreach (value, i, item) {
			str_puts(out, i ? ", " : "");
			put_python(out, item);
		}
		str_addc(out, ']');
	} else if (json_is_number(value) || pyjson_tag(value, NULL) == PYJSON_NUMBER) {
		put_python_number(out, value);
	} else {
		put_python_object(out, value);
	}
}

static const char *type_in_python(unsigned type, const char *name)
{
	if (type == PARAM_ANY)
		return "Any";
	return type == PARAM_NUMBER ? "int | float | Decimal" : name;
}

static void put_name(const struct writer *w, const struct param *param)
{
	const char *separator = ": ", *name;
	unsigned type;

	str_puts(w->out, param->name);
	for (size_t i = 0; (name = param_type_name(i, &type)); i++)
		if (param->types & type) {
			str_addf(w->out, "%s%s", separator,
				 w->is_python ? type_in_python(type, name) : name);
			separator = " | ";
		}
}

static void put_default(const struct writer *w, const json_t *value)
{
	str_puts(w->out, " = ");
	if (w->is_python || json_is_null(value) || json_is_boolean(value))
		put_python(w->out, value);
	else
		pyjson_dump(w->out, value);
}

/* What stands between parameter `i`, or the end, and the one before it: ", ", ", /, ", ", *, ". */
static void put_marks(const struct writer *w, const struct params *params, size_t i)
{
	bool is_end = i == params->count;
	bool has_star = i == params->positional_count && (params->rest.name || !is_end);

	if (i > 0 && i == params->only_positional)
		str_addf(w->out, "%s/", w->comma);
	if (i > 0 && (!is_end || has_star))
		str_puts(w->out, w->comma);
	if (!has_star)
		return;
	str_addc(w->out, '*');
	if (params->rest.name)
		put_name(w, &params->rest);
	if (!is_end)
		str_puts(w->out, w->comma);
}

static int put_list(const struct writer *w, const struct params *params)
{
	for (size_t i = 0; i < params->count; i++) {
		put_marks(w, params, i);
		put_name(w, &params->list[i]);
		if (params->list[i].otherwise)
			put_default(w, params->list[i].otherwise);
	}
	put_marks(w, params, params->count);
	if (params->extra)
		str_addf(w->out, "%s**%s", params->count || params->rest.name ? w->comma : "",
			 params->extra);
	return w->out->is_full ? -1 : 0;
}

int params_format(struct str *out, const struct params *params)
{
	return put_list(&(struct writer){.out = out, .comma = ", "}, params);
}

int params_format_python(struct str *out, const struct params *params, const char *comma)
{
	return put_list(&(struct writer){.out = out, .comma = comma, .is_python = true}, params);
}
