/*
 * `smallage call`: a producer without Python, for tries, cron and tests. Sends a protocol 2 message
 * as Celery's apply_async does and polls the result store, as every Celery client may.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "protocol/pyjson.h"
#include "protocol/result.h"
#include "protocol/task_message.h"
#include "worker/cmd.h"
#include "worker/cmd_client.h"
#include "worker/cmd_task.h"

#define POLL_MS		20
#define CONNECT_LIMIT_S 30.0

enum { CALL_SUCCEEDED = 0, CALL_FAILED = 1, CALL_TIMED_OUT = 2 };

const struct cli_option cmd_call_options[] = {
	CMD_TASK_OPTIONS(CONFIG_FOR_CALL),
	{"queue", 0, "NAME", CLI_OWN, NULL,
	 "Send to this queue; default what task_routes say, or task_default_queue.",
	 CONFIG_FOR_CALL},
	{"exchange", 0, "NAME", CLI_OWN, NULL, "Send to this exchange, with --routing-key.",
	 CONFIG_FOR_CALL},
	{"routing-key", 0, "KEY", CLI_OWN, NULL, "Send with this routing key.", CONFIG_FOR_CALL},
	{"countdown", 0, "SECONDS", CLI_OWN, NULL, "Do not run before this many seconds.",
	 CONFIG_FOR_CALL},
	{"eta", 0, "TIME", CLI_OWN, NULL, "Do not run before this ISO 8601 time.", CONFIG_FOR_CALL},
	{"expires", 0, "SECONDS", CLI_OWN, NULL, "Do not run after this many seconds.",
	 CONFIG_FOR_CALL},
	{"timeout", 't', "SECONDS", CLI_OWN, NULL,
	 "Wait this long for the result; 60 when not given.", CONFIG_FOR_CALL},
	{"no-wait", 0, NULL, CLI_OWN, NULL, "Print the task's id and do not wait.",
	 CONFIG_FOR_CALL},
	{"json", 0, NULL, CLI_OWN, NULL, "Print the whole result record.", CONFIG_FOR_CALL},
	{NULL, 0, NULL, CLI_OWN, NULL, NULL, 0},
};

struct call {
	struct config *config;
	struct client client;
	struct cmd_task task;
	const char *queue, *exchange, *routing_key;
	double countdown_s, expires_s, timeout_s; /* < 0 = not given */
	int64_t eta_us;				  /* TIME_UNSET = not given */
	bool is_no_wait, is_json;
	char reply_to[37];
	bool is_published, is_answered;
	struct err publish_err, result_err;
	struct str record; /* empty: none yet */
};

static int on_own(void *ctx, const struct cli_option *option, const char *value, struct err *err)
{
	struct call *call = ctx;
	const char *name = option->name;

	if (cmd_task_owns(option))
		return cmd_task_option(&call->task, option, value, err);
	if (strcmp(name, "countdown") == 0)
		return cmd_seconds_option(name, value, &call->countdown_s, err);
	if (strcmp(name, "expires") == 0)
		return cmd_seconds_option(name, value, &call->expires_s, err);
	if (strcmp(name, "timeout") == 0)
		return cmd_seconds_option(name, value, &call->timeout_s, err);
	if (strcmp(name, "eta") == 0)
		return iso8601_parse(value, strlen(value), &call->eta_us, NULL, err) == 0
			       ? 0
			       : err_prefix(err, "option --eta: ");
	if (strcmp(name, "queue") == 0)
		call->queue = value;
	else if (strcmp(name, "exchange") == 0)
		call->exchange = value;
	else if (strcmp(name, "routing-key") == 0)
		call->routing_key = value;
	else if (strcmp(name, "no-wait") == 0)
		call->is_no_wait = true;
	else
		call->is_json = true;
	return 0;
}

static void fill_message(struct call *call, struct task_message *t)
{
	int64_t now_us = clock_wall_us();

	cmd_task_fill(&call->task, t, call->config);
	t->ignore_result =
		call->is_no_wait || call->config->task_ignore_result ? TRI_NULL : TRI_FALSE;
	t->eta_us = call->eta_us;
	if (call->countdown_s > 0)
		t->eta_us = now_us + (int64_t)(call->countdown_s * 1e6);
	if (call->expires_s >= 0)
		t->expires_us = now_us + (int64_t)(call->expires_s * 1e6);
}

static void on_published(void *ctx, const struct err *err)
{
	struct call *call = ctx;

	if (err)
		call->publish_err = *err;
	call->is_published = true;
	client_wake(&call->client);
}

