#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "worker/cmd.h"
#include "worker/config/cli.h"
#include "worker/config/store.h"

/* A command line that may be permuted. */
#define ARGS(...) copied((const char *const[]){__VA_ARGS__, NULL})

static char **copied(const char *const *texts)
{
	static char *copies[32];

	for (size_t i = 0; i < 32; i++) {
		free(copies[i]);
		copies[i] = NULL;
	}
	for (size_t i = 0; i < 31 && texts[i]; i++)
		copies[i] = mem_strdup(texts[i]);
	return copies;
}

struct outcome_of {
	struct config_store *store;
	int result, rest, argc;
	struct err err;
};

static struct outcome_of read_for(const struct cli_use *use, char **argv)
{
	struct outcome_of o = {.store = config_store_new()};

	while (argv[o.argc])
		o.argc++;
	o.result = cli_read(o.store, use, o.argc, argv, &o.rest, &o.err);
	return o;
}

static struct outcome_of read_worker(char **argv)
{
	static const struct cli_use worker = {.command = CONFIG_FOR_WORKER};

	return read_for(&worker, argv);
}

static void gives(char **argv, const char *setting, const char *expected)
{
	struct outcome_of o = read_worker(argv);

	ck_assert_msg(o.result == 0, "%s: %s", argv[0], o.err.text);
	ck_assert_str_eq(config_store_text(o.store, setting), expected);
	config_store_free(o.store);
}

static void fails_with(char **argv, const char *part)
{
	struct outcome_of o = read_worker(argv);

	ck_assert_msg(o.result != 0, "%s was accepted", argv[0]);
	ck_assert_msg(strstr(o.err.text, part) != NULL, "'%s' lacks '%s'", o.err.text, part);
	config_store_free(o.store);
}

START_TEST(options_of_celery_worker_set_celerys_settings)
{
	gives(ARGS("-b", "amqp://h//"), "broker_url", "amqp://h//");
	gives(ARGS("--broker=amqp://h//"), "broker_url", "amqp://h//");
	gives(ARGS("--result-backend", "redis://"), "result_backend", "redis://");
	gives(ARGS("-Q", "a,b"), "queues", "a,b");
	gives(ARGS("-Xa"), "exclude_queues", "a");
	gives(ARGS("-c", "3"), "worker_concurrency", "3");
	gives(ARGS("-c3"), "worker_concurrency", "3");
	gives(ARGS("-n", "w@%h"), "hostname", "w@%h");
	gives(ARGS("-P", "threads"), "worker_pool", "threads");
	gives(ARGS("-l", "info"), "log_level", "info");
	gives(ARGS("-f", "x.log"), "log_file", "x.log");
	gives(ARGS("-O", "fair"), "optimization", "fair");
	gives(ARGS("-I", "p.so"), "imports", "p.so");
	gives(ARGS("--prefetch-multiplier", "1"), "worker_prefetch_multiplier", "1");
	gives(ARGS("--time-limit", "2.5"), "task_time_limit", "2.5");
	gives(ARGS("--soft-time-limit=2"), "task_soft_time_limit", "2");
	gives(ARGS("--max-tasks-per-child", "9"), "worker_max_tasks_per_child", "9");
	gives(ARGS("--max-memory-per-child", "9"), "worker_max_memory_per_child", "9");
	gives(ARGS("--pidfile", "x.pid"), "pid_file", "x.pid");
	gives(ARGS("--purge"), "purge", "true");
	gives(ARGS("--discard"), "purge", "true");
	gives(ARGS("-D"), "detach", "true");
}
END_TEST

START_TEST(the_last_of_repeated_options_counts)
{
	gives(ARGS("-c", "1", "--concurrency", "2"), "worker_concurrency", "2");
}
END_TEST

START_TEST(letters_of_flags_may_be_joined)
{
	gives(ARGS("-qDc4"), "worker_concurrency", "4");
	gives(ARGS("-qD"), "quiet", "true");
}
END_TEST

START_TEST(any_setting_can_be_set_by_name)
{
	gives(ARGS("--set", "result_expires=60"), "result_expires", "60");
	gives(ARGS("--set", "email_host=h=1"), "email_host", "h=1");
	fails_with(ARGS("--set", "x"), "NAME=VALUE");
}
END_TEST

START_TEST(a_mistyped_option_names_the_nearest_one)
{
	fails_with(ARGS("--concurency", "3"), "did you mean '--concurrency'");
	fails_with(ARGS("--log-level", "3"), "did you mean '--loglevel'");
	fails_with(ARGS("--frobnicate"), "unknown option '--frobnicate'");
	fails_with(ARGS("-Z"), "unknown option '-Z'");
	fails_with(ARGS("--conc", "3"), "unknown option"); /* no abbreviations */
}
END_TEST

