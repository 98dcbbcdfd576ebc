#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/compression.h"
#include "tests/unit/worker/config_test.h"

START_TEST(fallbacks_are_celerys)
{
	struct config *c;

	begin(NULL);
	c = load(NONE);
	ck_assert_str_eq(c->task_default_queue, "celery");
	ck_assert_str_eq(c->task_default_exchange, "celery");
	ck_assert_str_eq(c->task_default_routing_key, "celery");
	ck_assert_str_eq(c->task_default_exchange_type, "direct");
	ck_assert_uint_eq(c->worker_prefetch_multiplier, 4);
	ck_assert_double_eq(c->result_expires, 86400);
	ck_assert_double_eq(c->result_failure_expires, -1);
	ck_assert_double_eq(c->broker_heartbeat, 120);
	ck_assert_double_eq(c->broker_connection_timeout, 4);
	ck_assert_int_eq(c->broker_connection_max_retries, 100);
	ck_assert(c->task_acks_on_failure && c->task_acks_on_timeout && !c->task_acks_late);
	ck_assert_str_eq(c->accept_content[0], "json");
	ck_assert_str_eq(c->task_modules[0], "app.tasks.notifications");
	ck_assert_str_eq(c->task_modules[1], "src.apps.core.tasks");
	ck_assert_uint_ge(c->worker_concurrency, 1);
	ck_assert_ptr_null(c->queues);
	config_free(c);
	end();
}
END_TEST

START_TEST(without_a_broker_messages_and_results_are_files)
{
	char folder[256];
	auto_free char *results = NULL, *options = NULL;
	struct config *c;

	begin(NULL);
	ck_assert_ptr_nonnull(getcwd(folder, sizeof(folder)));
	results = mem_printf("file://%s/smallage-data/results", folder);
	options = mem_printf("\"data_folder_in\": \"%s/smallage-data/queue\"", folder);
	c = load(NONE);
	ck_assert_str_eq(c->broker_url, "filesystem://");
	ck_assert_str_eq(c->result_backend, results);
	ck_assert_ptr_nonnull(strstr(c->broker_transport_options, options));
	ck_assert(has_notice(c, results)); /* what the producer has to set */
	config_free(c);
	end();
}
END_TEST

START_TEST(memory_urls_mean_files_because_processes_cannot_share_memory)
{
	struct config *c;

	begin(NULL);
	setenv("CELERY_BROKER_URL", "memory://", 1);
	setenv("CELERY_RESULT_BACKEND", "cache+memory://", 1);
	c = load(NONE);
	ck_assert_str_eq(c->broker_url, "filesystem://");
	ck_assert_int_eq(strncmp(c->result_backend, "file:///", 8), 0);
	ck_assert(has_notice(c, "memory://"));
	config_free(c);
	end();
}
END_TEST

START_TEST(a_broker_alone_leaves_results_unset_as_celery_does)
{
	struct config *c;

	begin(NULL);
	c = load(ARGS("-b", "amqp://h//"));
	ck_assert_ptr_null(c->result_backend);
	config_free(c);
	end();
}
END_TEST

START_TEST(option_beats_environment_beats_file_beats_fallback)
{
	struct config *c;

	begin("worker_concurrency: 2\nworker_prefetch_multiplier: 2\ntask_default_queue: f\n");
	setenv("CELERY_WORKER_CONCURRENCY", "3", 1);
	setenv("CELERY_WORKER_PREFETCH_MULTIPLIER", "3", 1);
	c = load(ARGS("-c", "4"));
	ck_assert_uint_eq(c->worker_concurrency, 4);
	ck_assert_uint_eq(c->worker_prefetch_multiplier, 3);
	ck_assert_str_eq(c->task_default_queue, "f");
	ck_assert_str_eq(config_where(c, "worker_concurrency"), "option -c");
	ck_assert_str_eq(config_where(c, "worker_prefetch_multiplier"),
			 "environment CELERY_WORKER_PREFETCH_MULTIPLIER");
	ck_assert_str_eq(config_where(c, "task_default_queue"), "smallage.yaml:3");
	ck_assert_str_eq(config_where(c, "task_acks_late"), "default");
	config_free(c);
	end();
}
END_TEST

