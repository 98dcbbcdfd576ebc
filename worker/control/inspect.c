/* Inspect commands, celery/worker/control.py. */
#include "worker/control/control.h"

static json_t *run_ping(struct control *c, const json_t *arguments, struct control_error *error)
{
	(void)c;
	(void)arguments;
	(void)error;
	return control_ok("pong");
}

const struct control_command control_inspect_commands[] = {
	{.name = "ping", .run = run_ping, .takes_extra = true},
	{.name = NULL},
};