START_TEST(a_missing_or_needless_value_is_an_error)
{
	fails_with(ARGS("--broker"), "needs a value");
	fails_with(ARGS("-c"), "needs a value");
	fails_with(ARGS("--purge=yes"), "takes no value");
}
END_TEST

START_TEST(options_for_what_this_version_lacks_are_refused_with_the_reason)
{
	fails_with(ARGS("-B"), "celery beat");
	fails_with(ARGS("-s", "x"), "celery beat");
	fails_with(ARGS("--pool-start-method", "spawn"), "can only be 'fork'");
}
END_TEST

START_TEST(what_compose_files_hold_is_accepted)
{
	struct outcome_of o =
		read_worker(ARGS("-A", "app.celery", "--without-gossip", "--without-mingle",
				 "--without-heartbeat", "--pool-start-method", "fork"));
	char **notices;

	ck_assert_msg(o.result == 0, "%s", o.err.text);
	notices = config_store_take_notices(o.store);
	ck_assert_ptr_nonnull(notices[0]); /* -A is said to mean nothing */
	ck_assert_ptr_nonnull(strstr(notices[0], "-A"));
	ck_assert_ptr_null(notices[1]);
	free(notices[0]);
	free(notices);
	config_store_free(o.store);
}
END_TEST

START_TEST(events_have_options)
{
	gives(ARGS("-E"), "worker_send_task_events", "true");
	gives(ARGS("--task-events"), "worker_send_task_events", "true");
	gives(ARGS("--events"), "worker_send_task_events", "true");
	gives(ARGS("--without-gossip"), "without_gossip", "true");
	gives(ARGS("--without-mingle"), "without_mingle", "true");
	gives(ARGS("--without-heartbeat"), "without_heartbeat", "true");
	gives(ARGS("--heartbeat-interval", "10"), "heartbeat_interval", "10");
}
END_TEST

START_TEST(arguments_move_behind_the_options)
{
	static const struct cli_use call = {.command = CONFIG_FOR_CALL, .own = NULL};
	char **argv = ARGS("add", "-b", "amqp://", "-5", "2", "-l", "info");
	struct outcome_of o = read_for(&call, argv);

	ck_assert_msg(o.result == 0, "%s", o.err.text);
	ck_assert_int_eq(o.argc - o.rest, 3);
	ck_assert_str_eq(argv[o.rest], "add");
	ck_assert_str_eq(argv[o.rest + 1], "-5");
	ck_assert_str_eq(argv[o.rest + 2], "2");
	config_store_free(o.store);
}
END_TEST

START_TEST(a_double_dash_ends_the_options)
{
	char **argv = ARGS("-c", "2", "--", "-c", "3");
	struct outcome_of o = read_worker(argv);

	ck_assert_str_eq(config_store_text(o.store, "worker_concurrency"), "2");
	ck_assert_int_eq(o.argc - o.rest, 2);
	ck_assert_str_eq(argv[o.rest], "-c");
	config_store_free(o.store);
}
END_TEST

START_TEST(a_command_takes_its_own_options_only)
{
	static const struct cli_use status = {.command = CONFIG_FOR_STATUS};
	struct outcome_of o = read_for(&status, ARGS("--purge"));

	ck_assert_int_ne(o.result, 0);
	config_store_free(o.store);
}
END_TEST

START_TEST(options_before_the_command_have_a_known_width)
{
	ck_assert_int_eq(cli_option_width(2, ARGS("-A", "app")), 2);
	ck_assert_int_eq(cli_option_width(1, ARGS("--app=app")), 1);
	ck_assert_int_eq(cli_option_width(1, ARGS("-Aapp")), 1);
	ck_assert_int_eq(cli_option_width(1, ARGS("-q")), 1);
	ck_assert_int_eq(cli_option_width(1, ARGS("--nope")), 0);
	ck_assert_int_eq(cli_option_width(1, ARGS("worker")), 0);
}
END_TEST

