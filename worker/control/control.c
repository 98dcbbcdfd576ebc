#include "worker/control/control.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "protocol/pidbox.h"
#include "protocol/pyjson.h"

/* Error texts quote what the client sent: this much of it. */
#define MAX_ERROR 4096

static const struct control_command *const families[] = {
	control_inspect_commands, control_consumer_commands, control_event_commands,
	control_pool_commands,	  control_task_commands,
};

static bool is_text(const json_t *value, const char *text)
{
	return text && json_is_string(value) && json_string_length(value) == strlen(text) &&
	       memcmp(json_string_value(value), text, strlen(text)) == 0;
}

static const struct control_command *find(const json_t *method)
{
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		for (const struct control_command *row = families[i]; row->name; row++)
			if (is_text(method, row->name) || is_text(method, row->alias))
				return row;
	return NULL;
}

/* --- what commands return --- */

json_t *control_refuse(struct control_error *error, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	str_reset(&error->text);
	str_addf(&error->text, "%.*s", MAX_ERROR, text ? text : "");
	return NULL;
}

static void set_exception(struct control_error *error, const char *type, const json_t *argument)
{
	str_reset(&error->text);
	pidbox_exception(&error->text, type, argument);
	log_error("pidbox command error: %s", error->text.data);
}

json_t *control_raise(struct control_error *error, const char *type, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	json_t *value = json_vsprintf(fmt, args);

	va_end(args);

	set_exception(error, type, value ? value : json_null());
	json_decref(value);
	return NULL;
}

json_t *control_ok(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	json_t *value = json_vsprintf(fmt, args);

	va_end(args);

	return json_pack("{s:o}", "ok", value ? value : json_null());
}

char *control_plain(const char *text)
{
	char *plain = mem_strdup(text ? text : "");

	for (char *at = plain; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = ' ';
	return plain;
}

bool control_is_true(const json_t *arguments, const char *name)
{
	const json_t *value = json_object_get(arguments, name);
	struct value v = value_of_json(value);

	return value && value_is_truthy(&v);
}

/* --- how Python binds the arguments --- */

static unsigned count_names(const char *const *names)
{
	unsigned count = 0;

	while (names && names[count])
		count++;
	return count;
}

static bool has_name(const struct control_command *row, const char *name, size_t len)
{
	for (unsigned i = 0; i < count_names(row->parameters); i++)
		if (strlen(row->parameters[i]) == len && memcmp(row->parameters[i], name, len) == 0)
			return true;
	return false;
}

static void say_missing(const struct control_command *row, const json_t *arguments,
			struct control_error *error)
{
	unsigned missing = 0, written = 0;
	auto_str names = STR_INIT(MAX_ERROR);

	for (unsigned i = 0; i < row->required; i++)
		missing += !json_object_get(arguments, row->parameters[i]);
	for (unsigned i = 0; i < row->required; i++) {
		if (json_object_get(arguments, row->parameters[i]))
			continue;
		if (written++ > 0)
			str_puts(&names, missing == 2	      ? " and "
					 : written == missing ? ", and "
							      : ", ");
		str_addf(&names, "'%s'", row->parameters[i]);
	}
	control_raise(error, "TypeError", "%s() missing %u required positional argument%s: %s",
		      row->name, missing, missing == 1 ? "" : "s", names.data);
}

static bool bind_arguments(const struct control_command *row, const json_t *arguments,
			   struct control_error *error)
{
	json_t *at = (json_t *)(uintptr_t)arguments;

	for (void *i = json_object_iter(at); i; i = json_object_iter_next(at, i)) {
		const char *name = json_object_iter_key(i);
		size_t len = json_object_iter_key_len(i);

		if (len == 5 && memcmp(name, "state", 5) == 0)
			control_raise(error, "TypeError",
				      "%s() got multiple values for argument 'state'", row->name);
		else if (!row->takes_extra && !has_name(row, name, len))
			control_raise(error, "TypeError",
				      "%s() got an unexpected keyword argument '%.200s'", row->name,
				      name);
		if (error->text.len > 0)
			return false;
	}
	for (unsigned i = 0; i < row->required; i++)
		if (!json_object_get(arguments, row->parameters[i])) {
			say_missing(row, arguments, error);
			return false;
		}
	return true;
}

/* --- a call --- */

static void run_row(struct control *c, const struct control_command *row, const json_t *arguments,
		    struct str *out, struct control_error *error)
{
	json_t *payload = NULL;

	if (!bind_arguments(row, arguments, error))
		return;
	if (row->write) {
		row->write(c, arguments, out, error);
	} else {
		payload = row->run(c, arguments, error);
		if (payload)
			pyjson_dump(out, payload);
		else if (error->text.len == 0)
			control_refuse(error, "%s gave no answer", row->name);
	}
	json_decref(payload);
	if (out->is_full)
		control_raise(error, "OverflowError", "the answer is larger than %zu bytes",
			      out->max);
}

bool control_call(struct control *c, const json_t *method, const json_t *arguments, struct str *out)
{
	const struct control_command *row = find(method);
	struct control_error error = {STR_INIT(2 * MAX_ERROR)};
	json_t *none = json_object();

	str_reset(out);
	if (row)
		run_row(c, row, arguments ? arguments : none, out, &error);
	else
		set_exception(&error, "KeyError", method);
	if (error.text.len > 0) {
		str_reset(out);
		str_puts(out, "{\"error\": ");
		pyjson_dump_str(out, error.text.data, error.text.len);
		str_addc(out, '}');
	}
	bool replies = !row || !row->is_silent || error.text.len > 0;

	str_clear(&error.text);
	json_decref(none);
	return replies;
}

/* --- a message --- */

static void answer(struct control *c, const struct pidbox_request *r, struct control_reply *reply)
{
	auto_str payload = STR_INIT(CONTROL_MAX_REPLY);

	if (!control_call(c, r->method, r->arguments, &payload) || !r->exchange)
		return;
	if (pidbox_reply_body(&reply->body, c->config->node_name, payload.data, payload.len) < 0)
		return;
	reply->exchange = mem_strdup(r->exchange);
	reply->routing_key = mem_strdup(r->routing_key);
	reply->headers = pidbox_reply_headers(r->ticket, ++c->mail_clock);
}

void control_handle(struct control *c, struct message *m, struct control_reply *reply)
{
	const struct content_options content = config_content(c->config);
	struct pidbox_request r = {0};
	struct err err = {0};

	memset(reply, 0, sizeof(*reply));
	str_init(&reply->body, CONTROL_MAX_REPLY + 1024);
	lamport_tick(c->clock);
	int is_for_us = content_read(m, &content, &err);

	if (is_for_us == 0)
		is_for_us = pidbox_decode(&r, m, &err);
	if (is_for_us == 0) {
		c->mail_clock = (c->mail_clock > r.clock ? c->mail_clock : r.clock) + 1;
		is_for_us = pidbox_is_for(&r, c->config->node_name, &err);
	}
	if (is_for_us < 0)
		log_error("Control command error: %s", err.text);
	else if (is_for_us > 0)
		answer(c, &r, reply);
	pidbox_clear(&r);
}

void control_reply_clear(struct control_reply *reply)
{
	free(reply->exchange);
	free(reply->routing_key);
	json_decref(reply->headers);
	str_clear(&reply->body);
	memset(reply, 0, sizeof(*reply));
}
