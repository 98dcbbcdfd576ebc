#include "worker/remote_command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "protocol/pyjson.h"

static const struct remote_command commands[] = {
	{.name = "active", .usage = "", .help = "Tasks that run now."},
	{.name = "active_queues", .usage = "", .help = "Queues that tasks are taken from."},
	{.name = "clock", .usage = "", .help = "The logical clock."},
	{.name = "conf",
	 .arguments = {{"with_defaults", REMOTE_BOOL}},
	 .usage = "[WITH_DEFAULTS]",
	 .help = "Settings that are set; with `true` all of them. Secrets are masked."},
	{.name = "memdump",
	 .arguments = {{"samples", REMOTE_INT}},
	 .usage = "[SAMPLES]",
	 .help = "Memory at the last calls of memsample."},
	{.name = "memsample", .usage = "", .help = "Memory in use; noted for memdump."},
	{.name = "objgraph",
	 .arguments = {{"type", REMOTE_TEXT}, {"num", REMOTE_INT}, {"max_depth", REMOTE_INT}},
	 .usage = "[TYPE [NUM [MAX_DEPTH]]]",
	 .help = "Graph of Python's objects; only of Python workers."},
	{.name = "ping", .usage = "", .help = "Answers pong."},
	{.name = "query_task",
	 .required = 1,
	 .rest = "ids",
	 .usage = "ID...",
	 .help = "Where these tasks are: active, reserved, scheduled."},
	{.name = "registered",
	 .rest = "taskinfoitems",
	 .usage = "[ATTRIBUTE...]",
	 .help = "Names of known tasks, with these attributes (rate_limit, max_retries, ...)."},
	{.name = "report", .usage = "", .help = "Versions and settings, for bug reports."},
	{.name = "reserved", .usage = "", .help = "Tasks that were taken and wait for a process."},
	{.name = "revoked", .usage = "", .help = "Ids of revoked tasks."},
	{.name = "scheduled", .usage = "", .help = "Tasks that wait for their ETA or countdown."},
	{.name = "stats", .usage = "", .help = "Counts, pool, broker, resources used."},
	{.name = "add_consumer",
	 .group = REMOTE_CONTROL,
	 .arguments = {{"queue", REMOTE_TEXT},
		       {"exchange", REMOTE_TEXT},
		       {"exchange_type", REMOTE_TEXT},
		       {"routing_key", REMOTE_TEXT}},
	 .required = 1,
	 .usage = "QUEUE [EXCHANGE [TYPE [ROUTING_KEY]]]",
	 .help = "Take tasks from this queue too."},
	{.name = "autoscale",
	 .group = REMOTE_CONTROL,
	 .arguments = {{"max", REMOTE_INT}, {"min", REMOTE_INT}},
	 .usage = "[MAX [MIN]]",
	 .help = "Set the bounds of --autoscale."},
	{.name = "cancel_consumer",
	 .group = REMOTE_CONTROL,
	 .arguments = {{"queue", REMOTE_TEXT}},
	 .required = 1,
	 .usage = "QUEUE",
	 .help = "Take no more tasks from this queue."},
	{.name = "disable_events",
	 .group = REMOTE_CONTROL,
	 .usage = "",
	 .help = "Send no events of tasks."},
	{.name = "election",
	 .group = REMOTE_CONTROL,
	 .arguments = {{"id", REMOTE_TEXT}, {"topic", REMOTE_TEXT}, {"action", REMOTE_TEXT}},
	 .required = 2,
	 .usage = "ID TOPIC [ACTION]",
	 .help = "Let the nodes elect one of them."},
	{.name = "enable_events",
	 .group = REMOTE_CONTROL,
	 .usage = "",
	 .help = "Send events of tasks, for monitors."},
	{.name = "heartbeat",
	 .group = REMOTE_CONTROL,
	 .usage = "",
	 .help = "Send a heartbeat event now."},
	{.name = "pool_grow",
	 .group = REMOTE_CONTROL,
	 .arguments = {{"n", REMOTE_INT}},
	 .usage = "[N]",
	 .help = "Add N processes; 1 when not given."},
	{.name = "pool_restart",
	 .group = REMOTE_CONTROL,
	 .usage = "",
	 .help = "Replace the processes of the pool."},
	{.name = "pool_shrink",
	 .group = REMOTE_CONTROL,
	 .arguments = {{"n", REMOTE_INT}},
	 .usage = "[N]",
	 .help = "Remove N processes; 1 when not given."},
	{.name = "rate_limit",
	 .group = REMOTE_CONTROL,
	 .arguments = {{"task_name", REMOTE_TEXT}, {"rate_limit", REMOTE_TEXT}},
	 .required = 2,
	 .usage = "TASK RATE",
	 .help = "Run at most RATE of this task: 5/s, 10/m, 100/h; 0 = no limit."},
	{.name = "revoke",
	 .group = REMOTE_CONTROL,
	 .required = 1,
	 .rest = "task_id",
	 .usage = "ID...",
	 .help = "Do not run these tasks; what runs already goes on."},
	{.name = "revoke_by_stamped_headers",
	 .group = REMOTE_CONTROL,
	 .required = 1,
	 .rest = "headers",
	 .usage = "KEY=VALUE...",
	 .help = "Do not run tasks with one of these stamps."},
	{.name = "shutdown",
	 .group = REMOTE_CONTROL,
	 .usage = "",
	 .help = "Warm stop. Never answered, so the exit code is 69."},
	{.name = "terminate",
	 .group = REMOTE_CONTROL,
	 .arguments = {{"signal", REMOTE_TEXT}},
	 .required = 2,
	 .rest = "task_id",
	 .usage = "SIGNAL ID...",
	 .help = "Revoke these tasks and send SIGNAL (TERM, KILL, ...) to those that run."},
	{.name = "time_limit",
	 .group = REMOTE_CONTROL,
	 .arguments = {{"task_name", REMOTE_TEXT}, {"soft", REMOTE_FLOAT}, {"hard", REMOTE_FLOAT}},
	 .required = 2,
	 .usage = "TASK SOFT [HARD]",
	 .help = "Limit the run time of this task, in seconds."},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))
