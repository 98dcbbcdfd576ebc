/* Mirrors CPython's Python/ceval.c: initialize_locals(), too_many_positional(),
 * missing_arguments(), positional_only_passed_as_keyword().
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/params.h"
#include "protocol/params_impl.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"

#define NAME_SHOWN 100 /* characters of a name that no parameter has */

struct binding {
	const struct params *params;
	const char *function;
	const json_t *args, *kwargs;
	json_t *values[PARAMS_MAX]; /* borrowed; NULL = not given */
	json_t *extra;		    /* owned; NULL when the list takes none */
	struct err *err;
};

static bool accepts_tagged(unsigned types, enum pyjson_tag tag, const char *text)
{
	switch (tag) {
	case PYJSON_PLAIN:
		return types & PARAM_DICT;
	case PYJSON_NUMBER:
		/* An integer over 64 bits, or NaN and the infinities. */
		return types & (PARAM_FLOAT | PARAM_NUMBER);
	case PYJSON_DECIMAL:
		return types & (PARAM_NUMBER | PARAM_STR);
	case PYJSON_BASE64:
		return false;
	case PYJSON_DATETIME:
	case PYJSON_DATE:
	case PYJSON_TIME:
	case PYJSON_UUID:
	case PYJSON_BYTES:
		return text && types & PARAM_STR;
	}
	return false;
}

bool param_accepts(unsigned types, const json_t *value)
{
	const char *text;
	enum pyjson_tag tag;

	if (types & PARAM_ANY)
		return true;
	switch (json_typeof(value)) {
	case JSON_NULL:
		return types & PARAM_NONE;
	case JSON_TRUE:
	case JSON_FALSE:
		/* Python's bool is an int. */
		return types & (PARAM_BOOL | PARAM_INT | PARAM_FLOAT | PARAM_NUMBER);
	case JSON_INTEGER:
		return types & (PARAM_INT | PARAM_FLOAT | PARAM_NUMBER);
	case JSON_REAL:
		return types & (PARAM_FLOAT | PARAM_NUMBER);
	case JSON_STRING:
		return types & PARAM_STR;
	case JSON_ARRAY:
		return types & PARAM_LIST;
	case JSON_OBJECT:
		tag = pyjson_tag(value, &text);
		return accepts_tagged(types, tag, text);
	}
	return false;
}

static bool is_name(const char *declared, const char *name, size_t len)
{
	return strlen(declared) == len && memcmp(declared, name, len) == 0;
}

/* Of those that a caller may name. */
static size_t find_param(const struct params *params, const char *name, size_t len)
{
	size_t i = params->only_positional;

	while (i < params->count && !is_name(params->list[i].name, name, len))
		i++;
	return i;
}

/* 0 when no parameter in front of / is named. */
static int check_only_positional(const struct binding *b)
{
	auto_str names = {.max = STR_MAX_DEFAULT};

	for (size_t i = 0; i < b->params->only_positional; i++)
		if (json_object_get(b->kwargs, b->params->list[i].name))
			str_addf(&names, "%s%s", names.len ? ", " : "", b->params->list[i].name);
	if (names.len == 0)
		return 0;
	return pyjson_fail(b->err, ERR_INVALID,
			   "%s() got some positional-only arguments passed as keyword arguments: "
			   "'%s'",
			   b->function, names.data);
}

static int bind_keyword(struct binding *b, const char *name, size_t len, json_t *value)
{
	size_t i = find_param(b->params, name, len);

	if (i < b->params->count && b->values[i])
		return pyjson_fail(b->err, ERR_INVALID,
				   "%s() got multiple values for argument '%.*s'", b->function,
				   (int)len, name);
	if (i < b->params->count) {
		b->values[i] = value;
		return 0;
	}
	if (!b->extra && check_only_positional(b) == -1)
		return -1;
	if (!b->extra || (b->params->rest.name && is_name(b->params->rest.name, name, len)))
		return pyjson_fail(b->err, ERR_INVALID,
				   "%s() got an unexpected keyword argument '%.*s'", b->function,
				   (int)pyjson_char_offset(name, len, NAME_SHOWN), name);
	return json_object_setn_new_nocheck(b->extra, name, len, json_incref(value));
}

