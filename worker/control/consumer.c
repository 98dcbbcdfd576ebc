/* Commands about where tasks come from, and the end of the worker. Source:
 * celery/worker/control.py; celery/worker/consumer/consumer.py, add_task_queue(). */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "protocol/pyjson.h"
#include "worker/consume/queues.h"
#include "worker/control/control.h"

#define NAME_SHOWN 1024

/* A name; NULL for anything that is none. */
static const char *name_of(const json_t *arguments, const char *key)
{
	const json_t *value = json_object_get(arguments, key);
	const char *text = json_string_value(value);

	return text && strlen(text) == json_string_length(value) ? text : NULL;
}

/* str(value), cut. */
static void add_shown(struct str *out, const json_t *value)
{
	if (json_is_string(value))
		str_addf(out, "%.*s", NAME_SHOWN, json_string_value(value));
	else
		pyjson_repr(out, value, NAME_SHOWN, 0, false);
}

/* As in Celery the answer tells that it will be tried; what came of it is in the log. */
static void add_queue(struct control *c, const json_t *arguments)
{
	bool is_new = false;
	struct err err = {0};
	const char *name = name_of(arguments, "queue");
	auto_free char *plain = control_plain(name ? name : "?");

	if (c->consumer->is_stopping)
		return;
	if (!name)
		err_set(&err, ERR_INVALID, "its name is not a text");
	else
		queues_add(c->consumer, name, arguments, &is_new, &err);
	if (err.code != ERR_NONE)
		log_error("add_consumer: queue %s: %s", plain, err.text);
	else if (is_new)
		log_info("Started consuming from %s", plain);
}

static json_t *run_add_consumer(struct control *c, const json_t *arguments,
				struct control_error *error)
{
	auto_str shown = STR_INIT(8 * NAME_SHOWN);

	(void)error;
	add_shown(&shown, json_object_get(arguments, "queue"));
	add_queue(c, arguments);
	return control_ok("add consumer %s", shown.data ? shown.data : "");
}

static json_t *run_cancel_consumer(struct control *c, const json_t *arguments,
				   struct control_error *error)
{
	const char *name = name_of(arguments, "queue");
	auto_str shown = STR_INIT(8 * NAME_SHOWN);

	(void)error;
	add_shown(&shown, json_object_get(arguments, "queue"));
	auto_free char *plain = control_plain(shown.data);

	log_info("Canceling queue %s", plain);
	if (name && !c->consumer->is_stopping)
		queues_cancel(c->consumer, name);
	return control_ok("no longer consuming from %s", shown.data ? shown.data : "");
}

static json_t *run_shutdown(struct control *c, const json_t *arguments, struct control_error *error)
{
	const json_t *msg = json_object_get(arguments, "msg");
	auto_str shown = STR_INIT(8 * NAME_SHOWN);

	(void)error;
	if (msg)
		add_shown(&shown, msg);
	else
		str_puts(&shown, "Got shutdown from remote");
	auto_free char *plain = control_plain(shown.data);

	log_warning("%s", plain);
	c->on_shutdown(c->ctx);
	return json_null();
}

const struct control_command control_consumer_commands[] = {
	{.name = "add_consumer",
	 .run = run_add_consumer,
	 .parameters = SM_NAMES("queue", "exchange", "exchange_type", "routing_key"),
	 .required = 1,
	 .takes_extra = true},
	{.name = "cancel_consumer",
	 .run = run_cancel_consumer,
	 .parameters = SM_NAMES("queue"),
	 .required = 1,
	 .takes_extra = true},
	{.name = "shutdown",
	 .run = run_shutdown,
	 .parameters = SM_NAMES("msg"),
	 .takes_extra = true,
	 .is_silent = true},
	{.name = NULL},
};
