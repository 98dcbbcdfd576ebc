#include "worker/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "worker/backend_config.h"
#include "worker/banner.h"
#include "worker/config/config.h"
#include "worker/consume/consumer.h"
#include "worker/control/mailbox.h"
#include "worker/control/status.h"
#include "worker/daemon.h"
#include "worker/endpoints.h"
#include "worker/finish/links.h"
#include "worker/footprint.h"
#include "worker/health.h"
#include "worker/request/statedb.h"
#include "worker/shutdown.h"
#include "worker/startup.h"

struct worker {
	struct config *config;
	struct registry *registry;
	struct pool *pool;
	struct consumer consumer;
	struct control control;
	struct shutdown shutdown;
	struct status_server *status;
	struct endpoints endpoints;
	struct statedb *statedb; /* NULL without --statedb */
	struct report report;
	uv_loop_t loop;
	bool has_loop; /* and with it consumer and shutdown */
	char **template_dirs;
	int64_t started_us;
};

/* Connections and inotify watches of a busy worker pass the usual soft limit of 1024. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* What pool_grow may add to what the worker began with. */
#define GROW_MOST 1024

static int prepare_pool(struct worker *w, struct err *err)
{
	const struct config *config = w->config;
	struct pool_options options = {
		.kind = startup_pool_kind(config),
		.concurrency = config->autoscale_max > 0 ? config->autoscale_min
							 : config->worker_concurrency,
		.registry = w->registry,
		.events = &consumer_pool_events,
		.ctx = &w->consumer,
		.max_tasks_per_child = config->worker_max_tasks_per_child,
		.max_memory_per_child_kib = config->worker_max_memory_per_child,
		.max_payload_bytes = config->worker_max_message_bytes,
		.setting = config_setting,
		.node_name = config->node_name,
		.template_dirs = (const char *const *)w->template_dirs,
	};

	options.max_concurrency = config->autoscale_max > options.concurrency
					  ? config->autoscale_max
					  : options.concurrency;
	options.max_concurrency += GROW_MOST;
	return pool_prepare(&w->pool, &options, err);
}

static void on_backend_notice(void *ctx, bool is_error, const char *text)
{
	(void)ctx;
	log_write(is_error ? LOG_ERROR : LOG_WARNING, NULL, "%s", text);
}

static void on_backend_room(void *ctx)
{
	struct worker *w = ctx;

	pump_run(&w->consumer);
}

/* Nobody waited for the record, because the task's message is answered already. */
static void on_backend_refused(void *ctx, const char *task_id, enum task_state state,
			       const struct err *err)
{
	struct worker *w = ctx;

	log_error("The result of task %s could not be stored: %s", task_id, err->text);
	if (state_is_ready(state))
		w->consumer.finish.lost_records++;
}

static int publish_result(void *ctx, const struct publication *p, broker_published_fn *done,
			  void *done_ctx, struct err *err)
{
	struct worker *w = ctx;
	struct broker *broker = w->consumer.finish.broker;

	if (!broker)
		return err_set(err, ERR_REFUSED, "the broker connection is closed");
	return broker_publish(broker, p, done, done_ctx, err);
}

static void on_backend_closed(void *ctx)
{
	struct worker *w = ctx;

	shutdown_backend_closed(&w->shutdown);
}

static int open_backend(struct worker *w, struct err *err)
{
	const char *url = w->config->result_backend;
	struct backend_options options = {
		.loop = &w->loop,
		.connect_timeout_s = 4,
		.on_notice = on_backend_notice,
		.on_refused = on_backend_refused,
		.on_room = on_backend_room,
		.on_closed = on_backend_closed,
		.publish = publish_result,
		.ctx = w,
	};

	if (!url || strncmp(url, "disabled", 8) == 0)
		return 0;
	w->consumer.finish.backend = backend_config_open(w->config, &options, err);
	return w->consumer.finish.backend ? 0 : err_prefix(err, "result_backend: ");
}

