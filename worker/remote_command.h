/*
 * What `smallage inspect` and `smallage control` can ask: the commands as Celery's command line
 * knows them, with the types of their arguments. Pure. Source: celery/worker/control.py (the
 * decorators), celery/bin/control.py.
 */
#ifndef WORKER_REMOTE_COMMAND_H
#define WORKER_REMOTE_COMMAND_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

enum remote_type { REMOTE_TEXT, REMOTE_INT, REMOTE_FLOAT, REMOTE_BOOL };
enum remote_group { REMOTE_INSPECT, REMOTE_CONTROL };

struct remote_argument {
	const char *name; /* NULL = no more */
	enum remote_type type;
};

struct remote_command {
	const char *name;
	enum remote_group group;
	struct remote_argument arguments[4];
	unsigned required;
	const char *rest;  /* name of the list that takes all further words, or NULL */
	const char *usage; /* of the arguments, "" = none */
	const char *help;  /* one line */
};

/* NULL with `err` (ERR_NOT_FOUND), which names the nearest one, or the other group. */
const struct remote_command *remote_command_find(enum remote_group group, const char *name,
						 struct err *err);
/* The words behind the command as the request's arguments; new reference. NULL with `err`. */
json_t *remote_arguments(const struct remote_command *command, int argc, char *const *argv,
			 struct err *err);
/* Appends a line or two for each. */
void remote_list(struct str *out, enum remote_group group);

#endif
