#include "worker/cmd_task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "protocol/pyjson.h"
#include "worker/config/nodename.h"

#define REPR_MAX 1024

void cmd_task_init(struct cmd_task *task)
{
	*task = (struct cmd_task){.args = json_array(), .kwargs = json_object()};
}

void cmd_task_clear(struct cmd_task *task)
{
	json_decref(task->args);
	json_decref(task->kwargs);
	str_clear(&task->args_text);
	str_clear(&task->kwargs_text);
}

int cmd_seconds_option(const char *name, const char *value, double *ret_value, struct err *err)
{
	char *end;
	double seconds = strtod(value, &end);

	if (end == value || *end || !(seconds >= 0 && seconds <= 1e9))
		return err_set(err, ERR_INVALID, "option --%s: '%.60s' is no number of seconds",
			       name, value);
	*ret_value = seconds;
	return 0;
}

/* Takes the place of *ret_value. */
static int json_option(const char *name, const char *text, int kind, json_t **ret_value,
		       struct err *err)
{
	json_t *value = pyjson_load(text, strlen(text), err);

	if (!value)
		return err_prefix(err, "%s: ", name);
	if ((int)json_typeof(value) != kind) {
		json_decref(value);
		return err_set(err, ERR_INVALID, "%s is not a JSON %s", name,
			       kind == JSON_ARRAY ? "list" : "object");
	}
	json_decref(*ret_value);
	*ret_value = value;
	return 0;
}

bool cmd_task_owns(const struct cli_option *option)
{
	return option->letter == 'a' || option->letter == 'k';
}

int cmd_task_option(struct cmd_task *task, const struct cli_option *option, const char *value,
		    struct err *err)
{
	if (option->letter == 'a')
		return json_option("--args", value, JSON_ARRAY, &task->args, err);
	return json_option("--kwargs", value, JSON_OBJECT, &task->kwargs, err);
}

json_t *cmd_word(const char *word)
{
	json_t *value = pyjson_load(word, strlen(word), NULL);

	return value ? value : json_string(word);
}

int cmd_task_read(struct cmd_task *task, const char *command, int argc, char **argv,
		  struct err *err)
{
	if (argc > 0 && strcmp(argv[0], "--") == 0) {
		argc--;
		argv++;
	}
	if (argc == 0)
		return err_set(err, ERR_INVALID, "which task? smallage %s NAME [ARGS]", command);
	task->name = argv[0];
	uuid4(task->id);
	if (argc == 2 && argv[1][0] == '[')
		return json_option("ARGS", argv[1], JSON_ARRAY, &task->args, err);
	for (int i = 1; i < argc; i++) {
		json_t *value = cmd_word(argv[i]);

		if (!value)
			return err_set(err, ERR_INVALID, "argument %d is not UTF-8", i);
		json_array_append_new(task->args, value);
	}
	return 0;
}

static const char *repr_of(struct arena *texts, const json_t *value, bool as_tuple)
{
	auto_str out = STR_INIT(64 * 1024);

	pyjson_repr(&out, value, REPR_MAX, 3, as_tuple);
	return arena_dup(texts, out.data, out.len);
}

void cmd_task_fill(struct cmd_task *task, struct task_message *t, const struct config *config)
{
	auto_free char *host = nodename_host();
	auto_free char *origin = mem_printf("gen%d@%s", (int)getpid(), host);

	task->args_text.max = task->kwargs_text.max = config->worker_max_message_bytes;
	pyjson_dump(&task->args_text, task->args);
	pyjson_dump(&task->kwargs_text, task->kwargs);
	task_message_init(t);
	t->protocol = 2;
	t->task = task->name;
	t->id = t->root_id = task->id;
	t->origin = arena_strdup(&t->texts, origin);
	t->argsrepr = repr_of(&t->texts, task->args, true);
	t->kwargsrepr = repr_of(&t->texts, task->kwargs, false);
	t->group_index = -1;
	t->eta_us = t->expires_us = TIME_UNSET;
	t->args = (struct span){task->args_text.data, task->args_text.len};
	t->kwargs = (struct span){task->kwargs_text.data, task->kwargs_text.len};
}

void cmd_print_json(const json_t *value)
{
	auto_str out;

	str_init(&out, STR_MAX_DEFAULT);
	pyjson_dump(&out, value);
	printf("%s\n", out.len ? out.data : "null");
}

void cmd_print_failure(const char *command, const json_t *record)
{
	const json_t *result = json_object_get(record, "result"), *item;
	const json_t *message = json_object_get(result, "exc_message");
	const char *type = json_string_value(json_object_get(result, "exc_type"));
	const char *traceback = json_string_value(json_object_get(record, "traceback"));
	const char *status = json_string_value(json_object_get(record, "status"));
	size_t i;

	if (traceback)
		fprintf(stderr, "%s%s", traceback,
			traceback[0] && traceback[strlen(traceback) - 1] == '\n' ? "" : "\n");
	fprintf(stderr, "smallage %s: %s: %s", command, status ? status : "?", type ? type : "?");
	json_array_foreach (message, i, item) {
		auto_str text = STR_INIT(STR_MAX_DEFAULT);

		if (json_is_string(item))
			str_puts(&text, json_string_value(item));
		else
			pyjson_dump(&text, item);
		fprintf(stderr, "%s%s", i == 0 ? ": " : ", ", text.len ? text.data : "");
	}
	if (json_is_string(message))
		fprintf(stderr, ": %s", json_string_value(message));
	fputc('\n', stderr);
}
