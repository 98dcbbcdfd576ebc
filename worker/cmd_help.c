/*
 * `smallage help`, and docs/CONFIG.md out of the same tables (`smallage help --markdown`).
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "worker/cmd.h"
#include "worker/config/config.h"
#include "worker/task/plugin.h"

#define HELP_MAX ((size_t)1 << 20)

static void overview(struct str *out)
{
	str_puts(out, "Usage: smallage COMMAND [OPTIONS]\n\n"
		      "A Celery worker and notification system. Commands:\n\n");
	for (const struct cmd *cmd = cmd_table; cmd->name; cmd++)
		str_addf(out, "  %-9s %s\n", cmd->name, cmd->help);
	str_puts(out, "\n`smallage help COMMAND` or `smallage COMMAND --help` says more.\n");
}

void cmd_help_text(struct str *out, const struct cmd *cmd)
{
	str_addf(out, "Usage: smallage %s %s\n\n%s\n", cmd->name, cmd->usage, cmd->help);
	if (cmd->options) {
		str_puts(out, "\nOptions:\n\n");
		cli_help(out, cmd->options, cmd->own);
	}
	if (cmd->more)
		str_addf(out, "\n%s", cmd->more);
}

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
	for (size_t i = 0; i < config_row_count; i++)
		markdown_row(out, &config_rows[i]);
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
		str_puts(out, def->is_secret ? " Secret. |\n" : " |\n");
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

static const char intro[] =
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
	"Without `result_backend`, results go to the Redis of `REDIS_URL`, or of `REDIS_HOST` and "
	"its companions, unless `DEBUG` is on.\nRedis as *broker* comes with a later version: set "
	"`CELERY_BROKER_URL=amqp://...` too.\n\n"
	"## The worker's settings\n\n";

static int markdown(void)
{
	struct err err = {0};
	auto_str out;

	str_init(&out, HELP_MAX);
	str_puts(&out, intro);
	markdown_settings(&out);
	str_puts(&out, "\n## Settings of the shipped tasks\n");
	if (markdown_plugins(&out, &err) != 0)
		return cmd_fail("help", &err, 1);
	fwrite(out.data, 1, out.len, stdout);
	return 0;
}

int cmd_help(int argc, char **argv)
{
	const struct cmd *cmd = argc > 0 ? cmd_find(argv[0]) : NULL;
	struct err err = {0};
	auto_str out;

	str_init(&out, HELP_MAX);
	if (argc > 0 && strcmp(argv[0], "--markdown") == 0)
		return markdown();
	if (argc > 0 && !cmd) {
		err_set(&err, ERR_NOT_FOUND, "there is no command '%.60s'", argv[0]);
		return cmd_fail("help", &err, 2);
	}
	if (cmd)
		cmd_help_text(&out, cmd);
	else
		overview(&out);
	fwrite(out.data, 1, out.len, stdout);
	return 0;
}
