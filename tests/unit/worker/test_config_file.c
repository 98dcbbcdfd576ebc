#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/worker/config_test.h"

START_TEST(every_type_is_read_from_yaml)
{
	struct config *c;

	begin("# a comment\n"
	      "result_expires: null\n"
	      "broker_connection_max_retries: ~\n"
	      "task_time_limit: 2.5\n"
	      "task_track_started: yes\n"
	      "task_reject_on_worker_lost: \"on\"\n"
	      "task_queues: [a, 'b']\n"
	      "template_dirs:\n  - one\n  - two\n"
	      "worker_pool: threads\n"
	      "broker_url: amqp://h//\n"
	      "broker_transport_options: {a: 1, b: {c: [yes, null, \"1\"]}}\n");
	c = load(NONE);
	ck_assert_double_eq(c->result_expires, 0);
	ck_assert_int_eq(c->broker_connection_max_retries, -1);
	ck_assert_double_eq(c->task_time_limit, 2.5);
	ck_assert(c->task_track_started && c->task_reject_on_worker_lost);
	ck_assert_str_eq(c->task_queues, "[\"a\",\"b\"]");
	ck_assert_str_eq(routing_queue_at(c->routing, 1)->name, "b");
	ck_assert_str_eq(c->template_dirs[1], "two");
	ck_assert_int_eq(c->worker_pool, CONFIG_THREADS);
	ck_assert_str_eq(c->broker_transport_options, "{\"a\":1,\"b\":{\"c\":[true,null,\"1\"]}}");
	config_free(c);
	end();
}
END_TEST

START_TEST(bad_files_are_errors_with_a_line)
{
	static const struct {
		const char *text, *part;
	} bad[] = {
		{"a: [1\n", "smallage.yaml:2: "},
		{"- a\n", "name: value"},
		{"just words\n", "name: value"},
		{"task_acks_late: true\ntask_acks_late: false\n", "smallage.yaml:2: "},
		{"BROKER_URL: a\nbroker_url: b\n", "given before, at smallage.yaml:1"},
		{"a: &x 1\nb: *x\n", "aliases"},
		{"a: !!python/object:os.system 1\n", "tags"},
		{"imports: [a, [b]]\n", "plain values only"},
		{"imports: ['a,b']\n", "commas"},
		{"imports: {a: b}\n", "must be a list of names"},
		{"# one\ntask_queues: {a: b}\n", "smallage.yaml:2: task_queues: queue 'a' must be"},
		{"task_queues: [{name: a, typ: x}]\n", "smallage.yaml:1: task_queues: queue 'a': "},
		{"task_routes: [proj.Router]\n", "smallage.yaml:1: task_routes: 'proj.Router'"},
		{"broker_transport_options: [a]\n", "not a JSON object"},
		{"broker_transport_options: {a: 1, a: 2}\n", "given before"},
		{"purge: true\n", "as an option"},
		{"workdir: /\n", "as an option or variable"},
		{"a: 1\n---\nb: 2\n", "second document"},
		{"\xff\xfe\n", "smallage.yaml:"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		begin(bad[i].text);
		load_fails(NONE, bad[i].part);
		end();
	}
}
END_TEST

START_TEST(deep_nesting_and_large_files_are_refused)
{
	char *text = mem_calloc(1, 2 * 1024 * 1024);

	strcat(text, "broker_transport_options: ");
	for (int i = 0; i < 100; i++)
		strcat(text, "{a: ");
	begin(text);
	load_fails(NONE, "nested too deeply");
	end();
	memset(text, '#', 2 * 1024 * 1024 - 1);
	begin(text);
	load_fails(NONE, "larger than");
	end();
	free(text);
}
END_TEST

START_TEST(empty_files_and_files_of_comments_are_fine)
{
	static const char *const empty[] = {"", "# nothing\n", "---\n", "{}\n"};

	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		begin(empty[i]);
		config_free(load(NONE));
		end();
	}
}
END_TEST

START_TEST(a_named_file_must_exist)
{
	begin(NULL);
	load_fails(ARGS("--config", "nope.yaml"), "nope.yaml");
	setenv("SMALLAGE_CONFIG", "gone.yaml", 1);
	load_fails(NONE, "gone.yaml");
	end();
}
END_TEST