START_TEST(old_names_of_celery_are_understood_in_file_and_environment)
{
	struct config *c;

	begin("CELERY_ACKS_LATE: true\nCELERYD_CONCURRENCY: 7\nBROKER_URL: amqp://old//\n");
	setenv("CELERYD_PREFETCH_MULTIPLIER", "9", 1);
	setenv("CELERY_TASK_RESULT_EXPIRES", "60", 1);
	c = load(NONE);
	ck_assert(c->task_acks_late);
	ck_assert_uint_eq(c->worker_concurrency, 7);
	ck_assert_str_eq(c->broker_url, "amqp://old//");
	ck_assert_uint_eq(c->worker_prefetch_multiplier, 9);
	ck_assert_double_eq(c->result_expires, 60);
	config_free(c);
	end();
}
END_TEST

START_TEST(yes_and_no_have_four_spellings_each)
{
	const char *const yes[] = {"true", "True", "1", "yes", "ON"};
	const char *const no[] = {"false", "FALSE", "0", "no", "off"};

	begin(NULL);
	for (size_t i = 0; i < 5; i++) {
		struct config *c;

		setenv("CELERY_TASK_ACKS_LATE", yes[i], 1);
		setenv("CELERY_BROKER_CONNECTION_RETRY", no[i], 1);
		c = load(NONE);
		ck_assert(c->task_acks_late && !c->broker_connection_retry);
		config_free(c);
	}
	setenv("CELERY_TASK_ACKS_LATE", "maybe", 1);
	load_fails(NONE, "environment CELERY_TASK_ACKS_LATE: task_acks_late: 'maybe' is neither");
	end();
}
END_TEST

START_TEST(lists_in_the_environment_are_comma_separated)
{
	struct config *c;

	begin(NULL);
	setenv("CELERY_TASK_QUEUES", " a, b,,c ", 1);
	c = load(ARGS("-Q", "x,y"));
	ck_assert_str_eq(c->task_queues, "[\"a\",\"b\",\"c\"]");
	ck_assert_str_eq(routing_queue_at(c->routing, 2)->name, "c");
	ck_assert_ptr_null(routing_queue_at(c->routing, 3));
	ck_assert_str_eq(c->queues[1], "y");
	config_free(c);
	end();
}
END_TEST

START_TEST(an_empty_variable_counts_as_unset)
{
	struct config *c;

	begin(NULL);
	setenv("CELERY_BROKER_URL", "", 1);
	setenv("REDIS_HOST", "", 1);
	c = load(NONE);
	ck_assert_str_eq(c->broker_url, "filesystem://");
	config_free(c);
	end();
}
END_TEST

START_TEST(the_old_double_switch_of_acks_gives_both)
{
	struct config *c;

	begin("task_acks_on_failure_or_timeout: false\ntask_acks_on_timeout: true\n");
	c = load(NONE);
	ck_assert(!c->task_acks_on_failure);
	ck_assert(c->task_acks_on_timeout);
	config_free(c);
	end();
}
END_TEST

START_TEST(wrong_numbers_are_errors_that_name_source_and_setting)
{
	begin(NULL);
	load_fails(ARGS("-c", "-1"), "option -c: worker_concurrency: must be a non-negative "
				     "integer or 'auto', got '-1'");
	load_fails(ARGS("-c", "2.5"), "must be a non-negative integer or 'auto'");
	load_fails(ARGS("-c", "two"), "got 'two'");
	load_fails(ARGS("-c", "99999999999"), "is more than");
	load_fails(ARGS("--set", "broker_connection_max_retries=1e20"), "more than 2147483647");
	load_fails(ARGS("--set", "worker_max_tasks_per_child=1e20"), "is more than");
	load_fails(ARGS("--set", "worker_max_message_bytes=1e300"), "is more than");
	load_fails(ARGS("--set", "result_expires=1e300"), "is more than");
	load_fails(ARGS("--time-limit", "nan"), "not a number");
	load_fails(ARGS("--time-limit", "0x10"), "not a number");
	load_fails(ARGS("-l", "loud"), "DEBUG|INFO");
	load_fails(ARGS("-P", "gevent"), "use threads");
	load_fails(ARGS("-O", "best"), "default|fair");
	load_fails(ARGS("surplus"), "unexpected argument 'surplus'");
	end();
}
END_TEST

