/*
 * The subcommands of `smallage`: one table, from which come dispatch, `smallage help` and the man
 * page. A command gets what stands behind its name and returns the exit code.
 */
#ifndef WORKER_CMD_H
#define WORKER_CMD_H

#include "base/str.h"
#include "worker/config/cli.h"

struct cmd {
	const char *name;
	const char *usage;		   /* what stands behind the name */
	const char *help;		   /* one line */
	const char *more;		   /* text below the options, or NULL */
	enum config_command options;	   /* rows of the settings table it takes; 0 = none */
	const struct cli_option *own;	   /* options of its own, or NULL */
	void (*add_list)(struct str *out); /* lines "  name  help" below that text, or NULL */
	int (*run)(int argc, char **argv);
};

extern const struct cmd cmd_table[]; /* ends with a row without name */

/* Runs what the command line names. Options of the worker may stand in front of the subcommand, as
 * in `celery -A app worker`. */
int cmd_dispatch(int argc, char **argv);

const struct cmd *cmd_find(const char *name); /* NULL when there is none */
/* Writes "smallage <name>: <text>" to standard error; returns `code`. */
int cmd_fail(const char *name, const struct err *err, int code);

int cmd_help(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_call(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_stubs(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_ping(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_control(int argc, char **argv);
/* What the two can ask. */
void cmd_inspect_list(struct str *out);
void cmd_control_list(struct str *out);

extern const struct cli_option cmd_check_options[], cmd_call_options[], cmd_status_options[],
	cmd_remote_options[], cmd_run_options[], cmd_stubs_options[];

/* docs/CONFIG.md and docs/man/smallage.1, out of the same tables. */
int cmd_doc_markdown(struct str *out, struct err *err);
int cmd_doc_roff(struct str *out, struct err *err);
int cmd_doc_print(int (*write)(struct str *out, struct err *err)); /* returns the exit code */

/* The text of `smallage help COMMAND`. */
void cmd_help_text(struct str *out, const struct cmd *cmd);

#endif
