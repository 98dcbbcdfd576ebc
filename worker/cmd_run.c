/*
 * `smallage run`: one task in the foreground, without a broker and a result store, by the same pool
 * and under the same rules as in the worker. For those who write tasks, and for their tests.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "protocol/pyjson.h"
#include "worker/cmd.h"
#include "worker/cmd_task.h"
#include "worker/request/retry.h"
#include "worker/startup.h"

enum { RUN_SUCCEEDED = 0, RUN_FAILED = 1, RUN_WRONG = 2, RUN_RETRIED = 3, RUN_DROPPED = 4 };

const struct cli_option cmd_run_options[] = {
	CMD_TASK_OPTIONS(CONFIG_FOR_ONE),
	{"retries", 0, "NUMBER", CLI_OWN, NULL, "As if it had been tried so often before.",
	 CONFIG_FOR_ONE},
	{"header", 0, "NAME=VALUE", CLI_OWN, NULL,
	 "A header that the message has; may be repeated.", CONFIG_FOR_ONE},
	{"soft-time-limit", 0, "SECONDS", CLI_OWN, NULL, "In place of the task's own.",
	 CONFIG_FOR_ONE},
	{"time-limit", 0, "SECONDS", CLI_OWN, NULL, "The hard one, in place of the task's own.",
	 CONFIG_FOR_ONE},
	{"json", 0, NULL, CLI_OWN, NULL,
	 "Print the end, and before it the states and the tasks it sent, as JSON.", CONFIG_FOR_ONE},
	{NULL, 0, NULL, CLI_OWN, NULL, NULL, 0},
};

struct run {
	struct config *config;
	struct registry *registry;
	struct cmd_task task;
	int retries;
	json_t *headers;
	double soft_limit_s, hard_limit_s; /* 0 = the task's */
	bool is_json;
	char **template_dirs;
	uv_loop_t loop;
	uv_signal_t interrupt;
	struct pool *pool;
	struct requests requests;
	struct request *request;
	json_t *states, *sent; /* what the body told on the way, and sent */
	bool is_interrupted, is_done, is_stopped;
	struct err fatal;
};

/* The value as a word of ARGS: JSON, or a string. */
static int take_header(struct run *run, const char *text, struct err *err)
{
	const char *equals = strchr(text, '=');
	auto_free char *name = NULL;
	json_t *value;

	if (!equals || equals == text)
		return err_set(err, ERR_INVALID, "option --header: '%.60s' is not NAME=VALUE",
			       text);
	value = cmd_word(equals + 1);
	name = mem_dup(text, (size_t)(equals - text));
	if (value && json_object_set_new(run->headers, name, value) == 0)
		return 0;
	return err_set(err, ERR_INVALID, "option --header: it is not UTF-8");
}

static int on_own(void *ctx, const struct cli_option *option, const char *value, struct err *err)
{
	struct run *run = ctx;
	const char *name = option->name;
	char *end;
	long retries;

	if (cmd_task_owns(option))
		return cmd_task_option(&run->task, option, value, err);
	if (strcmp(name, "header") == 0)
		return take_header(run, value, err);
	if (strcmp(name, "soft-time-limit") == 0)
		return cmd_seconds_option(name, value, &run->soft_limit_s, err);
	if (strcmp(name, "time-limit") == 0)
		return cmd_seconds_option(name, value, &run->hard_limit_s, err);
	if (strcmp(name, "json") == 0) {
		run->is_json = true;
		return 0;
	}
	retries = strtol(value, &end, 10);
	if (end == value || *end || retries < 0 || retries > 1000000)
		return err_set(err, ERR_INVALID, "option --retries: '%.60s' is no number of tries",
			       value);
	run->retries = (int)retries;
	return 0;
}

/* The pool's events */

static void on_accepted(void *ctx, struct pool_job *job, pid_t pid)
{
	(void)ctx;
	(void)job;
	(void)pid;
}

static void on_state(void *ctx, struct pool_job *job, const char *state, const char *meta,
		     size_t len)
{
	struct run *run = ctx;
	json_t *value;

	(void)job;
	if (!run->is_json) {
		fprintf(stderr, "%s %.*s\n", state, (int)len, meta);
		return;
	}
	value = pyjson_load(meta, len, NULL);
	json_array_append_new(run->states, json_pack("{s:s, s:o}", "status", state, "result",
						     value ? value : json_null()));
}

/* There is no broker: what would go there is shown. */
static void on_send(void *ctx, struct pool_job *job, enum job_send how, const char *signature,
		    size_t len)
{
	struct run *run = ctx;

	if (how == JOB_CLEAN_BACKEND)
		log_warning("There is no result store here to clean up");
	else if (run->is_json)
		json_array_append_new(run->sent, pyjson_load(signature, len, NULL));
	else
		fprintf(stderr, "%s %.*s\n", how == JOB_SEND ? "SENDS" : "ADDS TO CHORD", (int)len,
			signature);
	pool_sent(run->pool, job, len);
}

