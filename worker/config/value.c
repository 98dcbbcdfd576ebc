#include "worker/config/value.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

int config_value_bool(const char *text, bool *ret_value, struct err *err)
{
	static const struct {
		const char *text;
		bool value;
	} words[] = {{"true", true},   {"yes", true}, {"on", true},   {"1", true},  {"y", true},
		     {"false", false}, {"no", false}, {"off", false}, {"0", false}, {"n", false}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(words[i].text, text) == 0) {
			*ret_value = words[i].value;
			return 0;
		}
	}
	return err_set(err, ERR_INVALID, "'%.60s' is neither true nor false", text);
}

char **config_value_list(const char *text)
{
	char **list = NULL;
	size_t count = 0;

	while (text && *text) {
		size_t len = strcspn(text, ",");
		const char *next = text[len] ? text + len + 1 : text + len;

		while (len > 0 && isspace((unsigned char)text[0])) {
			text++;
			len--;
		}
		while (len > 0 && isspace((unsigned char)text[len - 1]))
			len--;
		if (len > 0) {
			list = mem_realloc(list, (count + 2) * sizeof(*list));
			list[count++] = mem_dup(text, len);
			list[count] = NULL;
		}
		text = next;
	}
	return list;
}

void config_list_free(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

/* What the row's member can hold, and what its users can count in microseconds. */
static double type_max(enum config_type type)
{
	if (type == CONFIG_INT)
		return INT_MAX;
	if (type == CONFIG_COUNT)
		return UINT_MAX;
	return type == CONFIG_BYTES ? 1e18 : 1e10;
}

/* A whole finite decimal number within the row's bounds. */
static int number(const struct config_row *row, const char *text, bool must_be_whole,
		  double *ret_value, struct err *err)
{
	const char *shown = row->flags & CONFIG_SECRET ? "the value" : text;
	double max = row->max > 0 ? row->max : type_max(row->type);
	char *end;
	double value;

	errno = 0;
	value = strtod(text, &end);
	while (isspace((unsigned char)*end))
		end++;
	if (end == text || *end || !isfinite(value) || strpbrk(text, "xX"))
		return err_set(err, ERR_INVALID, "'%.60s' is not a number", shown);
	if (must_be_whole && value != floor(value))
		return err_set(err, ERR_INVALID, "'%.60s' is not a whole number", shown);
	if (value < row->min)
		return err_set(err, ERR_LIMIT, "'%.60s' is less than %g", shown, row->min);
	if (value > max)
		return err_set(err, ERR_LIMIT, "'%.60s' is more than %.0f", shown, max);
	*ret_value = value;
	return 0;
}

static int pool(const char *text, enum config_pool *ret_pool, struct err *err)
{
	static const struct {
		const char *name;
		int pool; /* enum config_pool, or -1 */
	} names[] = {{"prefork", CONFIG_PREFORK},
		     {"processes", CONFIG_PREFORK},
		     {"threads", CONFIG_THREADS},
		     {"solo", CONFIG_SOLO},
		     {"eventlet", -1},
		     {"gevent", -1},
		     {"custom", -1}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcasecmp(names[i].name, text) != 0)
			continue;
		if (names[i].pool < 0)
			return err_set(err, ERR_UNSUPPORTED,
				       "'%s' is a pool of Python; use threads for many waiting "
				       "tasks, or prefork",
				       text);
		*ret_pool = (enum config_pool)names[i].pool;
		return 0;
	}
	return err_set(err, ERR_INVALID, "'%.60s' is no pool; use prefork, threads or solo", text);
}

static int choice(const struct config_row *row, const char *text, struct err *err)
{
	size_t want = strlen(text);

	for (const char *at = row->choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL) {
		size_t len = strcspn(at, "|");

		if (len == want && strncasecmp(at, text, len) == 0)
			return 0;
	}
	return err_set(err, ERR_INVALID, "'%.60s' is not one of %s", text, row->choices);
}

static int json_object_text(const char *text, struct err *err)
{
	json_error_t why;
	json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, &why);
	bool is_object = json_is_object(value);

	json_decref(value);
	return is_object ? 0 : err_set(err, ERR_INVALID, "the value is not a JSON object");
}

