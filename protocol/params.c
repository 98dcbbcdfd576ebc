#include "protocol/params.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "protocol/params_impl.h"
#include "protocol/pyjson.h"

static const struct {
	const char *name;
	unsigned type;
} type_names[] = {
	{"any", PARAM_ANY},	{"str", PARAM_STR},	  {"int", PARAM_INT},
	{"float", PARAM_FLOAT}, {"number", PARAM_NUMBER}, {"bool", PARAM_BOOL},
	{"list", PARAM_LIST},	{"dict", PARAM_DICT},	  {"None", PARAM_NONE},
};
#define TYPE_COUNT (sizeof(type_names) / sizeof(*type_names))

struct reader {
	const char *start, *p;
	struct err *err;
	struct params *params;
	bool is_keyword_only;
};

const char *param_type_name(size_t row, unsigned *ret_type)
{
	if (row >= TYPE_COUNT)
		return NULL;
	*ret_type = type_names[row].type;
	return type_names[row].name;
}

/* Says where, shows the line and points at the place. */
static int fail_at(const struct reader *r, const char *at, const char *what)
{
	const char *line = r->start, *p = r->start;
	unsigned number = 1;
	size_t len;

	for (; p < at; p++)
		if (*p == '\n') {
			line = p + 1;
			number++;
		}
	len = strcspn(line, "\n");
	if (len > 200)
		len = 200;
	return err_set(r->err, ERR_INVALID, "line %u, column %zu: %s\n    %.*s\n    %*s^", number,
		       (size_t)(at - line) + 1, what, (int)len, line, (int)(at - line), "");
}

static void skip_space(struct reader *r)
{
	while (isspace((unsigned char)*r->p))
		r->p++;
}

static bool take(struct reader *r, const char *token)
{
	size_t len = strlen(token);

	if (strncmp(r->p, token, len) != 0)
		return false;
	r->p += len;
	skip_space(r);
	return true;
}

/* NULL when no name stands here. */
static char *read_name(struct reader *r)
{
	const char *start = r->p;
	char *name;

	if (!isalpha((unsigned char)*r->p) && *r->p != '_')
		return NULL;
	while (isalnum((unsigned char)*r->p) || *r->p == '_')
		r->p++;
	name = mem_dup(start, (size_t)(r->p - start));
	skip_space(r);
	return name;
}

static int fail_type(const struct reader *r, const char *at, const char *name)
{
	char what[200];
	size_t nearest = 0;

	for (size_t i = 1; i < TYPE_COUNT; i++)
		if (text_distance(name, type_names[i].name) <
		    text_distance(name, type_names[nearest].name))
			nearest = i;
	snprintf(what, sizeof(what), "unknown type '%.40s', did you mean '%s'?", name,
		 type_names[nearest].name);
	return fail_at(r, at, what);
}

/* type ('|' type)* */
static int read_types(struct reader *r, unsigned *ret_types)
{
	*ret_types = 0;
	do {
		const char *at = r->p;
		auto_free char *name = read_name(r);
		size_t i = 0;

		if (!name)
			return fail_at(r, at, "a type is missing");
		while (i < TYPE_COUNT && strcmp(type_names[i].name, name) != 0)
			i++;
		if (i == TYPE_COUNT)
			return fail_type(r, at, name);
		*ret_types |= type_names[i].type;
	} while (take(r, "|"));
	return 0;
}

/* Where a default ends: at a comma outside strings and brackets. */
static const char *default_end(const char *p)
{
	int depth = 0;
	bool in_string = false;

	for (; *p; p++) {
		if (in_string) {
			if (*p == '\\' && p[1])
				p++;
			else if (*p == '"')
				in_string = false;
		} else if (*p == '"') {
			in_string = true;
		} else if (*p == '[' || *p == '{') {
			depth++;
		} else if (*p == ']' || *p == '}') {
			depth--;
		} else if (*p == ',' && depth <= 0) {
			break;
		}
	}
	return p;
}

static json_t *read_constant(const char *text, size_t len)
{
	if (len == 4 && memcmp(text, "None", 4) == 0)
		return json_null();
	if (len == 4 && memcmp(text, "True", 4) == 0)
		return json_true();
	if (len == 5 && memcmp(text, "False", 5) == 0)
		return json_false();
	return NULL;
}

static int read_default(struct reader *r, struct param *param)
{
	const char *at = r->p, *end = default_end(at);
	struct err cause = {0};
	char what[160];

	r->p = end;
	while (end > at && isspace((unsigned char)end[-1]))
		end--;
	param->otherwise = read_constant(at, (size_t)(end - at));
	if (!param->otherwise)
		param->otherwise = pyjson_load(at, (size_t)(end - at), &cause);
	if (!param->otherwise) {
		snprintf(what, sizeof(what), "the default of '%.30s' is not JSON: %.80s",
			 param->name, cause.text);
		return fail_at(r, at, what);
	}
	if (!param_accepts(param->types, param->otherwise)) {
		snprintf(what, sizeof(what), "the default of '%.30s' is not of its type",
			 param->name);
		return fail_at(r, at, what);
	}
	return 0;
}