static const char *plural(size_t count)
{
	return count == 1 ? "" : "s";
}

static int fail_too_many(const struct binding *b, size_t given)
{
	size_t most = b->params->positional_count, least = most, keyword_only = 0;
	char takes[64], also[128] = "";
	bool is_plural;

	while (least > 0 && b->params->list[least - 1].otherwise)
		least--;
	for (size_t i = most; i < b->params->count; i++)
		keyword_only += b->values[i] != NULL;
	if (least < most)
		snprintf(takes, sizeof(takes), "from %zu to %zu", least, most);
	else
		snprintf(takes, sizeof(takes), "%zu", most);
	is_plural = least < most || most != 1;
	if (keyword_only)
		snprintf(also, sizeof(also),
			 " positional argument%s (and %zu keyword-only argument%s)", plural(given),
			 keyword_only, plural(keyword_only));
	return pyjson_fail(b->err, ERR_INVALID,
			   "%s() takes %s positional argument%s but %zu%s %s given", b->function,
			   takes, is_plural ? "s" : "", given, also,
			   given == 1 && !keyword_only ? "was" : "were");
}

/* 'a' - 'a' and 'b' - 'a', 'b', and 'c' */
static void list_names(struct str *out, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (i)
			str_puts(out, count == 2 ? " and " : i + 1 == count ? ", and " : ", ");
		str_addf(out, "'%s'", names[i]);
	}
}

static int check_missing(const struct binding *b, size_t from, size_t to, const char *kind)
{
	const char *missing[PARAMS_MAX];
	auto_str names = {.max = STR_MAX_DEFAULT};
	size_t count = 0;

	for (size_t i = from; i < to; i++)
		if (!b->values[i] && !b->params->list[i].otherwise)
			missing[count++] = b->params->list[i].name;
	if (count == 0)
		return 0;
	list_names(&names, missing, count);
	return pyjson_fail(b->err, ERR_INVALID, "%s() missing %zu required %s argument%s: %s",
			   b->function, count, kind, plural(count), names.data);
}

/* "str or None", "int, float or Decimal" */
static void list_types(struct str *out, unsigned types)
{
	const char *names[16], *name;
	size_t count = 0;
	unsigned type;

	for (size_t i = 0; (name = param_type_name(i, &type)); i++) {
		if (!(types & type))
			continue;
		if (type == PARAM_NUMBER) {
			names[count++] = "int";
			names[count++] = "float";
			name = "Decimal";
		}
		names[count++] = name;
	}
	for (size_t i = 0; i < count; i++)
		str_addf(out, "%s%s", i == 0 ? "" : i + 1 == count ? " or " : ", ", names[i]);
}

static int check_type(const struct binding *b, const struct param *param, const json_t *value)
{
	auto_str types = {.max = STR_MAX_DEFAULT};
	const char *token, *actual = pyjson_type_name(value);

	if (param_accepts(param->types, value))
		return 0;
	list_types(&types, param->types);
	if (strcmp(actual, "int") == 0 && pyjson_tag(value, &token) == PYJSON_NUMBER)
		actual = "an int over 64 bits";
	return pyjson_fail(b->err, ERR_INVALID, "%s() argument '%s' must be %s, not %s",
			   b->function, param->name, types.data, actual);
}

