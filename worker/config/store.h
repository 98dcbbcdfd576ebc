/*
 * All values of one load as text, each with its source. A stronger source (enum config_origin)
 * replaces a weaker one, in whatever order they come. Text is checked and converted when the struct
 * is filled (config/value.h), so an error can name the source that won.
 */
#ifndef WORKER_CONFIG_STORE_H
#define WORKER_CONFIG_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "worker/config/table.h"

struct sm_setting_def;

enum config_origin {
	CONFIG_FROM_DEFAULT,
	CONFIG_FROM_FILE,
	CONFIG_FROM_ENVIRONMENT,
	CONFIG_FROM_OPTION,
};

struct config_value {
	char *name;
	const struct config_row *row;	  /* NULL: a plug-in's, or not known (yet) */
	const struct sm_setting_def *def; /* a plug-in's, once declared */
	char *text;			  /* NULL = unset */
	enum config_origin origin;
	char *where; /* "smallage.yaml:3" */
};

/* What a source found under one name. */
struct config_found {
	const char *name; /* as written there */
	const char *text; /* NULL = null */
	bool is_mapping;  /* text is a JSON object */
	enum config_origin origin;
	const char *where;
};

struct config_store *config_store_new(void);
void config_store_free(struct config_store *s);
/* Takes the value under its present name. Fails for settings of Celery that this version does not
 * have and for a name given twice by the file; a name nobody knows is kept for the plug-ins. */
int config_store_put(struct config_store *s, const struct config_found *found, struct err *err);
/* Sets a row's value after the sources were read (a default that was worked out); `where` NULL
 * keeps the source. */
void config_store_derive(struct config_store *s, const char *name, const char *text,
			 const char *where);
void config_store_declare(struct config_store *s, const struct sm_setting_def *def);
/* NULL when nothing is known under this name. */
const struct config_value *config_store_get(const struct config_store *s, const char *name);
/* Text of a value, NULL when unset. */
const char *config_store_text(const struct config_store *s, const char *name);
/* The n-th value in order of insertion (rows first, in table order); NULL past the end. */
const struct config_value *config_store_at(const struct config_store *s, size_t index);
/* The first name that nobody declared is an error with the nearest known name. */
int config_store_check_unknown(const struct config_store *s, struct err *err);
/* Nearest known name of a setting, or NULL when none is near. */
const char *config_store_nearest(const struct config_store *s, const char *name);

void config_store_notice(struct config_store *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Hands the notices over as a NULL-terminated array. */
char **config_store_take_notices(struct config_store *s);

/* The sources. */
int config_file_read(struct config_store *s, const char *path, bool must_exist, bool *ret_was_there,
		     struct err *err);
int config_environment_read(struct config_store *s, char *const *environment, struct err *err);

#endif