static int publish(struct call *call, const struct task_message *t, const struct str *body,
		   const struct content_label *label, struct err *err)
{
	const struct route asked = {.queue = call->queue,
				    .exchange = call->exchange,
				    .routing_key = call->routing_key,
				    .priority = -1};
	struct destination to;
	struct exchange_def broadcast;
	auto_free char *expiration =
		mem_printf("%.0f", call->expires_s < 0 ? 0 : call->expires_s * 1000);

	if (routing_send(call->config->routing, call->task.name, &asked, &to, err) != 0)
		return -1;
	json_t *headers = task_message_headers(t);
	const struct publication p = {
		.exchange = to.exchange,
		.routing_key = to.routing_key,
		.declare = to.declare,
		.declare_exchange = destination_exchange(&to, &broadcast),
		.content_type = label->type,
		.content_encoding = label->encoding,
		.correlation_id = call->task.id,
		.reply_to = call->reply_to,
		.expiration = call->expires_s < 0 ? NULL : expiration,
		.priority = to.priority < 0 ? 0 : to.priority,
		.delivery_mode = to.delivery_mode,
		.headers = headers,
		.body = body->data,
		.body_len = body->len,
	};
	int result;

	content_label_add(label, headers);
	result = broker_publish(call->client.broker, &p, on_published, call, err);
	json_decref(headers);
	return result;
}

/* Results come as messages, to a queue of our own. */
static bool is_answered_by_message(const struct call *call)
{
	const char *backend = call->config->result_backend;

	return !call->is_no_wait && backend &&
	       (strcasecmp(backend, "rpc") == 0 || strncasecmp(backend, "rpc://", 6) == 0);
}

static void on_result_mail(void *ctx, struct message *message)
{
	struct call *call = ctx;
	const struct content_options content = config_result_content(call->config);
	const char *id = message->correlation_id;

	if (!id || strcmp(id, call->task.id) != 0 || call->is_answered)
		return;
	str_reset(&call->record);
	if (content_read(message, &content, &call->result_err) == 0) {
		str_add(&call->record, message->body, message->body_len);
		if (!state_is_ready(result_state_of(call->record.data, call->record.len)))
			return;
	}
	call->is_answered = true;
	client_wake(&call->client);
}

/* The default exchange brings what is sent to its name, whatever it is bound to. */
static int listen_for_result(struct call *call, struct err *err)
{
	auto_free char *exchange = mem_printf("reply.%s.pidbox", call->config->control_exchange);
	const struct mailbox_def def = {
		.queue = call->reply_to,
		.exchange = exchange,
		.exchange_type = "direct",
		.binding_key = call->reply_to,
		.is_exclusive = true,
		.ttl_s = -1,
		.expires_s = -1,
	};

	return broker_listen(call->client.broker, &def, on_result_mail, call, err);
}

static int connect_broker(struct call *call, struct err *err)
{
	uuid4(call->reply_to);
	if (client_open_broker(&call->client, err) != 0)
		return -1;
	if (is_answered_by_message(call) && listen_for_result(call, err) != 0)
		return -1;
	return client_await_broker(&call->client, CONNECT_LIMIT_S, err);
}

static int send_task(struct call *call, struct err *err)
{
	size_t max = call->config->worker_max_message_bytes;
	struct content_label label;
	struct task_message message;
	auto_str body;
	int result;

	str_init(&body, max);
	if (connect_broker(call, err) != 0)
		return err_prefix(err, "broker: ");
	fill_message(call, &message);
	if (task_message_write_body(&body, &message) != 0 || body.is_full)
		result = err_set(err, ERR_LIMIT, "the message is larger than %zu bytes", max);
	else if (content_encode(&body, &call->config->task_form, &label, err) != 0)
		result = -1;
	else
		result = publish(call, &message, &body, &label, err);
	task_message_clear(&message);
	if (result != 0)
		return -1;
	if (!client_wait(&call->client, &call->is_published, CONNECT_LIMIT_S))
		return err_set(err, ERR_TIMEOUT, "the broker does not confirm the message");
	if (call->publish_err.code != ERR_NONE)
		return err_set(err, call->publish_err.code, "%s", call->publish_err.text);
	return 0;
}

static void on_got(void *ctx, const char *record, size_t len, const struct err *err)
{
	struct call *call = ctx;
	const struct content_options content = config_result_content(call->config);

	if (err)
		call->result_err = *err;
	str_reset(&call->record);
	if (record)
		result_unpack(&call->record, record, len, &content, &call->result_err);
	call->is_answered = true;
	client_wake(&call->client);
}