static void on_soft_limit(void *ctx, struct pool_job *job)
{
	struct run *run = ctx;

	(void)job;
	if (!run->is_interrupted)
		log_warning("Soft time limit (%gs) exceeded", run->request->policy.soft_limit_s);
}

static void on_done(void *ctx, struct pool_job *job, struct outcome *outcome)
{
	struct run *run = ctx;

	(void)job;
	run->request->outcome = *outcome;
	outcome_init(outcome, outcome->kind);
	run->is_done = true;
}

static void on_room(void *ctx)
{
	(void)ctx;
}

static void on_notice(void *ctx, int level, const char *text)
{
	(void)ctx;
	log_write((enum log_level)level, NULL, "%s", text);
}

static void on_fatal(void *ctx, const char *text)
{
	struct run *run = ctx;

	err_set(&run->fatal, ERR_IO, "%s", text);
}

static void on_stopped(void *ctx)
{
	struct run *run = ctx;

	run->is_stopped = true;
}

static const struct pool_events pool_events = {
	.on_accepted = on_accepted,
	.on_state = on_state,
	.on_send = on_send,
	.on_soft_limit = on_soft_limit,
	.on_done = on_done,
	.on_room = on_room,
	.on_notice = on_notice,
	.on_fatal = on_fatal,
};

/* The first tells the body, as a soft time limit does; the second ends it. */
static void on_interrupt(uv_signal_t *handle, int number)
{
	struct run *run = handle->data;

	(void)number;
	pool_terminate(run->pool, &run->request->job, run->is_interrupted ? SIGKILL : SIGUSR1);
	run->is_interrupted = true;
}

/* The run */

static const struct task_entry *find_task(const struct run *run, struct err *err)
{
	const char *name = run->task.name;
	const struct task_entry *task = registry_find(run->registry, name);
	struct text_guess guess = {.wanted = name, .most = 3};

	for (unsigned i = 0; !task && i < registry_count(run->registry); i++)
		text_guess_try(&guess, registry_at(run->registry, i)->name);
	if (!task)
		err_set(err, ERR_NOT_FOUND, "there is no task '%.200s'%s%s%s; -I names plug-ins",
			name, guess.nearest ? ", did you mean '" : "",
			guess.nearest ? guess.nearest : "", guess.nearest ? "'?" : "");
	return task;
}

static int prepare(struct run *run, struct err *err)
{
	const struct config *config = run->config;
	struct pool_options options = {
		.kind = startup_pool_kind(config),
		.concurrency = 1,
		.registry = run->registry,
		.events = &pool_events,
		.ctx = run,
		.max_payload_bytes = config->worker_max_message_bytes,
		.setting = config_setting,
		.node_name = config->node_name,
		.template_dirs = (const char *const *)run->template_dirs,
	};
	struct task_message message;
	auto_str headers = STR_INIT(STR_MAX_DEFAULT);
	const struct task_entry *task = find_task(run, err);

	if (!task)
		return -1;
	cmd_task_fill(&run->task, &message, config);
	message.retries = run->retries;
	message.soft_time_limit_s = run->soft_limit_s;
	message.time_limit_s = run->hard_limit_s;
	if (json_object_size(run->headers) > 0 && pyjson_dump(&headers, run->headers) == 0)
		message.custom_headers = arena_dup(&message.texts, headers.data, headers.len);
	run->request = request_make(&run->requests, &message, task, config);
	return pool_prepare(&run->pool, &options, err);
}

static void until(struct run *run, const bool *flag)
{
	while (!*flag && run->fatal.code == ERR_NONE)
		uv_run(&run->loop, UV_RUN_ONCE);
}

/* -1 when the pool could not run it. */
static int execute(struct run *run, struct err *err)
{
	bool is_started;

	uv_loop_init(&run->loop);
	uv_signal_init(&run->loop, &run->interrupt);
	run->interrupt.data = run;
	is_started = pool_start(run->pool, &run->loop, err) == 0;
	if (is_started) {
		uv_signal_start(&run->interrupt, on_interrupt, SIGINT);
		pool_submit(run->pool, &run->request->job);
		until(run, &run->is_done);
	}
	pool_stop(run->pool, on_stopped, run);
	until(run, &run->is_stopped);
	pool_free(run->pool);
	uv_close((uv_handle_t *)&run->interrupt, NULL);
	uv_run(&run->loop, UV_RUN_DEFAULT);
	uv_loop_close(&run->loop);
	if (run->fatal.code != ERR_NONE)
		err_set(err, run->fatal.code, "%s", run->fatal.text);
	return run->is_done ? 0 : -1;
}

/* What is shown */

static const struct {
	const char *status;
	int code;
} ends[OUTCOME_KIND_COUNT] = {
	[OUTCOME_SUCCESS] = {"SUCCESS", RUN_SUCCEEDED},
	[OUTCOME_FAILURE] = {"FAILURE", RUN_FAILED},
	[OUTCOME_RETRY] = {"RETRY", RUN_RETRIED},
	[OUTCOME_IGNORE] = {"IGNORED", RUN_DROPPED},
	[OUTCOME_REJECT] = {"REJECTED", RUN_DROPPED},
	[OUTCOME_REPLACED] = {"REPLACED", RUN_DROPPED},
	[OUTCOME_LOST] = {"FAILURE", RUN_FAILED},
	[OUTCOME_TIMEOUT] = {"FAILURE", RUN_FAILED},
	[OUTCOME_TERMINATED] = {"REVOKED", RUN_FAILED},
};

