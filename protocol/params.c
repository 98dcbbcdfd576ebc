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

/* Names that no Python function can give a parameter. Source: CPython 3.11, Lib/keyword.py. */
static const char *const keywords[] = {
	"False", "None",     "True",  "and",	"as",	"assert", "async",  "await",	"break",
	"class", "continue", "def",   "del",	"elif", "else",	  "except", "finally",	"for",
	"from",	 "global",   "if",    "import", "in",	"is",	  "lambda", "nonlocal", "not",
	"or",	 "pass",     "raise", "return", "try",	"while",  "with",   "yield",
};

struct reader {
	const char *start, *p;
	struct err *err;
	struct params *params;
	const char *slash, *star; /* where they stand; NULL = not yet */
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

bool params_is_keyword(const char *name)
{
	for (size_t i = 0; i < sizeof(keywords) / sizeof(*keywords); i++)
		if (strcmp(keywords[i], name) == 0)
			return true;
	return false;
}

static bool is_declared(const struct params *params, const char *name)
{
	for (size_t i = 0; i < params->count; i++)
		if (strcmp(params->list[i].name, name) == 0)
			return true;
	return params->rest.name && strcmp(params->rest.name, name) == 0;
}

static int check_new_param(const struct reader *r, const char *at, const char *name)
{
	char what[160];

	if (params_is_keyword(name))
		snprintf(what, sizeof(what), "'%.60s' is a keyword of Python", name);
	else if (is_declared(r->params, name))
		snprintf(what, sizeof(what), "'%.60s' is declared twice", name);
	else
		return 0;
	return fail_at(r, at, what);
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
	if (params->count == PARAMS_MAX)
		return fail_at(r, at, "more than 64 parameters");
	if (check_new_param(r, at, name) == -1)
		return -1;
	*param = (struct param){.name = mem_strdup(name), .types = PARAM_ANY};
	params->count++;
	if (take(r, ":") && read_types(r, &param->types) == -1)
		return -1;
	if (take(r, "=")) {
		if (read_default(r, param) == -1)
			return -1;
	} else if (!r->star && params->count > 1 && param[-1].otherwise) {
		return fail_at(r, at, "a parameter without default follows one with a default");
	}
	if (!r->star)
		params->positional_count++;
	return 0;
}

static int read_extra(struct reader *r, const char *at)
{
	auto_free char *name = read_name(r);

	if (!name)
		return fail_at(r, r->p, "a name must follow **");
	take(r, ",");
	if (*r->p)
		return fail_at(r, r->p, "nothing may follow the ** parameter");
	if (r->slash)
		return fail_at(r, at,
			       "/ and ** do not go together: an extra argument could have "
			       "the name of a parameter");
	if (check_new_param(r, at, name) == -1)
		return -1;
	r->params->extra = mem_strdup(name);
	return 0;
}

static int read_slash(struct reader *r, const char *at)
{
	if (r->slash)
		return fail_at(r, at, "/ may stand only once");
	if (r->star)
		return fail_at(r, at, "/ must stand in front of *");
	if (r->params->count == 0)
		return fail_at(r, at, "named parameters must stand in front of /");
	r->slash = at;
	r->params->only_positional = r->params->count;
	return 0;
}

/* Alone, or name [: types] of the parameter that takes what is left. */
static int read_star(struct reader *r, const char *at)
{
	struct param *rest = &r->params->rest;
	const char *name_at = r->p;
	auto_free char *name = read_name(r);

	if (r->star)
		return fail_at(r, at, "* may stand only once");
	r->star = at;
	if (!name)
		return 0;
	if (check_new_param(r, name_at, name) == -1)
		return -1;
	*rest = (struct param){.name = mem_strdup(name), .types = PARAM_ANY};
	return take(r, ":") ? read_types(r, &rest->types) : 0;
}

/* A * alone is the promise of parameters behind it. */
static int check_star(const struct reader *r)
{
	const struct params *params = r->params;

	return r->star && !params->rest.name && params->count == params->positional_count
		       ? fail_at(r, r->star, "named parameters must follow *")
		       : 0;
}

static int read_list(struct reader *r)
{
	skip_space(r);
	while (*r->p) {
		const char *at = r->p;
		int result;

		if (take(r, "**"))
			return check_star(r) == 0 ? read_extra(r, at) : -1;
		if (take(r, "*"))
			result = read_star(r, at);
		else if (take(r, "/"))
			result = read_slash(r, at);
		else
			result = read_param(r);
		if (result == -1)
			return -1;
		if (*r->p && !take(r, ","))
			return fail_at(r, r->p, "a comma is missing");
	}
	return check_star(r);
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
	free(params->rest.name);
	free(params->extra);
	free(params);
}