static int await_message(struct call *call, struct err *err)
{
	if (!client_wait(&call->client, &call->is_answered, call->timeout_s))
		return err_set(err, ERR_TIMEOUT, "no result of task %s within %g s", call->task.id,
			       call->timeout_s);
	if (call->result_err.code != ERR_NONE)
		return err_set(err, ERR_IO, "%s", call->result_err.text);
	return 0;
}

/* 0 with the record of a finished task, or -1. */
static int await_result(struct call *call, struct err *err)
{
	int64_t until_us = clock_mono_us() + (int64_t)(call->timeout_s * 1e6);
	const bool never = false;

	for (;;) {
		double left_s = (double)(until_us - clock_mono_us()) / 1e6;

		call->is_answered = false;
		backend_get(call->client.backend, call->task.id, on_got, call);
		if (left_s <= 0 || !client_wait(&call->client, &call->is_answered, left_s))
			break;
		if (call->result_err.code != ERR_NONE)
			return err_set(err, ERR_IO, "%s", call->result_err.text);
		if (call->record.len &&
		    state_is_ready(result_state_of(call->record.data, call->record.len)))
			return 0;
		client_wait(&call->client, &never, POLL_MS / 1000.0);
	}
	return err_set(err, ERR_TIMEOUT, "no result of task %s within %g s%s%s", call->task.id,
		       call->timeout_s, call->client.backend_err.text[0] ? ": " : "",
		       call->client.backend_err.text);
}

static int show(const struct call *call)
{
	struct err err = {0};
	json_t *record = pyjson_load(call->record.data, call->record.len, &err);
	bool is_success = result_state_of(call->record.data, call->record.len) == TASK_SUCCESS;

	if (!record)
		return cmd_fail("call", &err, CALL_FAILED);
	if (call->is_json)
		cmd_print_json(record);
	else if (is_success)
		cmd_print_json(json_object_get(record, "result"));
	else
		cmd_print_failure("call", record);
	json_decref(record);
	return is_success ? CALL_SUCCEEDED : CALL_FAILED;
}

/* Sends, waits, prints; the exit code. */
static int run(struct call *call)
{
	const char *backend = call->config->result_backend;
	struct err err = {0};

	if (send_task(call, &err) != 0)
		return cmd_fail("call", &err, CALL_FAILED);
	if (call->is_no_wait || !backend || strncasecmp(backend, "disabled", 8) == 0) {
		printf("%s\n", call->task.id);
		if (!call->is_no_wait)
			fprintf(stderr, "smallage call: not waiting, result_backend is unset\n");
		return CALL_SUCCEEDED;
	}
	if (is_answered_by_message(call)) {
		if (await_message(call, &err) != 0)
			return cmd_fail("call", &err,
					err.code == ERR_TIMEOUT ? CALL_TIMED_OUT : CALL_FAILED);
		return show(call);
	}
	if (client_connect_backend(&call->client, &err) != 0)
		return cmd_fail("call", &err, CALL_FAILED);
	if (await_result(call, &err) != 0)
		return cmd_fail("call", &err,
				err.code == ERR_TIMEOUT ? CALL_TIMED_OUT : CALL_FAILED);
	return show(call);
}

int cmd_call(int argc, char **argv)
{
	struct call call = {
		.countdown_s = -1, .expires_s = -1, .timeout_s = -1, .eta_us = TIME_UNSET};
	const struct cli_use use = {.command = CONFIG_FOR_CALL,
				    .own = cmd_call_options,
				    .on_own = on_own,
				    .ctx = &call};
	struct err err = {0};
	int rest = 0, code = CALL_FAILED;

	cmd_task_init(&call.task);
	str_init(&call.record, STR_MAX_DEFAULT);
	call.config = config_load_for(&use, argc, argv, &rest, &err);
	if (call.config && cmd_task_read(&call.task, "call", argc - rest, argv + rest, &err) == 0) {
		if (call.timeout_s < 0)
			call.timeout_s = 60 + (call.countdown_s > 0 ? call.countdown_s : 0);
		client_open(&call.client, call.config);
		code = run(&call);
		client_close(&call.client);
	} else {
		cmd_fail("call", &err, CALL_FAILED);
	}
	cmd_task_clear(&call.task);
	str_clear(&call.record);
	config_free(call.config);
	return code;
}
