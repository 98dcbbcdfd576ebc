#include <string.h>

#include "worker/config/cli.h"

/* "  -b, --broker URL      Broker: ..." with the help wrapped in its column. */
static void help_line(struct str *out, char letter, const char *name, const char *arg,
		      const char *help)
{
	const size_t column = 34, width = 100;
	size_t start = out->len, at;

	if (letter)
		str_addf(out, "  -%c%s", letter, name ? ", " : "");
	else
		str_puts(out, "      ");
	if (name)
		str_addf(out, "--%s", name);
	if (arg)
		str_addf(out, " %s", arg);
	at = out->len - start;
	if (at + 2 > column) {
		str_addc(out, '\n');
		at = 0;
	}
	while (*help) {
		size_t len = strcspn(help, " ");

		if (at > column && at + 1 + len > width) {
			str_addc(out, '\n');
			at = 0;
		}
		if (at < column) {
			str_addf(out, "%*s", (int)(column - at), "");
			at = column;
		} else {
			str_addc(out, ' ');
			at++;
		}
		str_add(out, help, len);
		at += len;
		help += len;
		help += strspn(help, " ");
	}
	str_addc(out, '\n');
}

static void help_options(struct str *out, const struct cli_option *list, unsigned command)
{
	for (; list && (list->name || list->letter); list++)
		if (list->help && (list->commands & command))
			help_line(out, list->letter, list->name, list->arg, list->help);
}

void cli_help(struct str *out, enum config_command command, const struct cli_option *own)
{
	help_options(out, own, command);
	for (size_t i = 0; i < config_row_count(); i++) {
		const struct config_row *row = config_row_at(i);

		if (row->option && (row->commands & command))
			help_line(out, row->letter, row->option, row->arg, row->help);
	}
	help_options(out, cli_extra_options, command);
	help_line(out, 0, "help", NULL, "Show this text.");
}