START_TEST(unknown_variables_of_celery_are_noted)
{
	struct config *c;

	begin(NULL);
	setenv("CELERY_TASK_ACK_LATE", "1", 1);
	setenv("CELERY_TASK_ANNOTATIONS", "{}", 1);
	setenv("CELERY_APP", "proj", 1);
	c = load(NONE);
	ck_assert(has_notice(c, "CELERY_TASK_ACK_LATE"));
	ck_assert(has_notice(c, "'task_acks_late'"));
	ck_assert(has_notice(c, "CELERY_TASK_ANNOTATIONS is not supported"));
	ck_assert(!has_notice(c, "CELERY_APP"));
	config_free(c);
	end();
}
END_TEST

START_TEST(the_broker_to_read_and_that_to_write_may_be_two)
{
	struct config *c;

	begin("broker_read_url: amqp://file//\n");
	load_fails(NONE, "neither the other nor broker_url");
	setenv("CELERY_BROKER_URL", "amqp://h//", 1);
	c = load(NONE);
	ck_assert_str_eq(c->broker_read_url, "amqp://file//");
	ck_assert_str_eq(c->broker_write_url, "amqp://h//");
	config_free(c);
	unsetenv("CELERY_BROKER_URL");
	setenv("CELERY_BROKER_READ_URL", "amqp://r//", 1);
	setenv("CELERY_BROKER_WRITE_URL", "amqp://w//", 1);
	c = load(ARGS("-b", "amqp://o//"));
	ck_assert_str_eq(c->broker_read_url, "amqp://r//");
	ck_assert_str_eq(c->broker_write_url, "amqp://w//");
	ck_assert(has_notice(c, "-b has no effect"));
	config_free(c);
	end();
	begin("broker_url: amqp://h//\n");
	c = load(NONE);
	ck_assert_str_eq(c->broker_read_url, "amqp://h//");
	ck_assert_str_eq(c->broker_write_url, "amqp://h//");
	config_free(c);
	end();
}
END_TEST

START_TEST(redis_variables_make_the_result_backend)
{
	struct config *c;

	begin(NULL);
	setenv("CELERY_BROKER_URL", "amqp://h//", 1);
	setenv("REDIS_HOST", "r", 1);
	setenv("REDIS_PORT", "6380", 1);
	setenv("REDIS_DB", "2", 1);
	setenv("REDIS_PASSWORD", "p@ss/word", 1);
	c = load(NONE);
	ck_assert_str_eq(c->result_backend, "redis://:p%40ss%2Fword@r:6380/2");
	config_free(c);
	setenv("REDIS_TLS", "true", 1);
	c = load(NONE);
	ck_assert_str_eq(c->result_backend,
			 "rediss://:p%40ss%2Fword@r:6380/2?ssl_cert_reqs=required");
	config_free(c);
	setenv("REDIS_URL", "rediss://u:1/3", 1);
	c = load(NONE);
	ck_assert_str_eq(c->result_backend, "rediss://u:1/3?ssl_cert_reqs=required");
	config_free(c);
	setenv("REDIS_URL", "rediss://u:1/3?ssl_cert_reqs=none", 1);
	c = load(NONE);
	ck_assert_str_eq(c->result_backend, "rediss://u:1/3?ssl_cert_reqs=none");
	ck_assert_str_eq(c->notices[0], "result_backend: the certificate of u is not verified "
					"(ssl_cert_reqs says so)");
	config_free(c);
	setenv("REDIS_URL", "redis://u:1/3", 1);
	c = load(NONE);
	ck_assert_str_eq(c->result_backend, "redis://u:1/3");
	config_free(c);
	setenv("CELERY_RESULT_BACKEND", "redis://own/1", 1);
	c = load(NONE);
	ck_assert_str_eq(c->result_backend, "redis://own/1");
	config_free(c);
	end();
}
END_TEST

