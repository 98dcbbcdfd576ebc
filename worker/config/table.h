/*
 * Every setting in one constant table. The file reader, the environment, the command line,
 * `--help`, the man page and docs/CONFIG.md are all made from these rows, so a new setting is one
 * row and one member of struct config.
 */
#ifndef WORKER_CONFIG_TABLE_H
#define WORKER_CONFIG_TABLE_H

#include <stddef.h>

enum config_type {
	CONFIG_TEXT,	/* char * */
	CONFIG_URL,	/* char *; shown without its password */
	CONFIG_BOOL,	/* bool */
	CONFIG_INT,	/* int */
	CONFIG_COUNT,	/* unsigned */
	CONFIG_BYTES,	/* uint64_t */
	CONFIG_SECONDS, /* double */
	CONFIG_LIST,	/* char **, NULL-terminated; text form: comma separated */
	CONFIG_JSON,	/* char *, text of a JSON object; a mapping in the file */
	CONFIG_TREE,	/* char *, JSON text of a list or an object; "a,b" is a list too */
	CONFIG_POOL,	/* enum config_pool */
	CONFIG_TYPE_COUNT
};

/* Subcommands that take a row's option. */
enum config_command {
	CONFIG_FOR_WORKER = 1,
	CONFIG_FOR_CHECK = 2,
	CONFIG_FOR_CALL = 4,
	CONFIG_FOR_STATUS = 8,
	CONFIG_FOR_REMOTE = 16, /* ping, inspect, control */
	CONFIG_FOR_ONE = 32,	/* run: one task, no server */
	CONFIG_FOR_STUBS = 64,
};
#define CONFIG_FOR_RUN (CONFIG_FOR_WORKER | CONFIG_FOR_CHECK)
/* Those that talk to no server. */
#define CONFIG_FOR_ALONE (CONFIG_FOR_STATUS | CONFIG_FOR_ONE | CONFIG_FOR_STUBS)
#define CONFIG_FOR_ALL	 (CONFIG_FOR_RUN | CONFIG_FOR_CALL | CONFIG_FOR_REMOTE | CONFIG_FOR_ALONE)

enum config_flag {
	CONFIG_SECRET = 1,  /* never shown */
	CONFIG_LENIENT = 2, /* its variable is in common use: a strange value there is only noted */
	CONFIG_OPTION_ONLY = 4, /* neither in the file nor in the environment */
	CONFIG_NOT_IN_FILE = 8, /* needed before the file is read */
	CONFIG_OWN = 16,	/* not Celery's: its variable begins with SMALLAGE_ */
	CONFIG_OR_BOOL = 32,	/* of CONFIG_JSON: may be "true" or "false" too */
};

#define CONFIG_NO_FIELD ((size_t)-1)

struct config_row {
	const char *name;
	enum config_type type;
	size_t field;	       /* offset in struct config, or CONFIG_NO_FIELD */
	const char *fallback;  /* as text; NULL = unset */
	const char *null_text; /* what null in the file means; NULL = the fallback */
	const char *choices;   /* "a|b|c", any case; NULL = any text */
	double min, max;       /* of numbers; max 0 = no maximum */
	const char *old[4];    /* Celery's old names */
	const char *env[2];    /* variables besides CELERY_<NAME> and SMALLAGE_<NAME> */
	unsigned flags;
	const char *help; /* one line */
	/* The option, if there is one. */
	const char *option;
	char letter;	 /* 0 = none */
	const char *arg; /* NULL = a flag that means "true" */
	unsigned commands;
};

/* All rows, in the order of docs/CONFIG.md and --help; NULL behind the last. */
const struct config_row *config_row_at(size_t index);
size_t config_row_count(void);

/* By name or old name, any case. NULL when there is none. */
const struct config_row *config_row_find(const char *name);
const char *config_type_name(enum config_type type); /* for people: "seconds" */

/* Celery's settings that are no rows. */
struct config_fixed {
	const char *name;
	const char *value; /* the only one allowed, because it is what we do; NULL = none */
	const char *hint;  /* what to do instead; may be NULL */
};
/* Also finds families such as beat_*. NULL when Celery has no such setting. */
const struct config_fixed *config_fixed_find(const char *name);

#endif
