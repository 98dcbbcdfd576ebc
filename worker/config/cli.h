/*
 * The command line, over the table's rows and over options that are no settings. Long options as
 * "--name value" or "--name=value", letters as "-l value", "-lvalue" and joined flags ("-DE").
 * Arguments that are no options may stand anywhere; "--" ends the options. No abbreviations, as in
 * Celery. Nothing is printed, no global state.
 */
#ifndef WORKER_CONFIG_CLI_H
#define WORKER_CONFIG_CLI_H

#include "base/err.h"
#include "base/str.h"
#include "worker/config/table.h"

enum cli_kind {
	CLI_OWN,     /* the subcommand's own; goes to on_own */
	CLI_ALIAS,   /* another name of the setting `text` */
	CLI_IGNORED, /* accepted because Celery's command lines hold it; `text` is a notice or NULL
		      */
	CLI_REFUSED, /* `text` says why and what to do */
};

struct cli_option {
	const char *name; /* NULL: a letter only */
	char letter;	  /* 0 = none */
	const char *arg;  /* NULL = a flag */
	enum cli_kind kind;
	const char *text;
	const char *help; /* NULL = not shown */
	unsigned commands;
};

/* Ends with a row without name and letter. */
extern const struct cli_option cli_extra_options[];

struct cli_use {
	enum config_command command;
	const struct cli_option *own; /* may be NULL */
	/* Called for each CLI_OWN option; `value` NULL for a flag. May refuse. */
	int (*on_own)(void *ctx, const struct cli_option *option, const char *value,
		      struct err *err);
	void *ctx;
};

struct config_store;
/* Puts what the options say into the store. Permutes argv: *ret_rest is the index of the first
 * argument that is no option. */
int cli_read(struct config_store *s, const struct cli_use *use, int argc, char **argv,
	     int *ret_rest, struct err *err);

/* How many arguments the option at argv[0] takes up (1 or 2) when the worker knows it, else 0: for
 * options in front of the subcommand, as in `celery -A app worker`. */
int cli_option_width(int argc, char *const *argv);

/* Appends the list of options of a subcommand for `--help`. */
void cli_help(struct str *out, enum config_command command, const struct cli_option *own);

#endif