START_TEST(the_working_folder_is_entered_before_the_file_is_read)
{
	char folder[256];
	struct config *c;

	begin("worker_concurrency: 9\n");
	ck_assert_ptr_nonnull(getcwd(folder, sizeof(folder)));
	ck_assert_int_eq(chdir("/"), 0);
	c = load(ARGS("--workdir", folder));
	ck_assert_uint_eq(c->worker_concurrency, 9);
	ck_assert_str_eq(c->config_file, "smallage.yaml");
	config_free(c);
	load_fails(ARGS("--workdir", "/nowhere/at/all"), "/nowhere/at/all");
	end();
}
END_TEST

START_TEST(an_unknown_setting_names_the_nearest_one)
{
	struct err err = {0};
	struct config *c;

	begin("tsak_acks_late: true\n");
	c = load(NONE);
	ck_assert_int_ne(config_check_unknown(c, &err), 0);
	ck_assert_str_eq(err.text, "smallage.yaml:1: unknown setting 'tsak_acks_late'; did you "
				   "mean 'task_acks_late'?");
	config_free(c);
	end();
}
END_TEST

START_TEST(tls_is_said_by_a_word_or_a_mapping)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"broker_url: amqp://h\n", "false"},
		{"broker_url: amqp://h\nbroker_use_ssl: yes\n", "true"},
		{"broker_url: amqp://h\nBROKER_USE_SSL: False\n", "false"},
		{"broker_url: amqp://h\nbroker_use_ssl:\n  ca_certs: /ca\n  cert_reqs: 2\n",
		 "{\"ca_certs\":\"/ca\",\"cert_reqs\":2}"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin(rows[i].text);
		struct config *c = load(NONE);

		ck_assert_str_eq(c->broker_use_ssl, rows[i].want);
		config_free(c);
		end();
	}
	begin("broker_url: amqp://h\nbroker_use_ssl: perhaps\n");
	load_fails(NONE, "broker_use_ssl: ");
	end();
}
END_TEST

START_TEST(a_server_that_nobody_verifies_is_told)
{
	begin("broker_url: amqps://one;amqps://two?ssl_cert_reqs=none\n");
	struct config *c = load(NONE);

	ck_assert_ptr_nonnull(c->notices[0]);
	ck_assert_str_eq(c->notices[0], "broker_url: the certificate of two is not verified "
					"(ssl_cert_reqs says so)");
	ck_assert_ptr_null(c->notices[1]);
	config_free(c);
	end();
}
END_TEST

START_TEST(tls_without_a_server_is_told)
{
	begin("broker_url: filesystem://\nbroker_use_ssl: true\nresult_backend: file:///tmp\n"
	      "redis_backend_use_ssl:\n  ssl_cert_reqs: none\n");
	struct config *c = load(NONE);

	ck_assert_str_eq(c->notices[0], "broker_use_ssl has no effect on filesystem://");
	ck_assert_str_eq(c->notices[1], "redis_backend_use_ssl has no effect on file://");
	config_free(c);
	end();
}
END_TEST

START_TEST(settings_of_celery_that_we_lack_are_refused_not_ignored)
{
	static const char *const lacking[] = {
		"task_annotations: {}",	  "beat_schedule: {}",
		"worker_autoscaler: x",	  "mongodb_backend_settings: {}",
		"CELERY_ANNOTATIONS: {}", "CELERYBEAT_SCHEDULE: {}",
		"event_serializer: yaml", "event_serializer: pickle"};

	for (size_t i = 0; i < sizeof(lacking) / sizeof(lacking[0]); i++) {
		begin(lacking[i]);
		load_fails(NONE, "this version");
		end();
	}
}
END_TEST

START_TEST(settings_that_name_what_we_do_anyway_are_fine)
{
	struct config *c;

	begin("task_serializer: json\nresult_serializer: json\nenable_utc: true\n"
	      "broker_use_ssl: false\ntask_protocol: 2\ntimezone: UTC\n");
	c = load(NONE);
	ck_assert_int_eq(config_check_unknown(c, NULL), 0);
	config_free(c);
	end();
}
END_TEST