#define ARGUMENTS_MAX (sizeof(commands[0].arguments) / sizeof(commands[0].arguments[0]))

static const char *group_name(enum remote_group group)
{
	return group == REMOTE_INSPECT ? "inspect" : "control";
}

static void refuse(enum remote_group group, const char *name, struct err *err)
{
	unsigned best = 1 + (unsigned)strlen(name) / 3;
	const struct remote_command *nearest = NULL;

	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		unsigned distance = text_distance(name, commands[i].name);

		if (commands[i].group == group && distance < best) {
			best = distance;
			nearest = &commands[i];
		}
		if (distance == 0) {
			err_set(err, ERR_NOT_FOUND, "%s is %s %s command: smallage %s %s", name,
				commands[i].group == REMOTE_INSPECT ? "an" : "a",
				group_name(commands[i].group), group_name(commands[i].group), name);
			return;
		}
	}
	if (nearest)
		err_set(err, ERR_NOT_FOUND, "unknown command '%.60s'; did you mean '%s'?", name,
			nearest->name);
	else
		err_set(err, ERR_NOT_FOUND,
			"unknown command '%.60s'; `smallage %s --list` names them all", name,
			group_name(group));
}

const struct remote_command *remote_command_find(enum remote_group group, const char *name,
						 struct err *err)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (commands[i].group == group && strcmp(commands[i].name, name) == 0)
			return &commands[i];
	refuse(group, name, err);
	return NULL;
}

static json_t *to_int(const char *text)
{
	char *end;
	long long number;

	errno = 0;
	number = strtoll(text, &end, 10);
	return end != text && !*end && errno == 0 ? json_integer(number) : NULL;
}

static json_t *to_float(const char *text)
{
	char *end;
	double number = strtod(text, &end);

	if (end == text || *end || strpbrk(text, "xX"))
		return NULL;
	return json_real(number); /* NULL for inf and nan, which are no limits */
}

static json_t *to_bool(const char *text)
{
	static const char *const words[2][4] = {{"false", "no", "0", "off"},
						{"true", "yes", "1", "on"}};

	for (int i = 0; i < 2; i++)
		for (int j = 0; j < 4; j++)
			if (strcasecmp(text, words[i][j]) == 0)
				return json_boolean(i);
	return NULL;
}

static int add_argument(json_t *arguments, const struct remote_command *command, unsigned index,
			const char *text, struct err *err)
{
	static json_t *(*const read[])(const char *text) = {
		[REMOTE_TEXT] = json_string,
		[REMOTE_INT] = to_int,
		[REMOTE_FLOAT] = to_float,
		[REMOTE_BOOL] = to_bool,
	};
	static const char *const names[] = {
		[REMOTE_TEXT] = "UTF-8 text",
		[REMOTE_INT] = "a whole number",
		[REMOTE_FLOAT] = "a number",
		[REMOTE_BOOL] = "true or false",
	};
	const struct remote_argument *argument = &command->arguments[index];
	json_t *value = read[argument->type](text);

	if (!value)
		return err_set(err, ERR_INVALID, "%s: %s must be %s, not '%.60s'", command->name,
			       argument->name, names[argument->type], text);
	json_object_set_new(arguments, argument->name, value);
	return 0;
}

static int fill(json_t *arguments, const struct remote_command *command, int argc,
		char *const *argv, struct err *err)
{
	json_t *rest = NULL;
	int at = 0;

	for (; at < argc && (size_t)at < ARGUMENTS_MAX && command->arguments[at].name; at++)
		if (add_argument(arguments, command, (unsigned)at, argv[at], err) != 0)
			return -1;
	if ((unsigned)argc < command->required || (at < argc && !command->rest))
		return err_set(err, ERR_INVALID, "%s takes %s", command->name,
			       *command->usage ? command->usage : "no arguments");
	if (!command->rest)
		return 0;
	rest = json_array();
	json_object_set_new(arguments, command->rest, rest);
	for (; at < argc; at++)
		if (json_array_append_new(rest, json_string(argv[at])) != 0)
			return err_set(err, ERR_INVALID, "%s: an argument is not UTF-8",
				       command->name);
	return 0;
}

json_t *remote_arguments(const struct remote_command *command, int argc, char *const *argv,
			 struct err *err)
{
	json_t *arguments = json_object();

	if (fill(arguments, command, argc, argv, err) == 0)
		return arguments;
	json_decref(arguments);
	return NULL;
}

void remote_list(struct str *out, enum remote_group group)
{
	const int column = 28;

	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		const struct remote_command *c = &commands[i];
		size_t start = out->len;

		if (c->group != group)
			continue;
		str_addf(out, "  %s%s%s", c->name, *c->usage ? " " : "", c->usage);
		if (out->len - start + 1 > (size_t)column)
			str_addf(out, "\n%*s%s\n", column, "", c->help);
		else
			str_addf(out, "%*s%s\n", column - (int)(out->len - start), "", c->help);
	}
}
