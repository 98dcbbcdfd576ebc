/*
 * docs/CONFIG.md and docs/man/smallage.1, written from the tables of settings, options and commands
 * (`smallage help --markdown` and `smallage help --roff`).
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "worker/cmd.h"
#include "worker/config/config.h"
#include "worker/task/plugin.h"

#define DOC_MAX ((size_t)1 << 20)

/* The settings document */

/* '|' ends a cell of a table. */
static void add_cell(struct str *out, const char *text)
{
	for (; text && *text; text++)
		str_addf(out, *text == '|' ? "\\|" : "%c", *text);
}

static void markdown_variables(struct str *out, const struct config_row *row)
{
	if (row->flags & CONFIG_OPTION_ONLY) {
		str_puts(out, "–");
		return;
	}
	str_addc(out, '`');
	str_puts(out, row->flags & CONFIG_OWN ? "SMALLAGE_" : "CELERY_");
	for (const char *at = row->name; *at; at++)
		str_addc(out, (char)(*at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at));
	str_addc(out, '`');
	for (size_t i = 0; i < 2 && row->env[i]; i++)
		str_addf(out, ", `%s`", row->env[i]);
}

static void markdown_row(struct str *out, const struct config_row *row)
{
	str_addf(out, "| `%s` | %s | ", row->name, config_type_name(row->type));
	if (row->fallback) {
		str_addc(out, '`');
		for (const char *at = row->fallback; *at; at++)
			str_addf(out, *at == ',' ? ", " : "%c", *at);
		str_addc(out, '`');
	}
	str_puts(out, " | ");
	markdown_variables(out, row);
	str_puts(out, " | ");
	if (row->option && row->letter)
		str_addf(out, "`-%c`, ", row->letter);
	if (row->option)
		str_addf(out, "`--%s`", row->option);
	str_puts(out, " | ");
	add_cell(out, row->help);
	for (size_t i = 0; i < 4 && row->old[i]; i++)
		str_addf(out, "%s`%s`%s", i == 0 ? " Also named " : ", ", row->old[i],
			 i == 3 || !row->old[i + 1] ? "." : "");
	str_puts(out, " |\n");
}

