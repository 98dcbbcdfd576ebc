/* Commands about what this worker tells others. Source: celery/worker/control.py. */
#include "worker/control/control.h"

static json_t *run_enable_events(struct control *c, const json_t *arguments,
				 struct control_error *error)
{
	struct report *report = c->consumer->report;

	(void)arguments;
	if (!report)
		return control_refuse(error, "event dispatcher unavailable");
	return control_ok(events_enable(&report->events) ? "task events enabled"
							 : "task events already enabled");
}

static json_t *run_disable_events(struct control *c, const json_t *arguments,
				  struct control_error *error)
{
	struct report *report = c->consumer->report;

	(void)arguments;
	if (!report)
		return control_refuse(error, "event dispatcher unavailable");
	return control_ok(events_disable(&report->events) ? "task events disabled"
							  : "task events already disabled");
}

static json_t *run_heartbeat(struct control *c, const json_t *arguments,
			     struct control_error *error)
{
	(void)arguments;
	(void)error;
	if (c->consumer->report)
		heartbeat_now(&c->consumer->report->heartbeat);
	return json_null();
}

static json_t *run_election(struct control *c, const json_t *arguments, struct control_error *error)
{
	const json_t *action = json_object_get(arguments, "action");

	(void)error;
	if (c->consumer->report)
		gossip_elect(&c->consumer->report->gossip, json_object_get(arguments, "id"),
			     json_object_get(arguments, "topic"), action ? action : json_null());
	return json_null();
}

const struct control_command control_event_commands[] = {
	{.name = "enable_events", .run = run_enable_events},
	{.name = "disable_events", .run = run_disable_events},
	{.name = "heartbeat", .run = run_heartbeat},
	{.name = "election",
	 .run = run_election,
	 .parameters = SM_NAMES("id", "topic", "action"),
	 .required = 2,
	 .takes_extra = true},
	{.name = NULL},
};