START_TEST(redis_without_a_broker_is_the_broker_too)
{
	struct config *c;

	begin(NULL);
	setenv("REDIS_HOST", "r", 1);
	setenv("REDIS_PASSWORD", "s3cret", 1);
	c = load(NONE);
	ck_assert_str_eq(c->broker_url, "redis://:s3cret@r:6379/0");
	ck_assert_str_eq(c->result_backend, "redis://:s3cret@r:6379/0");
	ck_assert_str_eq(config_where(c, "broker_url"), "environment REDIS_HOST");
	config_free(c);
	setenv("DEBUG", "False", 1);
	setenv("REDIS_URL", "rediss://u", 1);
	c = load(NONE);
	ck_assert_str_eq(c->broker_url, "rediss://u?ssl_cert_reqs=required");
	config_free(c);
	end();
}
END_TEST

START_TEST(debug_runs_without_servers_whatever_redis_says)
{
	struct config *c;

	begin(NULL);
	setenv("DEBUG", "True", 1);
	setenv("REDIS_HOST", "localhost", 1);
	c = load(NONE);
	ck_assert(c->debug);
	ck_assert_str_eq(c->broker_url, "filesystem://");
	ck_assert_int_eq(strncmp(c->result_backend, "file:///", 8), 0);
	config_free(c);
	end();
}
END_TEST

START_TEST(variables_that_others_use_are_noted_not_taken)
{
	struct config *c;

	begin(NULL);
	setenv("DEBUG", "express:*", 1);
	setenv("REDIS_PORT", "tcp://10.0.0.1:6379", 1);
	setenv("REDIS_HOST", "r", 1);
	setenv("CELERY_BROKER_URL", "amqp://h//", 1);
	c = load(NONE);
	ck_assert(!c->debug);
	ck_assert_str_eq(c->result_backend, "redis://r:6379/0");
	ck_assert(has_notice(c, "DEBUG"));
	ck_assert(has_notice(c, "REDIS_PORT"));
	config_free(c);
	end();
}
END_TEST

static const struct sm_setting_def plugin_settings[] = {
	{"email_host", "EMAIL_HOST", "localhost", "Mail server.", false},
	{"email_port", "EMAIL_PORT", "587", "Its port.", false},
	{"email_password", "EMAIL_HOST_PASSWORD", NULL, "Its password.", true},
	{NULL, NULL, NULL, NULL, false},
};

START_TEST(settings_of_plug_ins_come_from_file_environment_and_option)
{
	struct config *c;

	begin("email_host: f\nemail_port: 0025\nemail_password: s3cret\n");
	setenv("EMAIL_PORT", "1025", 1);
	c = load(ARGS("--set", "email_host=o"));
	config_declare(c, plugin_settings);
	ck_assert_int_eq(config_check_unknown(c, NULL), 0);
	ck_assert_str_eq(config_get(c, "email_host"), "o");
	ck_assert_str_eq(config_get(c, "email_port"), "1025");
	ck_assert_str_eq(config_setting("email_password"), "s3cret");
	ck_assert_str_eq(config_get(c, "nothing"), "");
	config_free(c);
	ck_assert_str_eq(config_setting("email_password"), "");
	unsetenv("EMAIL_PORT");
	c = load(NONE);
	config_declare(c, plugin_settings);
	ck_assert_str_eq(config_get(c, "email_port"), "0025"); /* text stays as written */
	config_free(c);
	end();
}
END_TEST

START_TEST(fallbacks_of_plug_ins_hold_without_a_source)
{
	struct config *c;

	begin(NULL);
	c = load(NONE);
	config_declare(c, plugin_settings);
	ck_assert_str_eq(config_get(c, "email_host"), "localhost");
	ck_assert_str_eq(config_get(c, "email_password"), "");
	config_free(c);
	end();
}
END_TEST