static int check_new_param(const struct reader *r, const char *at, const char *name)
{
	char what[160];

	if (r->params->count == PARAMS_MAX)
		return fail_at(r, at, "more than 64 parameters");
	for (size_t i = 0; i < r->params->count; i++)
		if (strcmp(r->params->list[i].name, name) == 0) {
			snprintf(what, sizeof(what), "'%.60s' is declared twice", name);
			return fail_at(r, at, what);
		}
	return 0;
}

/* name [: types] [= default] */
static int read_param(struct reader *r)
{
	struct params *params = r->params;
	struct param *param = &params->list[params->count];
	const char *at = r->p;
	auto_free char *name = read_name(r);

	if (!name)
		return fail_at(r, at, "a parameter name is missing");
	if (check_new_param(r, at, name) == -1)
		return -1;
	*param = (struct param){.name = mem_strdup(name), .types = PARAM_ANY};
	params->count++;
	if (take(r, ":") && read_types(r, &param->types) == -1)
		return -1;
	if (take(r, "=")) {
		if (read_default(r, param) == -1)
			return -1;
	} else if (!r->is_keyword_only && params->count > 1 && param[-1].otherwise) {
		return fail_at(r, at, "a parameter without default follows one with a default");
	}
	if (!r->is_keyword_only)
		params->positional_count++;
	return 0;
}

static int read_extra(struct reader *r, const char *at)
{
	r->params->extra = read_name(r);
	if (!r->params->extra)
		return fail_at(r, r->p, "a name must follow **");
	take(r, ",");
	if (*r->p)
		return fail_at(r, r->p, "nothing may follow the ** parameter");
	return check_new_param(r, at, r->params->extra);
}

static int read_star(struct reader *r, const char *at)
{
	if (r->is_keyword_only)
		return fail_at(r, at, "* may stand only once");
	r->is_keyword_only = true;
	if (*r->p && *r->p != ',')
		return fail_at(r, r->p, "a task takes no variable number of positional arguments");
	return 0;
}

static int read_list(struct reader *r)
{
	const char *star = NULL;

	skip_space(r);
	while (*r->p) {
		const char *at = r->p;

		if (take(r, "**"))
			return star && r->params->count == r->params->positional_count
				       ? fail_at(r, star, "named parameters must follow *")
				       : read_extra(r, at);
		if (take(r, "*")) {
			star = at;
			if (read_star(r, at) == -1)
				return -1;
		} else if (read_param(r) == -1) {
			return -1;
		}
		if (*r->p && !take(r, ","))
			return fail_at(r, r->p, "a comma is missing");
	}
	if (star && r->params->count == r->params->positional_count)
		return fail_at(r, star, "named parameters must follow *");
	return 0;
}

struct params *params_parse(const char *signature, struct err *err)
{
	struct params *params = mem_calloc(1, sizeof(*params));
	struct reader r = {.start = signature, .p = signature, .err = err, .params = params};

	if (read_list(&r) == 0)
		return params;
	params_free(params);
	return NULL;
}

void params_free(struct params *params)
{
	if (!params)
		return;
	for (size_t i = 0; i < params->count; i++) {
		free(params->list[i].name);
		json_decref(params->list[i].otherwise);
	}
	free(params->extra);
	free(params);
}

static void format_param(struct str *out, const struct param *param)
{
	const char *separator = ": ";

	str_puts(out, param->name);
	for (size_t i = 0; i < TYPE_COUNT; i++)
		if (param->types & type_names[i].type) {
			str_addf(out, "%s%s", separator, type_names[i].name);
			separator = " | ";
		}
	if (!param->otherwise)
		return;
	str_puts(out, " = ");
	if (json_is_null(param->otherwise))
		str_puts(out, "None");
	else if (json_is_boolean(param->otherwise))
		str_puts(out, json_is_true(param->otherwise) ? "True" : "False");
	else
		pyjson_dump(out, param->otherwise);
}

int params_format(struct str *out, const struct params *params)
{
	for (size_t i = 0; i < params->count; i++) {
		if (i)
			str_puts(out, ", ");
		if (i == params->positional_count)
			str_puts(out, "*, ");
		format_param(out, &params->list[i]);
	}
	if (params->extra)
		str_addf(out, "%s**%s", params->count ? ", " : "", params->extra);
	return out->is_full ? -1 : 0;
}
