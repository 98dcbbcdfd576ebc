/*
 * `smallage status`: asks the local worker through its socket. No plug-ins, no loop, no broker: it
 * is run every few seconds by health checks.
 */
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "worker/cmd.h"
#include "worker/config/config.h"
#include "worker/config/derive.h"
#include "worker/control/status.h"

#define ANSWER_MAX (4 * 1024 * 1024)
#define TASKS_MOST 20 /* shown to people */

enum { STATUS_READY = 0, STATUS_NOT_READY = 1, STATUS_NO_WORKER = 2 };

const struct cli_option cmd_status_options[] = {
	{"json", 0, NULL, CLI_OWN, NULL, "Print the whole answer as JSON.", CONFIG_FOR_STATUS},
	{"timeout", 't', "SECONDS", CLI_OWN, NULL,
	 "Wait this long for the answer; 2 when not given.", CONFIG_FOR_STATUS},
	{NULL, 0, NULL, CLI_OWN, NULL, NULL, 0},
};

struct wishes {
	bool is_json;
	int timeout_ms;
};

static int on_own(void *ctx, const struct cli_option *option, const char *value, struct err *err)
{
	struct wishes *wishes = ctx;
	char *end;
	double seconds;

	if (option->letter != 't') {
		wishes->is_json = true;
		return 0;
	}
	seconds = strtod(value, &end);
	if (end == value || *end || !(seconds > 0 && seconds <= 3600))
		return err_set(err, ERR_INVALID,
			       "option --timeout: '%.60s' is no number of seconds", value);
	wishes->timeout_ms = (int)(seconds * 1000);
	return 0;
}

static int is_socket(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 5 && strcmp(entry->d_name + len - 5, ".sock") == 0;
}

/* Adds the sockets of a folder to `found`; a left-over of a killed worker does not count. */
static unsigned look_into(const char *folder, char **found, struct str *names)
{
	struct dirent **entries = NULL;
	int count = scandir(folder, &entries, is_socket, alphasort);
	unsigned live = 0;

	for (int i = 0; i < count; i++) {
		auto_free char *path = mem_printf("%s/%s", folder, entries[i]->d_name);
		size_t len = strlen(entries[i]->d_name) - 5;

		if (status_is_live(path)) {
			live++;
			free(*found);
			*found = mem_strdup(path);
			str_addf(names, "%s%.*s", names->len ? ", " : "", (int)len,
				 entries[i]->d_name);
		}
		free(entries[i]);
	}
	free(entries);
	return live;
}

/* Without a name: the only worker of this machine that we may ask. */
static char *find_socket(struct err *err)
{
	auto_free char *own = derive_socket_folder();
	auto_free char *of_user = mem_printf("/tmp/smallage-%u", (unsigned)geteuid());
	const char *const folders[] = {own, "/run/smallage", of_user};
	char *found = NULL;
	unsigned count = 0;
	auto_str names;

	str_init(&names, 4096);
	for (size_t i = 0; i < 3; i++)
		if (i == 0 || strcmp(folders[i], own) != 0)
			count += look_into(folders[i], &found, &names);
	if (count == 1)
		return found;
	free(found);
	if (count == 0)
		err_set(err, ERR_NOT_FOUND, "no worker runs here (looked in %s)", own);
	else
		err_set(err, ERR_INVALID, "several workers run here (%s): name one with -n",
			names.data);
	return NULL;
}

static char *choose_socket(const struct config *config, struct err *err)
{
	bool is_named = strcmp(config_where(config, "hostname"), "default") != 0 ||
			strcmp(config_where(config, "status_socket"), "default") != 0;

	return is_named ? mem_strdup(config->status_socket) : find_socket(err);
}

static const char *text_in(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static const char *text_at(const json_t *answer, const char *object, const char *key)
{
	return text_in(json_object_get(answer, object), key);
}

static long long number_at(const json_t *answer, const char *object, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(answer, object), key));
}

static void print_uptime(double seconds)
{
	long total = (long)seconds;

	if (total >= 86400)
		printf("%ld d %ld h", total / 86400, total % 86400 / 3600);
	else if (total >= 3600)
		printf("%ld h %ld min", total / 3600, total % 3600 / 60);
	else if (total >= 60)
		printf("%ld min %ld s", total / 60, total % 60);
	else
		printf("%ld s", total);
}