/* The value in the form that the declared type promises. New reference. */
static json_t *convert(const struct param *param, json_t *value)
{
	const char *hex;
	char uuid[37];

	if (param->types & PARAM_ANY)
		return json_incref(value);
	if (json_is_boolean(value) && !(param->types & PARAM_BOOL))
		return json_integer(json_is_true(value));
	if (!json_is_object(value) || !(param->types & PARAM_STR))
		return json_incref(value);
	switch (pyjson_tag(value, &hex)) {
	case PYJSON_PLAIN:
	case PYJSON_NUMBER:
	case PYJSON_BASE64:
		return json_incref(value);
	case PYJSON_UUID:
		if (strlen(hex) != 32)
			return json_incref(value);
		snprintf(uuid, sizeof(uuid), "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
			 hex + 16, hex + 20);
		return json_string_nocheck(uuid);
	case PYJSON_DECIMAL:
		if (param->types & PARAM_NUMBER)
			return json_incref(value);
		break;
	case PYJSON_DATETIME:
	case PYJSON_DATE:
	case PYJSON_TIME:
	case PYJSON_BYTES:
		break;
	}
	return json_string_nocheck(hex);
}

/* What * took, each of its type. -1 with the error set. */
static int collect_rest(const struct binding *b, json_t *result)
{
	const struct param *param = &b->params->rest;
	json_t *list = json_array();

	for (size_t i = b->params->positional_count; i < json_array_size(b->args); i++) {
		json_t *value = json_array_get(b->args, i);

		if (check_type(b, param, value) == -1) {
			json_decref(list);
			return -1;
		}
		json_array_append_new(list, convert(param, value));
	}
	return json_object_set_new_nocheck(result, param->name, list);
}

static int collect_params(const struct binding *b, size_t from, size_t to, json_t *result)
{
	for (size_t i = from; i < to; i++) {
		const struct param *param = &b->params->list[i];

		if (b->values[i] && check_type(b, param, b->values[i]) == -1)
			return -1;
		/* A copy, so that no task can change the default of later ones. */
		json_object_set_new_nocheck(result, param->name,
					    b->values[i] ? convert(param, b->values[i])
							 : json_deep_copy(param->otherwise));
	}
	return 0;
}

static json_t *collect(const struct binding *b)
{
	const struct params *params = b->params;
	json_t *result = json_object();

	if (collect_params(b, 0, params->positional_count, result) == -1 ||
	    (params->rest.name && collect_rest(b, result) == -1) ||
	    collect_params(b, params->positional_count, params->count, result) == -1) {
		json_decref(result);
		return NULL;
	}
	/* Not json_object_update: it cuts a key at a NUL, and could so replace a parameter. */
	for (void *it = json_object_iter(b->extra); it; it = json_object_iter_next(b->extra, it))
		json_object_setn_new_nocheck(result, json_object_iter_key(it),
					     json_object_iter_key_len(it),
					     json_incref(json_object_iter_value(it)));
	return result;
}

static int bind(struct binding *b)
{
	json_t *keywords = (json_t *)(uintptr_t)b->kwargs; /* jansson's iterators take it so */
	size_t given = json_array_size(b->args), most = b->params->positional_count;

	for (size_t i = 0; i < given && i < most; i++)
		b->values[i] = json_array_get(b->args, i);
	for (void *it = json_object_iter(keywords); it; it = json_object_iter_next(keywords, it))
		if (bind_keyword(b, json_object_iter_key(it), json_object_iter_key_len(it),
				 json_object_iter_value(it)) == -1)
			return -1;
	if (given > most && !b->params->rest.name)
		return fail_too_many(b, given);
	if (check_missing(b, 0, most, "positional") == -1)
		return -1;
	return check_missing(b, most, b->params->count, "keyword-only");
}

json_t *params_bind(const struct params *params, const char *function, const json_t *args,
		    const json_t *kwargs, struct err *err)
{
	struct binding b = {
		.params = params, .function = function, .args = args, .kwargs = kwargs, .err = err};
	json_t *result = NULL;

	if (params->extra)
		b.extra = json_object();
	if (bind(&b) == 0)
		result = collect(&b);
	json_decref(b.extra);
	return result;
}
