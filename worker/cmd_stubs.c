/*
 * `smallage stubs`: a Python module with a function for each task, so that producers have names,
 * parameters and types to call by, and Celery checks a call before it is sent.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "protocol/pyjson.h"
#include "worker/cmd.h"
#include "worker/startup.h"

#define STUBS_MAX ((size_t)16 << 20)
#define LINE_MOST 88 /* as Black has it */

enum { STUBS_WRITTEN = 0, STUBS_WRONG = 2 };

const struct cli_option cmd_stubs_options[] = {
	{"module", 0, "NAME", CLI_OWN, NULL,
	 "Only the tasks of this Python module, such as app.tasks.notifications.",
	 CONFIG_FOR_STUBS},
	{NULL, 0, NULL, CLI_OWN, NULL, NULL, 0},
};

struct stubs {
	struct config *config;
	struct registry *registry;
	const char *module; /* NULL = all */
	struct map *uses;   /* short name -> its first task, or NULL when it has several */
	struct map *taken;  /* identifiers of the module */
	struct str names, body;
};

static int on_own(void *ctx, const struct cli_option *option, const char *value, struct err *err)
{
	struct stubs *stubs = ctx;

	(void)option;
	if (!*value)
		return err_set(err, ERR_INVALID, "option --module: it is empty");
	stubs->module = value;
	return 0;
}

static const char *short_name(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot ? dot + 1 : name;
}

static bool is_in_module(const char *name, const char *module)
{
	size_t len = strlen(module);

	return strncmp(name, module, len) == 0 && name[len] == '.' && !strchr(name + len + 1, '.');
}

/* A task has one function. Of the names it answers under that is the first one with a module, as
 * producers and their task_routes know it. */
static bool is_chosen(const struct stubs *stubs, unsigned index)
{
	const struct task_entry *task = registry_at(stubs->registry, index);
	const struct task_entry *last = index ? registry_at(stubs->registry, index - 1) : NULL;
	const struct task_entry *next = registry_at(stubs->registry, index + 1);
	bool has_module = strchr(task->name, '.') != NULL;

	if (stubs->module)
		return is_in_module(task->name, stubs->module);
	if (strncmp(task->name, "celery.", 7) == 0)
		return false; /* Python has them */
	if (last && last->decl == task->decl)
		return has_module && !strchr(last->name, '.');
	return has_module || !next || next->decl != task->decl;
}

/* billing.add is "add", or "billing_add" where there is another task of that short name. */
static char *identifier_of(struct stubs *stubs, const struct task_entry *task)
{
	const char *name = short_name(task->name);
	char *identifier;

	if (!map_get(stubs->uses, name))
		name = task->name;
	identifier = mem_printf("%s%s", isdigit((unsigned char)*name) ? "_" : "", name);
	for (char *c = identifier; *c; c++)
		if (!isascii((unsigned char)*c) || !(isalnum((unsigned char)*c) || *c == '_'))
			*c = '_';
	while (params_is_keyword(identifier) || map_has(stubs->taken, identifier)) {
		char *longer = mem_printf("%s_", identifier);

		free(identifier);
		identifier = longer;
	}
	map_put(stubs->taken, identifier, NULL);
	return identifier;
}

static void put_docstring(struct str *out, const char *text)
{
	str_puts(out, "    \"\"\"");
	for (; *text; text++)
		str_addf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
	str_puts(out, "\"\"\"\n");
}

/* On one line, or where that were too long on one for each parameter. */
static void put_signature(struct str *out, const char *identifier, const struct params *params)
{
	auto_str list = STR_INIT(STUBS_MAX);

	params_format_python(&list, params, ", ");
	if (strlen("def () -> Any:") + strlen(identifier) + list.len <= LINE_MOST) {
		str_addf(out, "def %s(%s) -> Any:\n", identifier, list.len ? list.data : "");
		return;
	}
	str_addf(out, "def %s(\n    ", identifier);
	params_format_python(out, params, ",\n    ");
	str_puts(out, "\n) -> Any:\n");
}