static int open_brokers(struct worker *w, struct err *err)
{
	const struct config *config = w->config;
	struct broker_options options = {
		.loop = &w->loop,
		.url = config->broker_read_url,
		.events = &consumer_broker_events,
		.ctx = &w->consumer,
		.heartbeat_s = config->broker_heartbeat,
		.connect_timeout_s = config->broker_connection_timeout,
		.max_retries =
			config->broker_connection_retry ? config->broker_connection_max_retries : 0,
		.retry_on_startup = config->broker_connection_retry_on_startup,
		/* A body is a little larger than the arguments in it. */
		.max_message_bytes = config->worker_max_message_bytes + 65536,
		.max_publish_bytes =
			config->worker_max_waiting_bytes + config->worker_max_message_bytes,
		.transport_options = config->broker_transport_options,
		.tls = config->broker_use_ssl,
		.login_method = config->broker_login_method,
		.product_version = SMALLAGE_VERSION,
		.node_name = config->node_name,
		.purges = config->purge,
		.ignores_quorum = !config->worker_detect_quorum_queues,
	};

	w->consumer.broker = broker_open(&options, err);
	if (!w->consumer.broker)
		return err_prefix(err,
				  w->consumer.writer_label ? "broker_read_url: " : "broker_url: ");
	if (!w->consumer.writer_label)
		return 0;
	options.url = config->broker_write_url;
	options.events = &consumer_writer_events;
	options.max_retries = -1;
	options.retry_on_startup = true;
	options.purges = false;
	w->consumer.writer = broker_open(&options, err);
	return w->consumer.writer ? 0 : err_prefix(err, "broker_write_url: ");
}

static void on_stopped(void *ctx)
{
	struct worker *w = ctx;

	status_server_close(w->status);
	w->status = NULL;
	endpoints_close(&w->endpoints);
	statedb_stop(w->statedb);
	eta_close(&w->consumer.eta);
	autoscale_close(&w->consumer.autoscale);
	report_close(&w->report);
	shutdown_close(&w->shutdown);
	pool_free(w->pool);
	w->pool = NULL;
}

static void on_change(void *ctx)
{
	struct worker *w = ctx;

	shutdown_advance(&w->shutdown);
}

static void fill_status(void *ctx, struct str *out)
{
	struct worker *w = ctx;

	health_write(out, &w->consumer, w->pool, w->started_us);
}

static void on_remote_shutdown(void *ctx)
{
	struct worker *w = ctx;

	shutdown_begin(&w->shutdown, 0);
}

static int listen_to_control(struct worker *w, struct err *err)
{
	w->control = (struct control){
		.config = w->config,
		.registry = w->registry,
		.consumer = &w->consumer,
		.clock = &w->report.clock,
		.started_us = w->started_us,
		.on_shutdown = on_remote_shutdown,
		.ctx = w,
	};
	return mailbox_listen(&w->control, err);
}

static void log_start(const struct worker *w)
{
	const struct config *config = w->config;

	auto_free char *size =
		config->autoscale_max > 0
			? mem_printf("%u to %u", config->autoscale_min, config->autoscale_max)
			: mem_printf("%u", config->worker_concurrency);

	log_info("smallage %s starts as %s: %s, results %s, pool %s, concurrency %s, %u tasks "
		 "from %u plug-ins",
		 SMALLAGE_VERSION, config->node_name, w->consumer.broker_label,
		 w->consumer.finish.backend ? "stored" : "disabled",
		 pool_kind_name(startup_pool_kind(config)), size, registry_count(w->registry),
		 registry_plugin_count(w->registry));
	for (char **notice = config->notices; !config->is_quiet && *notice; notice++)
		log_warning("%s", *notice);
}

static int open_statedb(struct worker *w, struct err *err)
{
	const char *path = w->config->worker_state_db;

	if (!path)
		return 0;
	w->statedb =
		statedb_open(&w->loop, path, &w->consumer.revoked, &w->report.clock.value, err);
	return w->statedb ? 0 : -1;
}

static int open_endpoints(struct worker *w, struct err *err)
{
	w->endpoints = (struct endpoints){
		.consumer = &w->consumer, .pool = w->pool, .started_wall_us = clock_wall_us()};
	return endpoints_open(&w->endpoints, &w->loop, w->config->http, err);
}

static struct heartbeat_counts count_tasks(void *ctx)
{
	const struct worker *w = ctx;

	return (struct heartbeat_counts){
		.active = w->consumer.requests.counts[REQUEST_RUNNING],
		.processed = w->consumer.accepted,
	};
}

static void on_election_won(void *ctx, const json_t *action)
{
	struct worker *w = ctx;

	links_call(&w->consumer.finish, action);
}