/* Names with commas between them become the list that they are; JSON must be JSON. */
static int tree_text(const char *text, char **ret_tree, struct err *err)
{
	json_error_t why;
	char **names;
	json_t *list;

	if (!text)
		return 0;
	text += strspn(text, " \t\n");
	if (!*text)
		return 0;
	if (*text == '{' || *text == '[') {
		list = json_loads(text, JSON_REJECT_DUPLICATES, &why);
		if (!list)
			return err_set(err, ERR_INVALID, "not JSON: %.100s", why.text);
	} else {
		names = config_value_list(text);
		list = json_array();
		for (size_t i = 0; names && names[i]; i++)
			json_array_append_new(list, json_string(names[i]));
		config_list_free(names);
	}
	*ret_tree = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	return 0;
}

/* -c: `auto` is worked out once the pool is known; the error has Celery's words. */
static bool is_count_or_auto(const struct config_row *row)
{
	return row->type == CONFIG_COUNT && row->fallback && strcmp(row->fallback, "auto") == 0;
}

static int apply_number(struct config *c, const struct config_row *row, const char *text,
			struct err *err)
{
	char *member;
	double value = 0;

	if (is_count_or_auto(row) && text) {
		if (strcasecmp(text, "auto") != 0 &&
		    (!*text || strspn(text, "0123456789") != strlen(text)))
			return err_set(err, ERR_INVALID,
				       "must be a non-negative integer or 'auto', got '%.60s'",
				       text);
		if (strcasecmp(text, "auto") == 0)
			text = "0";
	}
	if (text && number(row, text, row->type != CONFIG_SECONDS, &value, err) != 0)
		return -1;
	if (row->field == CONFIG_NO_FIELD)
		return 0;
	member = (char *)c + row->field;
	if (row->type == CONFIG_INT)
		*(int *)(void *)member = (int)value;
	else if (row->type == CONFIG_COUNT)
		*(unsigned *)(void *)member = (unsigned)value;
	else if (row->type == CONFIG_BYTES)
		*(uint64_t *)(void *)member = (uint64_t)value;
	else
		*(double *)(void *)member = value;
	return 0;
}

static int apply_text(struct config *c, const struct config_row *row, const char *text,
		      struct err *err)
{
	char **member;
	auto_free char *tree = NULL;
	bool flag;

	if (text && text[0] && row->choices && choice(row, text, err) != 0)
		return -1;
	if (text && row->flags & CONFIG_OR_BOOL && config_value_bool(text, &flag, NULL) == 0)
		text = flag ? "true" : "false";
	else if (text && text[0] && row->type == CONFIG_JSON && json_object_text(text, err) != 0)
		return -1;
	if (row->type == CONFIG_TREE && tree_text(text, &tree, err) != 0)
		return -1;
	text = tree ? tree : text;
	if (row->field == CONFIG_NO_FIELD)
		return 0;
	member = (char **)(void *)((char *)c + row->field);
	free(*member);
	*member = text && text[0] ? mem_strdup(text) : NULL;
	return 0;
}

int config_value_apply(struct config *c, const struct config_row *row, const char *text,
		       struct err *err)
{
	char *member = row->field == CONFIG_NO_FIELD ? NULL : (char *)c + row->field;
	bool flag = false;
	enum config_pool kind = CONFIG_PREFORK;

	switch (row->type) {
	case CONFIG_TEXT:
	case CONFIG_URL:
	case CONFIG_JSON:
	case CONFIG_TREE:
		return apply_text(c, row, text, err);
	case CONFIG_INT:
	case CONFIG_COUNT:
	case CONFIG_BYTES:
	case CONFIG_SECONDS:
		return apply_number(c, row, text, err);
	case CONFIG_BOOL:
		if (text && config_value_bool(text, &flag, err) != 0)
			return -1;
		if (member)
			*(bool *)(void *)member = flag;
		return 0;
	case CONFIG_LIST:
		if (member) {
			config_list_free(*(char ***)(void *)member);
			*(char ***)(void *)member = config_value_list(text);
		}
		return 0;
	case CONFIG_POOL:
		if (text && pool(text, &kind, err) != 0)
			return -1;
		if (member)
			*(enum config_pool *)(void *)member = kind;
		return 0;
	case CONFIG_TYPE_COUNT:
		break;
	}
	return err_set(err, ERR_INTERNAL, "setting of no type");
}
