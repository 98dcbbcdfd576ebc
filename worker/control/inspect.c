/* Inspect commands; the larger ones have files of their own. Source: celery/worker/control.py. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "worker/control/inspect.h"

static json_t *run_ping(struct control *c, const json_t *arguments, struct control_error *error)
{
	(void)c;
	(void)arguments;
	(void)error;
	return control_ok("pong");
}

static json_t *run_clock(struct control *c, const json_t *arguments, struct control_error *error)
{
	(void)arguments;
	(void)error;
	return json_pack("{s:I}", "clock", (json_int_t)c->clock->value);
}

static json_t *run_revoked(struct control *c, const json_t *arguments, struct control_error *error)
{
	(void)arguments;
	(void)error;
	return revoked_list(&c->consumer->revoked);
}

/* What another worker asks for when it starts: both learn what the other has revoked. */
static json_t *run_hello(struct control *c, const json_t *arguments, struct control_error *error)
{
	const json_t *from = json_object_get(arguments, "from_node");
	const json_t *theirs = json_object_get(arguments, "revoked");
	const char *node = json_string_value(from);

	(void)error;
	if (node && json_string_length(from) == strlen(node) &&
	    strcmp(node, c->config->node_name) == 0)
		return json_null();
	auto_free char *shown = control_plain(node ? node : "(no name)");

	log_info("sync with %.255s", shown);
	if (theirs)
		revoked_merge(&c->consumer->revoked, theirs);
	revoked_purge(&c->consumer->revoked);
	return json_pack("{s:o, s:I}", "revoked", revoked_list(&c->consumer->revoked), "clock",
			 (json_int_t)lamport_tick(c->clock));
}

/* It draws Python objects. */
static json_t *run_objgraph(struct control *c, const json_t *arguments, struct control_error *error)
{
	(void)c;
	(void)arguments;
	return control_raise(error, "ImportError", "Requires the objgraph library");
}

const struct control_command control_inspect_commands[] = {
	{.name = "ping", .run = run_ping, .takes_extra = true},
	{.name = "clock", .run = run_clock, .takes_extra = true},
	{.name = "stats", .run = inspect_stats, .takes_extra = true},
	{.name = "report", .run = inspect_report},
	{.name = "conf",
	 .alias = "dump_conf",
	 .run = inspect_conf,
	 .parameters = SM_NAMES("with_defaults"),
	 .takes_extra = true},
	{.name = "active",
	 .alias = "dump_active",
	 .write = inspect_active,
	 .parameters = SM_NAMES("safe"),
	 .takes_extra = true},
	{.name = "reserved",
	 .alias = "dump_reserved",
	 .write = inspect_reserved,
	 .takes_extra = true},
	{.name = "scheduled",
	 .alias = "dump_schedule",
	 .write = inspect_scheduled,
	 .takes_extra = true},
	{.name = "query_task",
	 .write = inspect_query_task,
	 .parameters = SM_NAMES("ids"),
	 .required = 1,
	 .takes_extra = true},
	{.name = "revoked", .alias = "dump_revoked", .run = run_revoked, .takes_extra = true},
	{.name = "registered",
	 .alias = "dump_tasks",
	 .run = inspect_registered,
	 .parameters = SM_NAMES("taskinfoitems", "builtins"),
	 .takes_extra = true},
	{.name = "active_queues", .run = inspect_active_queues},
	{.name = "memsample", .run = inspect_memsample, .takes_extra = true},
	{.name = "memdump",
	 .run = inspect_memdump,
	 .parameters = SM_NAMES("samples"),
	 .takes_extra = true},
	{.name = "objgraph",
	 .run = run_objgraph,
	 .parameters = SM_NAMES("num", "max_depth", "type")},
	{.name = "hello",
	 .run = run_hello,
	 .parameters = SM_NAMES("from_node", "revoked"),
	 .required = 1,
	 .takes_extra = true},
	{.name = NULL},
};