START_TEST(a_dump_shows_sources_and_no_secret)
{
	struct config *c;
	auto_str out;

	begin("broker_url: amqp://u:s3cret@h//;amqp://v:s3cret@i//\nemail_password: s3cret\n"
	      "someones_password: s3cret\n"
	      "result_backend_transport_options: {sentinel_kwargs: {password: s3cret}}\n");
	setenv("REDIS_PASSWORD", "s3cret", 1);
	setenv("CELERY_RESULT_BACKEND", "redis://:s3cret@h/0", 1);
	c = load(ARGS("-c", "3"));
	config_declare(c, plugin_settings);
	str_init(&out, 1 << 20);
	config_dump(c, &out);
	ck_assert_ptr_nonnull(strstr(out.data, "worker_concurrency = 3  (option -c)\n"));
	ck_assert_ptr_nonnull(strstr(out.data, "amqp://u:**@h//;amqp://v:**@i//"));
	ck_assert_ptr_nonnull(strstr(out.data, "email_password = ********  (smallage.yaml:2)\n"));
	ck_assert_ptr_nonnull(strstr(out.data, "task_acks_late = false  (default)\n"));
	ck_assert_ptr_null(strstr(out.data, "s3cret"));
	str_reset(&out);
	config_dump_given(c, &out);
	ck_assert_ptr_null(strstr(out.data, "(default)"));
	for (char **notice = c->notices; *notice; notice++)
		ck_assert_ptr_null(strstr(*notice, "s3cret"));
	config_free(c);
	end();
}
END_TEST

START_TEST(names_and_paths_of_the_node_expand)
{
	struct config *c;

	begin(NULL);
	setenv("XDG_RUNTIME_DIR", "/run/user/1", 1);
	c = load(ARGS("-n", "w1@box.lan", "-f", "%n.log", "--pidfile", "/run/%n-%d.pid"));
	ck_assert_str_eq(c->node_name, "w1@box.lan");
	ck_assert_str_eq(c->log_file, "w1.log");
	ck_assert_str_eq(c->pid_file, "/run/w1-lan.pid");
	ck_assert_str_eq(c->status_socket, "/run/user/1/smallage/w1@box.lan.sock");
	ck_assert_str_eq(config_get(c, "hostname"), "w1@box.lan");
	config_free(c);
	c = load(ARGS("-n", "a/b@c"));
	ck_assert_str_eq(c->status_socket, "/run/user/1/smallage/a_b@c.sock");
	config_free(c);
	end();
}
END_TEST

START_TEST(zones_have_their_offset_of_now)
{
	struct config *c;

	begin("timezone: Asia/Kolkata\n"); /* no summer time */
	c = load(NONE);
	ck_assert_int_eq(c->timezone_offset_s, 19800);
	ck_assert_ptr_null(getenv("TZ"));
	config_free(c);
	end();
	begin("timezone: Middle/Earth\n");
	load_fails(NONE, "Middle/Earth");
	end();
	begin("timezone: ../../etc/passwd\n");
	load_fails(NONE, "not known");
	end();
}
END_TEST

/* T-36 */
START_TEST(pickle_and_unknown_contents_are_refused)
{
	begin("accept_content: [json, pickle]\n");
	load_fails(NONE, "accept_content: pickle is not read or written here, because unpickling "
			 "runs what the sender wants; set task_serializer to json, msgpack or yaml "
			 "where messages are sent");
	end();
	begin("task_serializer: pickle\n");
	load_fails(NONE, "task_serializer: pickle is not read or written here");
	end();
	begin("accept_content: [json, text/plain]\n");
	load_fails(NONE, "accept_content: 'text/plain' is not supported");
	end();
	begin("task_serializer: xml\n");
	load_fails(NONE, "task_serializer: 'xml' is not supported");
	end();
	begin("task_compression: lz4\n");
	load_fails(NONE, "task_compression: 'lz4' is no compression; there is gzip, bzip2, lzma, "
			 "brotli, zstd");
	end();
}
END_TEST

START_TEST(contents_may_be_names_or_types)
{
	struct config *c;

	begin("accept_content: [application/json, msgpack, application/x-yaml]\n"
	      "task_serializer: msgpack\ntask_compression: application/zstd\n");
	c = load(NONE);
	ck_assert_ptr_nonnull(c->task_form.serializer);
	ck_assert_str_eq(compression_type(c->task_form.compression), "application/zstd");
	ck_assert_ptr_null(c->mail_form.compression);
	config_free(c);
	end();
}
END_TEST

