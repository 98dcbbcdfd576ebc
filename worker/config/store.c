#include "worker/config/store.h"

#include <ctype.h>
#include <smallage/task.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"

struct config_store {
	struct map *values; /* lower-case name -> struct config_value */
	char **notices;
	size_t notice_count;
};

static void lower(char *text)
{
	for (; *text; text++)
		*text = (char)tolower((unsigned char)*text);
}

static struct config_value *value_add(struct config_store *s, const char *name)
{
	struct config_value *v = mem_calloc(1, sizeof(*v));

	v->name = mem_strdup(name);
	lower(v->name);
	v->where = mem_strdup("default");
	map_put(s->values, v->name, v);
	return v;
}

static void value_set(struct config_value *v, const char *text, enum config_origin origin,
		      const char *where)
{
	char *old_text = v->text, *old_where = v->where;

	v->text = mem_strdup(text);
	v->where = mem_strdup(where);
	v->origin = origin;
	free(old_text); /* both may be what was handed in */
	free(old_where);
}

struct config_store *config_store_new(void)
{
	struct config_store *s = mem_calloc(1, sizeof(*s));

	s->values = map_new();
	for (size_t i = 0; i < config_row_count(); i++) {
		struct config_value *v = value_add(s, config_row_at(i)->name);

		v->row = config_row_at(i);
		v->text = mem_strdup(config_row_at(i)->fallback);
	}
	return s;
}

void config_store_free(struct config_store *s)
{
	if (!s)
		return;
	for (struct map_entry *e = map_first(s->values); e; e = map_next(e)) {
		struct config_value *v = map_value(e);

		free(v->name);
		free(v->text);
		free(v->where);
		free(v);
	}
	map_free(s->values);
	for (size_t i = 0; i < s->notice_count; i++)
		free(s->notices[i]);
	free(s->notices);
	free(s);
}

void config_store_notice(struct config_store *s, const char *fmt, ...)
{
	char text[500];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	s->notices = mem_realloc(s->notices, (s->notice_count + 2) * sizeof(*s->notices));
	s->notices[s->notice_count++] = mem_strdup(text);
	s->notices[s->notice_count] = NULL;
}

char **config_store_take_notices(struct config_store *s)
{
	char **taken = s->notices ? s->notices : mem_calloc(1, sizeof(*taken));

	s->notices = NULL;
	s->notice_count = 0;
	return taken;
}

/* A setting of Celery's that is no row of ours. */
static int put_fixed(struct config_store *s, const struct config_fixed *fixed,
		     const struct config_found *found, struct err *err)
{
	const char *hint = fixed->hint ? fixed->hint : "remove it";
	bool is_null = !found->text || found->text[0] == '\0';

	if (fixed->value && (is_null || strcasecmp(found->text, fixed->value) == 0))
		return 0;
	if (found->origin == CONFIG_FROM_ENVIRONMENT) {
		config_store_notice(s, "%s is not supported by this version and has no effect (%s)",
				    found->where, hint);
		return 0;
	}
	if (fixed->value)
		return err_set(err, ERR_UNSUPPORTED,
			       "%s: setting '%s' can only be '%s' in this version%s%s",
			       found->where, found->name, fixed->value, fixed->hint ? ": " : "",
			       fixed->hint ? fixed->hint : "");
	return err_set(err, ERR_UNSUPPORTED,
		       "%s: setting '%s' is Celery's but not supported by this version; %s",
		       found->where, found->name, hint);
}

static int put_row(struct config_value *v, const struct config_found *found, struct err *err)
{
	const struct config_row *row = v->row;
	unsigned forbidden =
		found->origin == CONFIG_FROM_FILE ? CONFIG_OPTION_ONLY | CONFIG_NOT_IN_FILE : 0;

	if (row->flags & forbidden)
		return err_set(err, ERR_INVALID, "%s: '%s' can only be given %s", found->where,
			       row->name,
			       row->flags & CONFIG_OPTION_ONLY ? "as an option"
							       : "as an option or variable");
	if (found->is_mapping && row->type != CONFIG_JSON && row->type != CONFIG_TREE)
		return err_set(err, ERR_INVALID, "%s: '%s' must be %s, not a mapping", found->where,
			       row->name,
			       row->type == CONFIG_LIST ? "a list of names" : "one value");
	return 0;
}