static json_t *exception_of(const struct outcome *o)
{
	json_t *args = pyjson_load(o->exc_args, strlen(o->exc_args), NULL);

	return json_pack("{s:s, s:o, s:s}", "exc_type", o->exc_type, "exc_message",
			 args ? args : json_array(), "exc_module", o->exc_module);
}

/* As the result store would have it, and what else the worker would act on. */
static json_t *record_of(const struct run *run)
{
	const struct outcome *o = &run->request->outcome;
	json_t *result = NULL;
	json_t *record = json_object();

	if (o->kind == OUTCOME_SUCCESS || o->kind == OUTCOME_REPLACED)
		result = pyjson_load(o->result, o->result_len, NULL);
	else if (o->exc_type)
		result = exception_of(o);
	json_object_set_new(record, "task_id", json_string(run->task.id));
	json_object_set_new(record, "status", json_string(ends[o->kind].status));
	json_object_set_new(record, "result", result ? result : json_null());
	json_object_set_new(record, "traceback",
			    o->traceback ? outcome_string(o->traceback) : json_null());
	if (o->kind == OUTCOME_RETRY)
		json_object_set_new(record, "countdown", json_real(o->countdown_s));
	if (o->kind == OUTCOME_REJECT) {
		json_object_set_new(record, "reason", outcome_string(o->exc_text));
		json_object_set_new(record, "requeue", json_boolean(o->requeue));
	}
	json_object_set_new(record, "states", json_incref(run->states));
	json_object_set_new(record, "sent", json_incref(run->sent));
	json_object_set_new(record, "runtime", json_real(o->runtime_s));
	return record;
}

/* Of what is neither a result nor a failure. */
static void print_end(const struct outcome *o)
{
	fprintf(stderr, "smallage run: %s", ends[o->kind].status);
	if (o->kind == OUTCOME_RETRY)
		fprintf(stderr, " in %g s", o->countdown_s);
	if (o->kind == OUTCOME_REJECT && o->requeue)
		fprintf(stderr, " back to its queue");
	if (o->kind == OUTCOME_REPLACED)
		fprintf(stderr, " by %.*s", (int)o->result_len, o->result);
	if (o->exc_repr || o->exc_text)
		fprintf(stderr, ": %s", o->exc_repr ? o->exc_repr : o->exc_text);
	fputc('\n', stderr);
}

static int show(const struct run *run)
{
	const struct outcome *o = &run->request->outcome;
	json_t *record = record_of(run);

	if (run->is_json)
		cmd_print_json(record);
	else if (o->kind == OUTCOME_SUCCESS)
		cmd_print_json(json_object_get(record, "result"));
	else if (ends[o->kind].code == RUN_FAILED && o->exc_type)
		cmd_print_failure("run", record);
	else
		print_end(o);
	json_decref(record);
	return ends[o->kind].code;
}

static int run_task(struct run *run)
{
	struct err err = {0};

	if (startup_open_log(run->config, LOG_TEXT, &err) != 0)
		return cmd_fail("run", &err, RUN_WRONG);
	for (char **notice = run->config->notices; !run->config->is_quiet && *notice; notice++)
		log_warning("%s", *notice);
	run->template_dirs = startup_template_dirs(run->config);
	srand48(clock_wall_us() ^ ((long)getpid() << 16));
	if (startup_load_plugins(run->registry, run->config, &err) != 0 || prepare(run, &err) != 0)
		return cmd_fail("run", &err, RUN_WRONG);
	if (execute(run, &err) != 0)
		return cmd_fail("run", &err, RUN_FAILED);
	retry_decide(run->request);
	return show(run);
}

int cmd_run(int argc, char **argv)
{
	struct run run = {.registry = registry_new(),
			  .headers = json_object(),
			  .states = json_array(),
			  .sent = json_array()};
	const struct cli_use use = {
		.command = CONFIG_FOR_ONE, .own = cmd_run_options, .on_own = on_own, .ctx = &run};
	struct err err = {0};
	int rest = 0, code;

	cmd_task_init(&run.task);
	requests_init(&run.requests);
	run.config = config_load_for(&use, argc, argv, &rest, &err);
	if (run.config && cmd_task_read(&run.task, "run", argc - rest, argv + rest, &err) == 0)
		code = run_task(&run);
	else
		code = cmd_fail("run", &err, RUN_WRONG);
	if (run.request)
		request_discard(run.request);
	requests_clear(&run.requests);
	registry_free(run.registry);
	startup_free_dirs(run.template_dirs);
	cmd_task_clear(&run.task);
	json_decref(run.headers);
	json_decref(run.states);
	json_decref(run.sent);
	config_free(run.config);
	return code;
}