static void put_task(struct stubs *stubs, const struct task_entry *task)
{
	auto_free char *identifier = identifier_of(stubs, task);
	struct str *out = &stubs->body;
	auto_str name = STR_INIT(STR_MAX_DEFAULT);

	pyjson_repr_str(&name, task->name, strlen(task->name), 0);
	str_addf(&stubs->names, "    \"%s\",\n", identifier);
	str_addf(out, "\n\n@shared_task(name=%s%s)\n", name.data,
		 task->decl->ignore_result == SM_YES  ? ", ignore_result=True"
		 : task->decl->ignore_result == SM_NO ? ", ignore_result=False"
						      : "");
	put_signature(out, identifier, task->params);
	if (task->decl->doc)
		put_docstring(out, task->decl->doc);
	str_addf(out, "    raise NotImplementedError(_ELSEWHERE %% %s)\n", name.data);
}

static void note_use(struct stubs *stubs, const struct task_entry *task)
{
	const char *name = short_name(task->name);

	map_put(stubs->uses, name, map_has(stubs->uses, name) ? NULL : (void *)(uintptr_t)task);
}

static int write_module(struct stubs *stubs, struct err *err)
{
	static const char *const own[] = {"Any", "Decimal", "annotations", "shared_task"};
	bool is_empty = true;

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		map_put(stubs->taken, own[i], NULL);
	for (unsigned i = 0; i < registry_count(stubs->registry); i++)
		if (is_chosen(stubs, i))
			note_use(stubs, registry_at(stubs->registry, i));
	for (unsigned i = 0; i < registry_count(stubs->registry); i++)
		if (is_chosen(stubs, i)) {
			put_task(stubs, registry_at(stubs->registry, i));
			is_empty = false;
		}
	if (is_empty)
		return err_set(err, ERR_NOT_FOUND, "no task %s%s",
			       stubs->module ? "is of module " : "",
			       stubs->module ? stubs->module : "");
	printf("\"\"\"The tasks that smallage runs, for programs that send them.\n\n"
	       "Written by `smallage stubs` (%s): do not edit. Python 3.7 or newer, beside a "
	       "Celery "
	       "application:\nits broker is where the calls go.\n\"\"\"\n"
	       "from __future__ import annotations\n\n%sfrom typing import Any\n\n"
	       "from celery import shared_task\n\n__all__ = [\n%s]\n\n"
	       "_ELSEWHERE = \"%%s runs in smallage: use .delay() or .apply_async()\"\n%s",
	       SMALLAGE_VERSION,
	       strstr(stubs->body.data, "float | Decimal") ? "from decimal import Decimal\n" : "",
	       stubs->names.data, stubs->body.data);
	return 0;
}

static int load_and_write(struct stubs *stubs, struct err *err)
{
	if (startup_load_plugins(stubs->registry, stubs->config, err) != 0)
		return -1;
	return write_module(stubs, err);
}

int cmd_stubs(int argc, char **argv)
{
	struct stubs stubs = {.registry = registry_new(), .uses = map_new(), .taken = map_new()};
	const struct cli_use use = {.command = CONFIG_FOR_STUBS,
				    .own = cmd_stubs_options,
				    .on_own = on_own,
				    .ctx = &stubs};
	struct err err = {0};
	int code = STUBS_WRITTEN;

	str_init(&stubs.names, STUBS_MAX);
	str_init(&stubs.body, STUBS_MAX);
	stubs.config = config_load_for(&use, argc, argv, NULL, &err);
	if (!stubs.config || load_and_write(&stubs, &err) != 0)
		code = cmd_fail("stubs", &err, STUBS_WRONG);
	map_free(stubs.uses);
	map_free(stubs.taken);
	str_clear(&stubs.names);
	str_clear(&stubs.body);
	registry_free(stubs.registry);
	config_free(stubs.config);
	return code;
}
