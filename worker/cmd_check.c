/*
 * `smallage check`: tries everything a worker with these settings would need, and says in a line
 * each what was found. Takes no message and writes nothing.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "worker/cmd.h"
#include "worker/cmd_client.h"
#include "worker/config/config.h"
#include "worker/config/derive_tls.h"
#include "worker/consume/consumer.h"
#include "worker/control/http.h"
#include "worker/control/http_library.h"
#include "worker/startup.h"
#include "worker/task/plugin.h"

#define DUMP_MAX ((size_t)1 << 20)

const struct cli_option cmd_check_options[] = {
	{"all", 0, NULL, CLI_OWN, NULL, "Show the settings that have their default too.",
	 CONFIG_FOR_CHECK},
	{"timeout", 't', "SECONDS", CLI_OWN, NULL,
	 "Wait this long for each server; 10 when not given.", CONFIG_FOR_CHECK},
	{NULL, 0, NULL, CLI_OWN, NULL, NULL, 0},
};

struct check {
	struct config *config;
	struct registry *registry;
	double timeout_s;
	bool shows_all;
	unsigned failed;
};

static int on_own(void *ctx, const struct cli_option *option, const char *value, struct err *err)
{
	struct check *check = ctx;
	char *end;

	if (option->letter != 't') {
		check->shows_all = true;
		return 0;
	}
	check->timeout_s = strtod(value, &end);
	if (end == value || *end || !(check->timeout_s > 0 && check->timeout_s <= 3600))
		return err_set(err, ERR_INVALID,
			       "option --timeout: '%.60s' is no number of seconds", value);
	return 0;
}

static void say(struct check *check, const char *what, const struct err *err, const char *found)
{
	if (err) {
		check->failed++;
		printf("%-10s FAILED %s\n", what, err->text);
	} else {
		printf("%-10s ok     %s\n", what, found);
	}
	fflush(stdout);
}

static void show_settings(struct check *check)
{
	auto_str dump;
	auto_free char *found =
		mem_printf("from %s", check->config->config_file ? check->config->config_file
								 : "environment and options");
	const char *line;

	str_init(&dump, DUMP_MAX);
	if (check->shows_all)
		config_dump(check->config, &dump);
	else
		config_dump_given(check->config, &dump);
	say(check, "settings", NULL, found);
	for (line = dump.data; line && *line; line = strchr(line, '\n') + 1)
		printf("           %.*s\n", (int)strcspn(line, "\n"), line);
	for (char **notice = check->config->notices; *notice; notice++)
		printf("           note: %s\n", *notice);
}

/* A task once with its parameters, then the other names it answers under. */
static void show_task(const struct check *check, unsigned index)
{
	const struct task_entry *task = registry_at(check->registry, index);
	bool is_first = index == 0 || registry_at(check->registry, index - 1)->decl != task->decl;
	auto_str signature;

	str_init(&signature, 4096);
	params_format(&signature, task->params);
	if (is_first)
		printf("           %s(%s)\n", task->name, signature.len ? signature.data : "");
	else
		printf("             also %s\n", task->name);
}

static void show_tasks(struct check *check)
{
	struct err err = {0};
	auto_free char *found = NULL;
	int result = startup_load_plugins(check->registry, check->config, &err);

	found = mem_printf("%u tasks of %u plug-ins", registry_count(check->registry),
			   registry_plugin_count(check->registry));
	/* The settings of plug-ins are known only now. */
	show_settings(check);
	say(check, "tasks", result == 0 ? NULL : &err, found);
	for (unsigned i = 0; i < registry_count(check->registry); i++)
		if (!task_entry_is_builtin(registry_at(check->registry, i)))
			show_task(check, i);
}

static bool is_one_of(char *const *names, const char *name)
{
	for (; names && *names; names++)
		if (name && strcmp(*names, name) == 0)
			return true;
	return false;
}

/* How messages come into it. */
static void add_bindings(struct str *out, const struct queue_def *def)
{
	str_addf(out, "           %s%s%s\n", def->name, def->arguments ? " " : "",
		 def->arguments ? def->arguments : "");
	for (size_t i = 0; i < queue_def_binding_count(def); i++) {
		struct binding_def b = queue_def_binding(def, i);

		str_addf(out, "             from %s (%s), key '%s'%s%s\n", b.exchange,
			 b.exchange_type, b.routing_key, b.arguments ? " " : "",
			 b.arguments ? b.arguments : "");
	}
}

/* What is found out about the queues. */
struct queues_shown {
	struct str names, details;
};

static void add_queue(struct queues_shown *to, const struct config *config, const struct queue *q,
		      const char *name)
{
	struct queue_def missing = routing_missing(config->routing, name);

	if (is_one_of(config->exclude_queues, name) ||
	    (q && (is_one_of(config->exclude_queues, q->name) ||
		   is_one_of(config->exclude_queues, q->alias))))
		return;
	str_addf(&to->names, "%s%s", to->names.len ? ", " : "", name);
	add_bindings(&to->details, q ? &q->def : &missing);
}