static void print_server(const json_t *answer, const char *name, const char *title)
{
	const json_t *server = json_object_get(answer, name);

	if (!json_is_object(server)) {
		printf("  %-8s none\n", title);
		return;
	}
	printf("  %-8s %s %s\n", title, json_is_true(json_object_get(server, "up")) ? "up" : "DOWN",
	       text_at(answer, name, "host"));
}

/* "12 received, 11 succeeded, 1 failed; 0.25 s each", for one name. */
static void print_task(const char *name, const json_t *task)
{
	const json_t *run = json_object_get(task, "run_s"), *value;
	double runs = json_number_value(json_object_get(run, "count"));
	const char *key;
	bool is_first = true;

	printf("    %s:", name);
	json_object_foreach ((json_t *)(uintptr_t)task, key, value) {
		if (!json_is_integer(value))
			continue;
		printf("%s %lld %s", is_first ? "" : ",", (long long)json_integer_value(value),
		       key);
		is_first = false;
	}
	if (runs > 0)
		printf("; %.3g s each", json_number_value(json_object_get(run, "sum")) / runs);
	printf("\n");
}

static void print_tasks(const json_t *answer)
{
	json_t *tasks = json_object_get(answer, "tasks"), *task;
	size_t shown = 0, count = json_object_size(tasks);
	const char *name;

	json_object_foreach (tasks, name, task)
		if (shown++ < TASKS_MOST)
			print_task(name, task);
	if (count > TASKS_MOST)
		printf("    and %zu more names: --json\n", count - TASKS_MOST);
}

static void print_answers(const json_t *answer)
{
	const json_t *answers = json_object_get(answer, "answers"), *one;
	size_t i;

	json_array_foreach (answers, i, one)
		printf("  %-8s %s: %lld %s\n", text_in(one, "service"), text_in(one, "provider"),
		       (long long)json_integer_value(json_object_get(one, "count")),
		       text_in(one, "answer"));
}

static void print_for_people(const json_t *answer, bool is_ready)
{
	const json_t *reasons = json_object_get(answer, "reasons"), *reason;
	const json_t *node = json_object_get(answer, "node");
	size_t i;

	printf("%s: %s (pid %lld, up ", json_is_string(node) ? json_string_value(node) : "?",
	       is_ready ? "ready" : "NOT READY",
	       (long long)json_integer_value(json_object_get(answer, "pid")));
	print_uptime(json_number_value(json_object_get(answer, "uptime_s")));
	printf(")\n");
	json_array_foreach (reasons, i, reason)
		printf("  !        %s\n", json_string_value(reason));
	print_server(answer, "broker", "broker");
	print_server(answer, "backend", "results");
	printf("  %-8s %s, %lld of %lld busy\n", "pool", text_at(answer, "pool", "kind"),
	       number_at(answer, "pool", "busy"), number_at(answer, "pool", "slots"));
	printf("  %-8s %lld received, %lld succeeded, %lld failed, %lld retried\n", "tasks",
	       number_at(answer, "counts", "received"), number_at(answer, "counts", "succeeded"),
	       number_at(answer, "counts", "failed"), number_at(answer, "counts", "retried"));
	print_tasks(answer);
	print_answers(answer);
}

static int show(const struct str *answer, bool is_json)
{
	struct err err = {0};
	json_t *value = json_loadb(answer->data, answer->len, 0, NULL);
	bool is_ready = json_is_true(json_object_get(value, "ready"));

	if (!value) {
		err_set(&err, ERR_PROTOCOL, "the answer is not JSON");
		return cmd_fail("status", &err, STATUS_NO_WORKER);
	}
	if (is_json)
		fwrite(answer->data, 1, answer->len, stdout);
	else
		print_for_people(value, is_ready);
	json_decref(value);
	return is_ready ? STATUS_READY : STATUS_NOT_READY;
}

int cmd_status(int argc, char **argv)
{
	struct wishes wishes = {.timeout_ms = 2000};
	const struct cli_use use = {.command = CONFIG_FOR_STATUS,
				    .own = cmd_status_options,
				    .on_own = on_own,
				    .ctx = &wishes};
	struct err err = {0};
	struct config *config = config_load_for(&use, argc, argv, NULL, &err);
	auto_free char *path = config ? choose_socket(config, &err) : NULL;
	auto_str answer;

	str_init(&answer, ANSWER_MAX);
	config_free(config);
	if (!path || status_ask(path, wishes.timeout_ms, &answer, &err) != 0)
		return cmd_fail("status", &err, STATUS_NO_WORKER);
	return show(&answer, wishes.is_json);
}