START_TEST(every_row_has_help_and_no_option_is_there_twice)
{
	for (size_t i = 0; i < config_row_count(); i++) {
		const struct config_row *row = config_row_at(i);

		ck_assert_msg(row->help && row->help[0], "%s has no help", row->name);
		ck_assert_msg(!strchr(row->help, '\n'), "%s", row->name);
		ck_assert_msg(!row->option == !row->commands, "%s", row->name);
		for (size_t k = i + 1; k < config_row_count(); k++) {
			const struct config_row *other = config_row_at(k);

			ck_assert_str_ne(row->name, other->name);
			if (row->option && other->option)
				ck_assert_str_ne(row->option, other->option);
			ck_assert_msg(!row->letter || row->letter != other->letter, "-%c",
				      row->letter);
		}
		for (const struct cli_option *o = cli_extra_options; o->name; o++) {
			ck_assert_msg(!row->option || strcmp(row->option, o->name) != 0, "%s",
				      o->name);
			ck_assert_msg(!row->letter || row->letter != o->letter, "-%c", row->letter);
		}
	}
}
END_TEST

START_TEST(help_lists_every_option_and_fits_100_columns)
{
	auto_str out;

	str_init(&out, 1 << 20);
	cmd_help_text(&out, cmd_find("worker"));
	for (size_t i = 0; i < config_row_count(); i++) {
		auto_free char *option = mem_printf(
			"--%s", config_row_at(i)->option ? config_row_at(i)->option : "help");

		ck_assert_msg(strstr(out.data, option) != NULL, "%s is missing", option);
	}
	for (const char *line = out.data; *line; line += strcspn(line, "\n") + 1)
		ck_assert_msg(strcspn(line, "\n") <= 100, "%.*s", (int)strcspn(line, "\n"), line);
}
END_TEST

#define DOCUMENT_MAX (1 << 20)

static char *read_all(FILE *file, const char *what)
{
	char *text = mem_calloc(1, DOCUMENT_MAX);

	ck_assert_msg(file != NULL, "%s is missing", what);
	ck_assert_msg(fread(text, 1, DOCUMENT_MAX - 1, file) > 0, "%s is empty", what);
	return text;
}

/* What the built program writes, it being beside the folder of this test. */
static char *written_by_program(const char *option)
{
	char self[512];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	auto_free char *command = NULL;
	FILE *pipe;
	char *text, *tests;

	ck_assert_int_gt(len, 0);
	self[len] = '\0';
	tests = strstr(self, "/tests/");
	ck_assert_ptr_nonnull(tests);
	*tests = '\0';
	command = mem_printf("%s/bin/smallage help %s", self, option);
	pipe = popen(command, "r");
	text = read_all(pipe, command);
	ck_assert_int_eq(pclose(pipe), 0);
	return text;
}

static void is_up_to_date(const char *path, const char *option)
{
	FILE *file = fopen(path, "r"); /* tests run from the top of the tree */
	auto_free char *kept = read_all(file, path);
	auto_free char *written = written_by_program(option);

	fclose(file);
	ck_assert_msg(strcmp(kept, written) == 0, "%s is old: build/bin/smallage help %s > %s",
		      path, option, path);
}

START_TEST(the_man_page_is_what_the_program_writes)
{
	is_up_to_date("docs/man/smallage.1", "--roff");
}
END_TEST

START_TEST(the_settings_document_is_what_the_program_writes)
{
	is_up_to_date("docs/CONFIG.md", "--markdown");
}
END_TEST

static void page_has(const char *page, const char *option)
{
	struct str wanted;

	str_init(&wanted, 256);
	str_puts(&wanted, "\\-\\-");
	for (const char *at = option; *at; at++)
		str_addf(&wanted, *at == '-' ? "\\-" : "%c", *at);
	ck_assert_msg(strstr(page, wanted.data) != NULL, "the man page lacks --%s", option);
	str_clear(&wanted);
}

START_TEST(the_man_page_names_every_option_setting_and_command)
{
	auto_str page;

	str_init(&page, DOCUMENT_MAX);
	ck_assert_int_eq(cmd_doc_roff(&page, NULL), 0);
	for (size_t i = 0; i < config_row_count(); i++) {
		if (config_row_at(i)->option)
			page_has(page.data, config_row_at(i)->option);
		if (config_row_at(i)->flags & CONFIG_OPTION_ONLY)
			continue;
		ck_assert_msg(strstr(page.data, config_row_at(i)->name) != NULL, "%s",
			      config_row_at(i)->name);
	}
	for (const struct cmd *cmd = cmd_table; cmd->name; cmd++) {
		ck_assert_msg(strstr(page.data, cmd->name) != NULL, "%s", cmd->name);
		for (const struct cli_option *o = cmd->own; o && o->name; o++)
			page_has(page.data, o->name);
	}
	for (const struct cli_option *o = cli_extra_options; o->name; o++)
		if (o->help)
			page_has(page.data, o->name);
}
END_TEST
