/*
 * What `smallage call` and `smallage run` share: a task's name and arguments as the command line
 * has them, its message, and how its end is shown.
 */
#ifndef WORKER_CMD_TASK_H
#define WORKER_CMD_TASK_H

#include <jansson.h>

#include "protocol/task_message.h"
#include "worker/config/cli.h"
#include "worker/config/config.h"

#define CMD_TASK_OPTIONS(command)                                                                  \
	{"args", 'a', "JSON", CLI_OWN, NULL, "Positional arguments as a JSON list.", command},     \
	{                                                                                          \
		"kwargs", 'k', "JSON", CLI_OWN, NULL, "Keyword arguments as a JSON object.",       \
			command                                                                    \
	}

struct cmd_task {
	const char *name;
	json_t *args, *kwargs;
	char id[37];
	struct str args_text, kwargs_text; /* of the message */
};

void cmd_task_init(struct cmd_task *task);
void cmd_task_clear(struct cmd_task *task);
bool cmd_task_owns(const struct cli_option *option);
int cmd_task_option(struct cmd_task *task, const struct cli_option *option, const char *value,
		    struct err *err);
/* NAME and what stands behind it: one JSON list, or words. Gives it an id. */
int cmd_task_read(struct cmd_task *task, const char *command, int argc, char **argv,
		  struct err *err);
/* A message of protocol 2; borrows from `task`, which must stay. */
void cmd_task_fill(struct cmd_task *task, struct task_message *t, const struct config *config);

/* What reads as JSON is that value, anything else a string; NULL when it is not UTF-8. */
json_t *cmd_word(const char *word);
/* The value of an option, in seconds. */
int cmd_seconds_option(const char *name, const char *value, double *ret_value, struct err *err);

void cmd_print_json(const json_t *value);
/* On standard error: the traceback of a record, where there is one, and "FAILURE: ValueError: x".
 */
void cmd_print_failure(const char *command, const json_t *record);

#endif
