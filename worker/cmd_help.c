/* `smallage help`, and what is made for the documents out of the same tables (cmd_doc.c). */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "worker/cmd.h"

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
	if (cmd->add_list)
		cmd->add_list(out);
}

int cmd_help(int argc, char **argv)
{
	const struct cmd *cmd = argc > 0 ? cmd_find(argv[0]) : NULL;
	struct err err = {0};
	auto_str out;

	str_init(&out, HELP_MAX);
	if (argc > 0 && strcmp(argv[0], "--markdown") == 0)
		return cmd_doc_print(cmd_doc_markdown);
	if (argc > 0 && strcmp(argv[0], "--roff") == 0)
		return cmd_doc_print(cmd_doc_roff);
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