static void open_report(struct worker *w)
{
	struct report_options options = {
		.loop = &w->loop,
		.config = w->config,
		.revoked = &w->consumer.revoked,
		.counts = count_tasks,
		.on_won = on_election_won,
		.ctx = w,
	};

	report_init(&w->report, &options);
	w->consumer.report = &w->report;
	w->consumer.finish.events = &w->report.events;
}

static int start(struct worker *w, struct err *err)
{
	struct consumer *c = &w->consumer;

	if (uv_loop_init(&w->loop) != 0)
		return err_set(err, ERR_INTERNAL, "cannot make an event loop");
	consumer_init(c, w->config, w->registry, &w->loop);
	c->pool = w->pool;
	c->on_change = on_change;
	c->ctx = w;
	open_report(w);
	shutdown_init(&w->shutdown, &w->loop, c, on_stopped, w);
	w->has_loop = true;
	if (open_statedb(w, err) < 0)
		return -1;
	if (open_backend(w, err) < 0 || open_brokers(w, err) < 0 ||
	    report_open(&w->report, w->consumer.broker, err) < 0 ||
	    pool_start(w->pool, &w->loop, err) < 0)
		return -1;
	consumer_autoscale(c, &w->loop);
	if (!w->config->is_quiet)
		banner_print(c);
	log_start(w);
	w->status = status_server_open(&w->loop, w->config->status_socket, fill_status, w, err);
	if (w->status && strcmp(config_where(w->config, "status_socket"), "default") == 0)
		status_remove_dead(w->config->status_socket);
	if (!w->status || listen_to_control(w, err) < 0 || open_endpoints(w, err) < 0)
		return -1;
	return consumer_start(c, err);
}

static void worker_clear(struct worker *w)
{
	pool_free(w->pool); /* NULL once it was stopped */
	if (w->has_loop) {
		consumer_clear(&w->consumer);
		report_clear(&w->report);
		uv_loop_close(&w->loop);
	}
	registry_free(w->registry);
	startup_free_dirs(w->template_dirs);
	config_free(w->config);
}

/* A wrong command line or setting ends with 2, as Celery's usage errors do. The log may go to a
 * file or to standard error; a person at a terminal must see the reason once. */
static int fail(const struct worker *w, const struct err *err)
{
	if (w->config && w->config->log_file)
		fprintf(stderr, "smallage worker: %s\n", err->text);
	if (w->config)
		log_critical("%s", err->text);
	else
		fprintf(stderr, "smallage worker: %s\n", err->text);
	return w->config ? EXIT_FAILURE : 2;
}

/* Everything that must be done before the first thread or connection exists. */
static int prepare(struct worker *w, int argc, char **argv, struct err *err)
{
	w->config = config_load(argc, argv, NULL, err);
	if (!w->config || startup_open_log(w->config, LOG_AUTO, err) < 0)
		return -1;
	w->registry = registry_new();
	w->template_dirs = startup_template_dirs(w->config);
	if (startup_load_plugins(w->registry, w->config, err) < 0 ||
	    daemon_begin(w->config, err) < 0)
		return -1;
	/* The standard error of a daemon is another one. */
	if (w->config->detach && !w->config->log_file &&
	    startup_open_log(w->config, LOG_AUTO, err) < 0)
		return -1;
	raise_file_limit();
	signal(SIGPIPE, SIG_IGN);
	srand48(clock_wall_us() ^ ((long)getpid() << 16));
	return prepare_pool(w, err);
}

int worker_main(int argc, char **argv)
{
	struct worker w = {.started_us = clock_mono_us()};
	struct err err = {0};

	int code = prepare(&w, argc, argv, &err) < 0 || start(&w, &err) < 0 ? fail(&w, &err) : 0;

	if (code == 0)
		footprint_trim();
	else if (w.has_loop)
		shutdown_begin(&w.shutdown, code); /* takes down what stands already */
	if (w.has_loop)
		uv_run(&w.loop, UV_RUN_DEFAULT);
	statedb_close(w.statedb);
	if (w.config)
		daemon_end(w.config);
	if (code == 0 && w.shutdown.is_restart)
		daemon_restart();
	if (code == 0)
		code = w.shutdown.exit_code;
	worker_clear(&w);
	return code;
}
