/*
 * The environment: CELERY_<NAME> for Celery's settings (and their old names), SMALLAGE_<NAME> for
 * ours, and the few bare names of the table (REDIS_HOST, DEBUG). Empty variables count as unset,
 * because compose files hand such ones on. Plug-ins' variables are read when they are declared.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "worker/config/store.h"
#include "worker/config/value.h"

/* Variables of the Celery program, and one of ours, that are no settings. */
static const char *const not_settings[] = {"CELERY_APP",	   "CELERY_LOADER",
					   "CELERY_CONFIG_MODULE", "CELERY_SKIP_CHECKS",
					   "CELERY_BIN",	   NULL};

static bool is_prefixed(const char *name, const char *prefix, const char *row_name)
{
	size_t len = strlen(prefix);

	return strncmp(name, prefix, len) == 0 && strcasecmp(name + len, row_name) == 0;
}

static bool row_has_variable(const struct config_row *row, const char *name)
{
	if (is_prefixed(name, row->flags & CONFIG_OWN ? "SMALLAGE_" : "CELERY_", row->name))
		return true;
	for (size_t i = 0; i < 2 && row->env[i]; i++)
		if (strcmp(row->env[i], name) == 0)
			return true;
	for (size_t i = 0; i < 4 && row->old[i]; i++)
		if (strncmp(name, "CELERY", 6) == 0 && strcmp(row->old[i], name) == 0)
			return true;
	return false;
}

static const struct config_row *row_of_variable(const char *name)
{
	for (size_t i = 0; i < config_row_count(); i++)
		if (!(config_row_at(i)->flags & CONFIG_OPTION_ONLY) &&
		    row_has_variable(config_row_at(i), name))
			return config_row_at(i);
	return NULL;
}

/* DEBUG=app:* and REDIS_PORT=tcp://10.0.0.1:6379 (set by container links) mean others. */
static bool is_meant_for_us(const struct config_row *row, const char *text)
{
	struct config scratch = {0};

	if (!(row->flags & CONFIG_LENIENT))
		return true;
	return config_value_apply(&scratch, row, text, NULL) == 0;
}

static void note_unknown(struct config_store *s, const char *name)
{
	const char *nearest;
	auto_free char *setting = NULL;

	for (size_t i = 0; not_settings[i]; i++)
		if (strcmp(not_settings[i], name) == 0)
			return;
	setting = mem_strdup(strchr(name, '_') + 1);
	for (char *at = setting; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	nearest = config_store_nearest(s, setting);
	config_store_notice(s, "environment %s names no setting and has no effect%s%s%s", name,
			    nearest ? "; did you mean the variable of '" : "",
			    nearest ? nearest : "", nearest ? "'?" : "");
}

static int read_variable(struct config_store *s, const char *name, const char *text,
			 struct err *err)
{
	const struct config_row *row = row_of_variable(name);
	auto_free char *where = mem_printf("environment %s", name);
	bool is_celery = strncmp(name, "CELERY_", 7) == 0;
	struct config_found found = {.name = row ? row->name : name,
				     .text = text,
				     .origin = CONFIG_FROM_ENVIRONMENT,
				     .where = where};

	if (row && !is_meant_for_us(row, text)) {
		config_store_notice(s, "%s does not look like ours and has no effect", where);
		return 0;
	}
	if (row)
		return config_store_put(s, &found, err);
	if (is_celery && config_fixed_find(name + 7))
		found.name = name + 7;
	else if (!config_fixed_find(name)) {
		if (is_celery || strncmp(name, "SMALLAGE_", 9) == 0)
			note_unknown(s, name);
		return 0;
	}
	return is_celery || strncmp(name, "CELERYD_", 8) == 0 ? config_store_put(s, &found, err)
							      : 0;
}

int config_environment_read(struct config_store *s, char *const *environment, struct err *err)
{
	for (; environment && *environment; environment++) {
		const char *equals = strchr(*environment, '=');
		auto_free char *name = NULL;

		if (!equals || equals[1] == '\0')
			continue;
		name = mem_dup(*environment, (size_t)(equals - *environment));
		if (read_variable(s, name, equals + 1, err) != 0)
			return -1;
	}
	return 0;
}
