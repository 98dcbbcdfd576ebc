#include "worker/cmd.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "worker/worker.h"

#define REMOTE_CODES                                                                               \
	"Exit code: 0 answered, 69 nobody answered in time or the broker cannot be reached, 2 "    \
	"the "                                                                                     \
	"command\nline or a setting is wrong.\n"

const struct cmd cmd_table[] = {
	{"worker", "[OPTIONS]", "Run tasks: what `celery worker` does.",
	 "Without a broker the worker needs no server: messages and results are files below\n"
	 "./smallage-data. Settings also come from smallage.yaml and the environment\n"
	 "(CELERY_BROKER_URL, ...); see smallage(1) and docs/CONFIG.md.\n",
	 CONFIG_FOR_WORKER, NULL, NULL, worker_main},
	{"call", "[OPTIONS] NAME [ARGS]", "Send a task and wait for its result.",
	 "ARGS is one JSON list, or words: what reads as JSON is that value, anything else a "
	 "string.\nExit code: 0 the task succeeded, 1 it failed or could not be sent, 2 no result "
	 "in time.\n",
	 CONFIG_FOR_CALL, cmd_call_options, NULL, cmd_call},
	{"status", "[OPTIONS]", "Ask the local worker how it is, in milliseconds.",
	 "Exit code: 0 ready, 1 running but not ready, 2 no worker answers. For health checks.\n",
	 CONFIG_FOR_STATUS, cmd_status_options, NULL, cmd_status},
	{"ping", "[OPTIONS]", "Ask workers through the broker whether they are well.",
	 "For health checks: `smallage ping -d celery@%h` ends with the answer. Without -d all "
	 "nodes "
	 "are\nasked, and the end is when none answered for the time of -t.\n" REMOTE_CODES,
	 CONFIG_FOR_REMOTE, cmd_remote_options + 1, NULL, cmd_ping},
	{"inspect", "[OPTIONS] COMMAND [ARGS]", "Ask workers, in C or Python, what they do.",
	 REMOTE_CODES "\nCommands:\n\n", CONFIG_FOR_REMOTE, cmd_remote_options, cmd_inspect_list,
	 cmd_inspect},
	{"control", "[OPTIONS] COMMAND [ARGS]", "Tell workers, in C or Python, what to do.",
	 REMOTE_CODES "An error that a node tells of is an answer too: 0, as in Celery.\n"
		      "\nCommands:\n\n",
	 CONFIG_FOR_REMOTE, cmd_remote_options, cmd_control_list, cmd_control},
	{"check", "[OPTIONS]", "Try settings, plug-ins, broker, results and mail server.",
	 "Takes the options of `smallage worker`. Exit code: 0 all is well, 1 something failed.\n",
	 CONFIG_FOR_CHECK, cmd_check_options, NULL, cmd_check},
	{"run", "[OPTIONS] NAME [ARGS]",
	 "Run one task here, without a server: for authors and tests.",
	 "ARGS as of `smallage call`. The pool is the worker's, so that limits and crashes end as "
	 "they do there;\n-P solo for a debugger. Tasks that it sends are shown, not sent. Ctrl-C "
	 "tells the task as its soft time\nlimit would, a second one kills it.\nExit code: 0 the "
	 "task "
	 "succeeded, 1 it failed, 2 the command line or a setting is wrong or there is no\nsuch "
	 "task, "
	 "3 it wants to be run again, 4 it was ignored, rejected or replaced.\n",
	 CONFIG_FOR_ONE, cmd_run_options, NULL, cmd_run},
	{"stubs", "[OPTIONS]", "Write a Python module by which producers call the tasks.",
	 "    smallage stubs > tasks.py\n\nIts functions have the tasks' names, parameters and "
	 "types; "
	 "`tasks.add.delay(2, 3)` and `tasks.add.s(2)`\nare checked before they are sent.\n",
	 CONFIG_FOR_STUBS, cmd_stubs_options, NULL, cmd_stubs},
	{"help", "[COMMAND]", "Explain a command.", NULL, 0, NULL, NULL, cmd_help},
	{"version", "", "Print the version.", NULL, 0, NULL, NULL, cmd_version},
	{NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL},
};

const struct cmd *cmd_find(const char *name)
{
	for (const struct cmd *cmd = cmd_table; cmd->name; cmd++)
		if (strcmp(cmd->name, name) == 0)
			return cmd;
	return NULL;
}

int cmd_fail(const char *name, const struct err *err, int code)
{
	fprintf(stderr, "smallage %s: %s\n", name, err->text);
	return code;
}

int cmd_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("smallage %s\n", SMALLAGE_VERSION);
	return 0;
}

static int unknown_command(const char *name)
{
	struct text_guess guess = {.wanted = name, .most = 2};

	for (const struct cmd *cmd = cmd_table; cmd->name; cmd++)
		text_guess_try(&guess, cmd->name);
	fprintf(stderr, "smallage: unknown command '%.60s'", name);
	if (guess.nearest)
		fprintf(stderr, "; did you mean '%s'?\n", guess.nearest);
	else
		fprintf(stderr, "; see `smallage help`\n");
	return 2;
}

static bool wants_help(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

/* argv without the subcommand's name: first what stood in front of it, then what stands behind. */
static int run_command(const struct cmd *cmd, int at, int argc, char **argv)
{
	auto_free char **rest = mem_calloc((size_t)argc + 1, sizeof(*rest));
	int count = 0;

	for (int i = 1; i < argc; i++)
		if (i != at)
			rest[count++] = argv[i];
	if (cmd->options && wants_help(count, rest)) {
		char *name[] = {argv[at], NULL};

		return cmd_help(1, name);
	}
	return cmd->run(count, rest);
}

int cmd_dispatch(int argc, char **argv)
{
	int at = 1;
	const struct cmd *cmd;

	while (at < argc && argv[at][0] == '-') {
		int width = cli_option_width(argc - at, argv + at);

		if (strcmp(argv[at], "--version") == 0 || strcmp(argv[at], "-V") == 0)
			return cmd_version(0, NULL);
		if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0)
			return cmd_help(0, NULL);
		if (width == 0) {
			fprintf(stderr, "smallage: unknown option '%.60s' before the command\n",
				argv[at]);
			return 2;
		}
		at += width;
	}
	if (at >= argc) {
		cmd_help(0, NULL);
		return 2;
	}
	cmd = cmd_find(argv[at]);
	return cmd ? run_command(cmd, at, argc, argv) : unknown_command(argv[at]);
}