static void add_queues(struct queues_shown *to, const struct config *config, struct err *err)
{
	const struct queue *q;

	for (char *const *name = config->queues; name && *name; name++) {
		q = routing_queue(config->routing, *name);
		if (!q && !routing_creates_missing(config->routing))
			err_set(err, ERR_NOT_FOUND, "queue '%.200s' is not in task_queues", *name);
		add_queue(to, config, q, *name);
	}
	for (size_t i = 0; !config->queues && (q = routing_queue_at(config->routing, i)); i++)
		add_queue(to, config, q, q->alias ? q->alias : q->name);
	if (config->worker_direct)
		str_addf(&to->names, "%s%s.dq2", to->names.len ? ", " : "", config->node_name);
	if (to->names.len == 0)
		err_set(err, ERR_INVALID, "-X leaves no queue to consume");
}

static void show_queues(struct check *check)
{
	struct queues_shown shown;
	struct err err = {0};

	str_init(&shown.names, 65536);
	str_init(&shown.details, DUMP_MAX);
	add_queues(&shown, check->config, &err);
	say(check, "queues", err.code ? &err : NULL, shown.names.data);
	printf("%s", shown.details.len ? shown.details.data : "");
	str_clear(&shown.names);
	str_clear(&shown.details);
}

static void check_broker(struct check *check, struct client *client, const char *what)
{
	struct err err = {0};
	auto_free char *found = NULL, *tls = NULL;

	if (client_connect_broker(client, check->timeout_s, &err) != 0) {
		say(check, what, &err, NULL);
		return;
	}
	tls = config_tls_of_broker(check->config, client->broker_url, client->host);
	found = mem_printf("connected to %s%s%s", client->host, tls ? ", " : "", tls ? tls : "");
	say(check, what, NULL, found);
}

/* The one that is sent to, where it is another. */
static void check_writer(struct check *check)
{
	struct client client;

	if (!consumer_has_writer(check->config))
		return;
	client_open(&client, check->config);
	check_broker(check, &client, "sends to");
	client_close(&client);
}

static void check_backend(struct check *check, struct client *client)
{
	const char *url = check->config->result_backend;
	struct backend_stats stats;
	struct err err = {0};
	auto_free char *found = NULL, *tls = NULL;

	if (!url || strncmp(url, "disabled", 8) == 0) {
		say(check, "results", NULL, "disabled (no result_backend)");
		return;
	}
	if (strncmp(url, "rpc", 3) == 0) {
		say(check, "results", NULL, "messages to the client, over the broker (rpc://)");
		return;
	}
	if (client_connect_backend(client, &err) != 0 ||
	    client_probe_backend(client, check->timeout_s, &err) != 0) {
		say(check, "results", &err, NULL);
		return;
	}
	backend_stats(client->backend, &stats);
	tls = config_tls_of_backend(check->config);
	found = mem_printf("can be read at %s%s%s", stats.host, tls ? ", " : "", tls ? tls : "");
	say(check, "results", NULL, found);
}

static void check_servers(struct check *check)
{
	struct client client;

	client_open(&client, check->config);
	client.broker_url = check->config->broker_read_url;
	check_broker(check, &client, "broker");
	check_backend(check, &client);
	client_close(&client);
	check_writer(check);
}

static void check_http(struct check *check)
{
	const char *address = check->config->http;
	struct http_library library;
	struct err err = {0};
	bool is_good;

	if (!address || !*address)
		return;
	is_good = http_address_check(address, &err) == 0 && http_library_load(&library, &err) == 0;
	say(check, "http", is_good ? NULL : &err, address);
}

static void check_folder(struct check *check, const char *folder)
{
	struct err err = {0};
	DIR *dir = opendir(folder);

	if (!dir)
		err_errno(&err, "%s", folder);
	else
		closedir(dir);
	say(check, "templates", dir ? NULL : &err, folder);
}

static void check_templates(struct check *check)
{
	auto_free char *shipped = plugin_share_dir("templates");

	for (char **folder = check->config->template_dirs; folder && *folder; folder++)
		check_folder(check, *folder);
	check_folder(check, shipped);
}

static void check_plugins(struct check *check)
{
	for (unsigned i = 0; i < registry_plugin_count(check->registry); i++) {
		const struct sm_plugin *plugin = registry_plugin_at(check->registry, i);
		char text[400] = "";
		struct err err = {0};
		int result;

		if (!plugin->check)
			continue;
		result = plugin->check(config_setting, text, sizeof(text));
		if (result != 0)
			err_set(&err, ERR_IO, "%s", text);
		say(check, plugin->name, result == 0 ? NULL : &err, text);
	}
}

int cmd_check(int argc, char **argv)
{
	struct check check = {.timeout_s = 10};
	const struct cli_use use = {.command = CONFIG_FOR_CHECK,
				    .own = cmd_check_options,
				    .on_own = on_own,
				    .ctx = &check};
	struct err err = {0};

	check.config = config_load_for(&use, argc, argv, NULL, &err);
	if (!check.config) {
		say(&check, "settings", &err, NULL);
		return 1;
	}
	check.registry = registry_new();
	show_tasks(&check);
	show_queues(&check);
	check_servers(&check);
	check_http(&check);
	check_templates(&check);
	check_plugins(&check);
	registry_free(check.registry);
	config_free(check.config);
	if (check.failed)
		printf("%u of these failed\n", check.failed);
	return check.failed ? 1 : 0;
}