int config_store_put(struct config_store *s, const struct config_found *found, struct err *err)
{
	const struct config_row *row = config_row_find(found->name);
	auto_free char *name = mem_strdup(row ? row->name : found->name);
	struct config_value *v;
	const char *text = found->text;

	lower(name);
	v = map_get(s->values, name);
	if (!v || (!v->row && !v->def)) {
		const struct config_fixed *fixed = config_fixed_find(name);

		if (fixed)
			return put_fixed(s, fixed, found, err);
	}
	if (!v)
		v = value_add(s, name);
	if (v->row && put_row(v, found, err) != 0)
		return -1;
	if (found->origin == CONFIG_FROM_FILE && v->origin == CONFIG_FROM_FILE)
		return err_set(err, ERR_INVALID, "%s: '%s' was given before, at %s", found->where,
			       v->name, v->where);
	if (found->origin < v->origin)
		return 0;
	if (!text && v->row)
		text = v->row->null_text ? v->row->null_text : v->row->fallback;
	value_set(v, text, found->origin, found->where);
	return 0;
}

void config_store_derive(struct config_store *s, const char *name, const char *text,
			 const char *where)
{
	struct config_value *v = map_get(s->values, name);

	if (!v)
		v = value_add(s, name);
	value_set(v, text, v->origin, where ? where : v->where);
}

void config_store_declare(struct config_store *s, const struct sm_setting_def *def)
{
	struct config_value *v = map_get(s->values, def->name);
	const char *variable = def->env ? getenv(def->env) : NULL;

	if (!v)
		v = value_add(s, def->name);
	if (v->row || v->def)
		return; /* the first to declare a name has it */
	v->def = def;
	if (v->origin == CONFIG_FROM_DEFAULT)
		value_set(v, def->fallback, CONFIG_FROM_DEFAULT, "default");
	if (variable && variable[0] && v->origin < CONFIG_FROM_ENVIRONMENT) {
		auto_free char *where = mem_printf("environment %s", def->env);

		value_set(v, variable, CONFIG_FROM_ENVIRONMENT, where);
	}
}

const struct config_value *config_store_get(const struct config_store *s, const char *name)
{
	return map_get(s->values, name);
}

const char *config_store_text(const struct config_store *s, const char *name)
{
	const struct config_value *v = map_get(s->values, name);

	return v ? v->text : NULL;
}

const struct config_value *config_store_at(const struct config_store *s, size_t index)
{
	struct map_entry *e = map_first(s->values);

	while (e && index-- > 0)
		e = map_next(e);
	return e ? map_value(e) : NULL;
}

const char *config_store_nearest(const struct config_store *s, const char *name)
{
	struct text_guess guess = TEXT_GUESS(name);

	for (struct map_entry *e = map_first(s->values); e; e = map_next(e)) {
		const struct config_value *v = map_value(e);

		if (v->row || v->def)
			text_guess_try(&guess, v->name);
	}
	return guess.nearest;
}

int config_store_check_unknown(const struct config_store *s, struct err *err)
{
	for (struct map_entry *e = map_first(s->values); e; e = map_next(e)) {
		const struct config_value *v = map_value(e);
		const char *nearest;

		if (v->row || v->def)
			continue;
		nearest = config_store_nearest(s, v->name);
		return err_set(err, ERR_NOT_FOUND, "%s: unknown setting '%s'%s%s%s", v->where,
			       v->name, nearest ? "; did you mean '" : "", nearest ? nearest : "",
			       nearest ? "'?" : "");
	}
	return 0;
}