START_TEST(arguments_of_queues_follow_the_settings)
{
	struct config *c;

	begin(NULL);
	c = load(NONE);
	ck_assert_ptr_null(routing_queue_at(c->routing, 0)->def.arguments);
	config_free(c);
	c = load(ARGS("--set", "task_queue_max_priority=10", "--set",
		      "task_default_queue_type=quorum"));
	ck_assert_str_eq(routing_queue_at(c->routing, 0)->def.arguments,
			 "{\"x-queue-type\": \"quorum\", \"x-max-priority\": 10}");
	ck_assert_str_eq(routing_missing(c->routing, "q").arguments, "{\"x-max-priority\": 10}");
	config_free(c);
	end();
}
END_TEST

START_TEST(the_bounds_of_revoked_ids_are_refused_with_celerys_words)
{
	struct config *c;

	begin(NULL);
	c = load(NONE);
	ck_assert_uint_eq(c->worker_revokes_max, 50000);
	ck_assert_double_eq(c->worker_revoke_expires, 10800);
	config_free(c);
	setenv("CELERY_WORKER_REVOKES_MAX", "12", 1);
	setenv("CELERY_WORKER_REVOKE_EXPIRES", "1.5", 1);
	c = load(NONE);
	ck_assert_uint_eq(c->worker_revokes_max, 12);
	ck_assert_double_eq(c->worker_revoke_expires, 1.5);
	config_free(c);
	setenv("CELERY_WORKER_REVOKES_MAX", "abc", 1);
	load_fails(NONE, "Invalid value for CELERY_WORKER_REVOKES_MAX: expected int, got 'abc'");
	setenv("CELERY_WORKER_REVOKES_MAX", "1.5", 1);
	load_fails(NONE, "expected int, got '1.5'");
	setenv("CELERY_WORKER_REVOKES_MAX", "-1", 1);
	load_fails(NONE, "CELERY_WORKER_REVOKES_MAX");
	setenv("CELERY_WORKER_REVOKES_MAX", "5", 1);
	setenv("CELERY_WORKER_REVOKE_EXPIRES", "1h", 1);
	load_fails(NONE,
		   "Invalid value for CELERY_WORKER_REVOKE_EXPIRES: expected float, got '1h'");
	setenv("CELERY_WORKER_REVOKE_EXPIRES", "nan", 1);
	load_fails(NONE, "expected float, got 'nan'");
	end();
}
END_TEST

START_TEST(autoscale_is_read_as_celery_reads_it)
{
	static const struct {
		const char *text;
		unsigned max, min;
	} good[] = {
		{"10,3", 10, 3}, {"3,10", 10, 3}, {"10", 10, 0}, {"10,0", 10, 0}, {"4, 4", 4, 4}};
	static const char *const bad[] = {",", "x", "1,2,3", "3,x", "-1,3", "0", "10001,1"};
	struct config *c;

	begin("");
	c = load(NONE);
	ck_assert_uint_eq(c->autoscale_max, 0);
	ck_assert(c->worker_autoscale_keepalive == 30);
	config_free(c);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		c = load(ARGS("--autoscale", good[i].text));
		ck_assert_uint_eq(c->autoscale_max, good[i].max);
		ck_assert_uint_eq(c->autoscale_min, good[i].min);
		config_free(c);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		load_fails(ARGS("--autoscale", bad[i]), "--autoscale");
	load_fails(ARGS("--autoscale=2", "-P", "threads"), "only the prefork pool");
	load_fails(ARGS("--autoscale=2", "-P", "solo"), "only the prefork pool");
	setenv("AUTOSCALE_KEEPALIVE", "2.5", 1);
	c = load(NONE);
	ck_assert(c->worker_autoscale_keepalive == 2.5);
	config_free(c);
	setenv("AUTOSCALE_KEEPALIVE", "0", 1);
	load_fails(NONE, "AUTOSCALE_KEEPALIVE");
	unsetenv("AUTOSCALE_KEEPALIVE");
	end();
}
END_TEST