static void markdown_settings(struct str *out)
{
	str_puts(out, "| Setting | Type | Default | Environment | Option | Meaning |\n"
		      "|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < config_row_count(); i++)
		markdown_row(out, config_row_at(i));
}

static void markdown_plugin(struct str *out, const struct sm_plugin *plugin)
{
	if (!plugin->settings || !plugin->settings->name)
		return;
	str_addf(out,
		 "\n### %s\n\n| Setting | Default | Environment | Meaning |\n|---|---|---|---|\n",
		 plugin->name);
	for (const struct sm_setting_def *def = plugin->settings; def->name; def++) {
		const char *quote = def->fallback && def->fallback[0] ? "`" : "";

		str_addf(out, "| `%s` | %s%s%s | `%s` | ", def->name, quote,
			 def->fallback ? def->fallback : "", quote, def->env ? def->env : "");
		add_cell(out, def->help);
		str_puts(out, def->is_secret ? " (secret) |\n" : " |\n");
	}
}

/* Settings of the shipped plug-ins, in order of their files' names. */
static int markdown_plugins(struct str *out, struct err *err)
{
	static const char *const no_modules[] = {"tasks", NULL};
	struct registry *registry = registry_new();
	auto_free char *folder = plugin_default_dir();
	int result = plugin_load_path(registry, folder, no_modules, err);

	for (unsigned i = 0; result == 0 && i < registry_plugin_count(registry); i++)
		markdown_plugin(out, registry_plugin_at(registry, i));
	registry_free(registry);
	return result;
}

static const char markdown_intro[] =
	"# Settings\n\n"
	"<!-- Written by `smallage help --markdown`; change the tables in the code instead. -->\n\n"
	"A setting comes from, strongest first: an option, the environment, the settings file, its "
	"default. `smallage check`\nshows each value with its source.\n\n"
	"- **Options**: as listed; any setting also as `--set NAME=VALUE`.\n"
	"- **Environment**: the variable listed. An empty variable counts as unset. An unknown "
	"variable that begins with `CELERY_`\n  or `SMALLAGE_` is named in the log.\n"
	"- **File**: `smallage.yaml` in the working directory, or the one of `--config` or "
	"`SMALLAGE_CONFIG`: `name: value` lines in\n  YAML. Celery's old upper-case names are "
	"understood. An unknown name is an error that names the nearest known one; a\n  setting of "
	"Celery's that this version does not have is an error too, never ignored.\n\n"
	"Durations are seconds. Lists are comma separated in options and the environment, YAML "
	"lists in the file. Yes and no are\n`true`/`false`, `yes`/`no`, `on`/`off` or `1`/`0`.\n\n"
	"```yaml\n"
	"# smallage.yaml\n"
	"broker_url: amqp://admin:admin@rabbitmq:5672//\n"
	"result_backend: redis://redis:6379/0\n"
	"worker_concurrency: 4\n"
	"task_acks_late: true\n"
	"task_modules: [app.tasks.notifications]\n"
	"email_host: smtp.example.com\n"
	"```\n\n"
	"## Without servers\n\n"
	"With no `broker_url` (or `memory://`, or `DEBUG=True`) messages and results are files "
	"below `./smallage-data`, which a Python\nproducer shares with "
	"`broker_url='filesystem://'`; the worker logs the settings the producer needs.\n\n"
	"## Redis by parts\n\n"
	"Without `broker_url` or `result_backend`, tasks come from and results go to the Redis of "
	"`REDIS_URL`, or of `REDIS_HOST` and its\ncompanions, unless `DEBUG` is on.\n\n"
	"## The worker's settings\n\n";

/* The manual page */

/* Text with '-' as "\-" and no line that begins with a control character. */
static void roff_text(struct str *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		str_puts(out, "\\&");
	for (; *text; text++) {
		if (*text == '-')
			str_puts(out, "\\-");
		else if (*text == '\\')
			str_puts(out, "\\e");
		else
			str_addc(out, *text);
		if (*text == '\n' && (text[1] == '.' || text[1] == '\''))
			str_puts(out, "\\&");
	}
}

static void roff_option(struct str *out, char letter, const char *name, const char *arg,
			const char *help)
{
	str_puts(out, ".TP\n");
	if (letter)
		str_addf(out, "\\fB\\-%c\\fR%s", letter, name ? ", " : "");
	if (name) {
		str_puts(out, "\\fB\\-\\-");
		roff_text(out, name);
		str_puts(out, "\\fR");
	}
	if (arg) {
		str_puts(out, " \\fI");
		roff_text(out, arg);
		str_puts(out, "\\fR");
	}
	str_addc(out, '\n');
	roff_text(out, help);
	str_addc(out, '\n');
}

static void roff_list(struct str *out, const struct cli_option *list, unsigned command)
{
	for (; list && (list->name || list->letter); list++)
		if (list->help && (list->commands & command))
			roff_option(out, list->letter, list->name, list->arg, list->help);
}

static void roff_options(struct str *out, const struct cmd *cmd)
{
	roff_list(out, cmd->own, cmd->options);
	if (cmd->options == CONFIG_FOR_CHECK)
		return; /* the others are the worker's */
	for (size_t i = 0; i < config_row_count(); i++) {
		const struct config_row *row = config_row_at(i);

		if (row->option && (row->commands & cmd->options))
			roff_option(out, row->letter, row->option, row->arg, row->help);
	}
	roff_list(out, cli_extra_options, cmd->options);
}

/* Kept as it is on the terminal. */
static void roff_list_of(struct str *out, const struct cmd *cmd)
{
	auto_str list = STR_INIT(DOC_MAX);

	cmd->add_list(&list);
	str_puts(out, ".PP\n.nf\n");
	roff_text(out, list.data);
	str_puts(out, ".fi\n");
}

static void roff_commands(struct str *out)
{
	for (const struct cmd *cmd = cmd_table; cmd->name; cmd++) {
		str_addf(out, ".SS \"smallage %s ", cmd->name);
		roff_text(out, cmd->usage);
		str_puts(out, "\"\n");
		roff_text(out, cmd->help);
		str_addc(out, '\n');
		if (cmd->more) {
			str_puts(out, ".PP\n");
			roff_text(out, cmd->more);
		}
		if (cmd->add_list)
			roff_list_of(out, cmd);
		if (cmd->options)
			roff_options(out, cmd);
	}
}

static void roff_settings(struct str *out)
{
	for (size_t i = 0; i < config_row_count(); i++) {
		const struct config_row *row = config_row_at(i);

		if (row->flags & CONFIG_OPTION_ONLY)
			continue;
		str_addf(out, ".TP\n\\fB%s\\fR (%s%s", row->name, config_type_name(row->type),
			 row->fallback ? ", default " : "");
		roff_text(out, row->fallback ? row->fallback : "");
		str_puts(out, ")\n");
		roff_text(out, row->help);
		str_addc(out, '\n');
	}
}

static const char roff_begin[] =
	".\\\" Written by `smallage help --roff`; change the tables in the code instead.\n"
	".TH SMALLAGE 1 \"\" \"smallage\" \"User Commands\"\n"
	".SH NAME\n"
	"smallage \\- Celery worker and notification system\n"
	".SH SYNOPSIS\n"
	".B smallage\n"
	".I COMMAND\n"
	"[\\fIOPTIONS\\fR]\n"
	".SH DESCRIPTION\n"
	"Runs the tasks that Python programs send with Celery, in place of \\fBcelery worker\\fR.\n"
	"Tasks are plug\\-ins written in C; those that send mail and text messages are shipped.\n"
	"Options of \\fBcelery worker\\fR are understood, also in front of the command, as in\n"
	"\\fBsmallage \\-A app worker\\fR.\n"
	".SH COMMANDS\n";

static const char roff_middle[] =
	".SH SETTINGS\n"
	"A setting comes from, strongest first: an option, the environment, the settings file, "
	"its default.\n"
	"The variable of a setting of Celery's is CELERY_\\fINAME\\fR in upper case, of the "
	"others\n"
	"SMALLAGE_\\fINAME\\fR; REDIS_URL, REDIS_HOST, REDIS_PORT, REDIS_DB, REDIS_PASSWORD, "
	"REDIS_TLS and DEBUG\n"
	"are read too. Plug\\-ins have settings of their own; docs/CONFIG.md lists those of the "
	"shipped ones.\n";

static const char roff_end[] =
	".SH SIGNALS\n"
	".TP\n"
	"\\fBTERM\\fR, \\fBINT\\fR\n"
	"Warm stop: take no more messages, finish what runs, give back what has not begun.\n"
	".TP\n"
	"\\fBQUIT\\fR, a second \\fBINT\\fR\n"
	"Cold stop: end what runs.\n"
	".TP\n"
	"\\fBHUP\\fR\n"
	"Warm stop, then start again with the same arguments.\n"
	".TP\n"
	"\\fBUSR1\\fR\n"
	"Write the state to the log.\n"
	".SH EXIT STATUS\n"
	"Of the worker; the other commands explain theirs.\n"
	".TP\n"
	"\\fB0\\fR\n"
	"Stopped by TERM or QUIT.\n"
	".TP\n"
	"\\fB1\\fR\n"
	"Stopped by INT; or could not start, or could not go on: the log says why.\n"
	".TP\n"
	"\\fB2\\fR\n"
	"A wrong command line or setting.\n"
	".TP\n"
	"\\fB3\\fR\n"
	"Stopped as for 0, but the result backend stayed away and results of tasks that had been\n"
	"acked early are lost; the log names them.\n"
	".SH FILES\n"
	".TP\n"
	"\\fIsmallage.yaml\\fR\n"
	"Settings, in the working directory.\n"
	".TP\n"
	"\\fIsmallage\\-data/\\fR\n"
	"Messages and results when no server is configured.\n"
	".TP\n"
	"\\fI/run/smallage/<node>.sock\\fR\n"
	"Status socket.\n"
	".SH EXAMPLES\n"
	".nf\n"
	"smallage worker\n"
	"smallage call send_email_task a@example.com Hello 'How are you?'\n"
	"smallage worker \\-b amqp://admin:admin@localhost// \\-\\-result\\-backend "
	"redis://localhost/0 \\-c 4\n"
	"smallage status \\-\\-json\n"
	"smallage ping \\-d celery@%h\n"
	"smallage inspect \\-j active\n"
	"smallage control revoke 701d2b3c\\-4c39\\-4b8e\\-9a57\\-5f0e1d2c3b4a\n"
	".fi\n"
	".SH SEE ALSO\n"
	"docs/CONFIG.md, docs/TASKS.md, docs/OPERATIONS.md\n";

int cmd_doc_markdown(struct str *out, struct err *err)
{
	str_puts(out, markdown_intro);
	markdown_settings(out);
	str_puts(out, "\n## Settings of the shipped tasks\n");
	return markdown_plugins(out, err);
}

int cmd_doc_roff(struct str *out, struct err *err)
{
	str_puts(out, roff_begin);
	roff_commands(out);
	str_puts(out, roff_middle);
	roff_settings(out);
	str_puts(out, roff_end);
	return out->is_full ? err_set(err, ERR_LIMIT, "the page is too long") : 0;
}

int cmd_doc_print(int (*write)(struct str *out, struct err *err))
{
	struct err err = {0};
	auto_str out;

	str_init(&out, DOC_MAX);
	if (write(&out, &err) != 0)
		return cmd_fail("help", &err, 1);
	fwrite(out.data, 1, out.len, stdout);
	return 0;
}
