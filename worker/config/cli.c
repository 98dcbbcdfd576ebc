#include "worker/config/cli.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "worker/config/store.h"

#define BEAT_TEXT "periodic tasks come with a later version; run `celery beat` beside the worker"

/* What `celery worker` takes and no row of the table stands for. Source: celery/bin/worker.py,
 * celery/bin/celery.py. */
const struct cli_option cli_extra_options[] = {
	{"app", 'A', "APP", CLI_IGNORED,
	 "-A names a Python application; smallage needs none (its tasks are plug-ins, see -I)",
	 "Accepted and not used: tasks are plug-ins, not Python.", CONFIG_FOR_ALL},
	{"discard", 0, NULL, CLI_ALIAS, "purge", NULL, CONFIG_FOR_WORKER},
	{"events", 0, NULL, CLI_ALIAS, "worker_send_task_events", NULL, CONFIG_FOR_RUN},
	{"pool-start-method", 0, "METHOD", CLI_ALIAS, "worker_pool_start_method", NULL,
	 CONFIG_FOR_RUN},
	{"disable-prefetch", 0, NULL, CLI_REFUSED,
	 "it needs a Redis broker, which comes with a later version; use --prefetch-multiplier 1",
	 NULL, CONFIG_FOR_RUN},
	{"beat", 'B', NULL, CLI_REFUSED, BEAT_TEXT, NULL, CONFIG_FOR_RUN},
	{"schedule", 's', "PATH", CLI_REFUSED, BEAT_TEXT, NULL, CONFIG_FOR_RUN},
	{"schedule-filename", 0, "PATH", CLI_REFUSED, BEAT_TEXT, NULL, CONFIG_FOR_RUN},
	{"scheduler", 0, "CLASS", CLI_REFUSED, BEAT_TEXT, NULL, CONFIG_FOR_RUN},
	{"executable", 0, "PATH", CLI_REFUSED, "there is no Python to name; leave it out", NULL,
	 CONFIG_FOR_RUN},
	{"loader", 0, "CLASS", CLI_REFUSED, "there is no Python loader; leave it out", NULL,
	 CONFIG_FOR_RUN},
	{"no-color", 'C', NULL, CLI_IGNORED, NULL, "Accepted: logs have no colours.",
	 CONFIG_FOR_ALL},
	{"skip-checks", 0, NULL, CLI_IGNORED, NULL,
	 "Accepted: there are no framework checks to skip.", CONFIG_FOR_RUN},
	{"set", 0, "NAME=VALUE", CLI_OWN, NULL,
	 "Any setting of docs/CONFIG.md or of a plug-in, by name.", CONFIG_FOR_ALL},
	{NULL, 0, NULL, CLI_OWN, NULL, NULL, 0},
};

/* One option as found: either a row of the table or a cli_option. */
struct match {
	const struct config_row *row;
	const struct cli_option *option;
	bool takes_value;
};

struct reader {
	struct config_store *store;
	const struct cli_use *use;
	struct err *err;
};

static bool is_same(const char *name, size_t len, const char *other)
{
	return other && strlen(other) == len && strncmp(name, other, len) == 0;
}

/* `len` 0: `name` is one letter. */
static bool match_option(const struct cli_option *list, unsigned command, const char *name,
			 size_t len, struct match *ret_match)
{
	for (; list && (list->name || list->letter); list++) {
		if (!(list->commands & command) ||
		    !(len ? is_same(name, len, list->name) : list->letter == name[0]))
			continue;
		*ret_match = (struct match){.option = list, .takes_value = list->arg != NULL};
		return true;
	}
	return false;
}

static bool match_find(const struct cli_use *use, const char *name, size_t len,
		       struct match *ret_match)
{
	if (match_option(use->own, use->command, name, len, ret_match))
		return true;
	for (size_t i = 0; i < config_row_count(); i++) {
		const struct config_row *row = config_row_at(i);

		if (!row->option || !(row->commands & use->command) ||
		    !(len ? is_same(name, len, row->option) : row->letter == name[0]))
			continue;
		*ret_match = (struct match){.row = row, .takes_value = row->arg != NULL};
		return true;
	}
	return match_option(cli_extra_options, use->command, name, len, ret_match);
}

static int put_option(struct reader *r, const char *setting, const char *value, const char *shown)
{
	auto_free char *where = mem_printf("option %s", shown);
	const struct config_found found = {.name = setting,
					   .text = value ? value : "true",
					   .origin = CONFIG_FROM_OPTION,
					   .where = where};

	return config_store_put(r->store, &found, r->err);
}

static int put_set(struct reader *r, const char *value)
{
	const char *equals = value ? strchr(value, '=') : NULL;
	auto_free char *name = NULL;

	if (!equals || equals == value)
		return err_set(r->err, ERR_INVALID, "option --set: '%.60s' is not NAME=VALUE",
			       value ? value : "");
	name = mem_dup(value, (size_t)(equals - value));
	return put_option(r, name, equals + 1, "--set");
}

/* `shown` is the option as written: "--broker", "-b". */
static int take(struct reader *r, const struct match *m, const char *shown, const char *value)
{
	const struct cli_option *o = m->option;

	if (m->row)
		return put_option(r, m->row->name, value, shown);
	switch (o->kind) {
	case CLI_OWN:
		if (is_same("set", 3, o->name))
			return put_set(r, value);
		return r->use->on_own(r->use->ctx, o, value, r->err);
	case CLI_ALIAS:
		return put_option(r, o->text, value, shown);
	case CLI_IGNORED:
		if (o->text)
			config_store_notice(r->store, "%s", o->text);
		return 0;
	case CLI_REFUSED:
		return err_set(r->err, ERR_UNSUPPORTED, "option %s: %s", shown, o->text);
	}
	return 0;
}

/* The known long option nearest to `name`, or NULL. */
static const char *nearest_option(const struct cli_use *use, const char *name)
{
	const struct cli_option *const lists[] = {use->own, cli_extra_options};
	struct text_guess guess = {.wanted = name, .most = (unsigned)strlen(name) / 3};

	for (size_t i = 0; i < config_row_count(); i++) {
		const struct config_row *row = config_row_at(i);

		if (row->option && (row->commands & use->command))
			text_guess_try(&guess, row->option);
	}
	for (size_t i = 0; i < 2; i++)
		for (const struct cli_option *o = lists[i]; o && (o->name || o->letter); o++)
			if (o->name && (o->commands & use->command))
				text_guess_try(&guess, o->name);
	return guess.nearest;
}

/* Reads the long option at argv[at]; *at moves to a value of its own. */
static int read_long(struct reader *r, int argc, char **argv, int *at)
{
	const char *name = argv[*at] + 2;
	size_t len = strcspn(name, "=");
	auto_free char *shown = mem_printf("--%.*s", (int)len, name);
	const char *value = NULL;
	struct match m;

	if (len == 0 || !match_find(r->use, name, len, &m)) {
		const char *nearest = nearest_option(r->use, shown + 2);

		return err_set(r->err, ERR_NOT_FOUND, "unknown option '%.60s'%s%s%s", shown,
			       nearest ? "; did you mean '--" : "", nearest ? nearest : "",
			       nearest ? "'?" : "");
	}
	if (name[len] == '=')
		value = name + len + 1;
	if (!m.takes_value && value)
		return err_set(r->err, ERR_INVALID, "option %s takes no value", shown);
	if (m.takes_value && !value) {
		if (*at + 1 >= argc)
			return err_set(r->err, ERR_INVALID, "option %s needs a value", shown);
		value = argv[++*at];
	}
	return take(r, &m, shown, value);
}

static int read_letters(struct reader *r, int argc, char **argv, int *at)
{
	for (const char *letter = argv[*at] + 1; *letter; letter++) {
		const char shown[] = {'-', letter[0], '\0'};
		const char *value = NULL;
		struct match m;

		if (!match_find(r->use, letter, 0, &m))
			return err_set(r->err, ERR_NOT_FOUND, "unknown option '%s'", shown);
		if (!m.takes_value) {
			if (take(r, &m, shown, NULL) != 0)
				return -1;
			continue;
		}
		value = letter[1] ? letter + 1 : *at + 1 < argc ? argv[++*at] : NULL;
		if (!value)
			return err_set(r->err, ERR_INVALID, "option %s needs a value", shown);
		return take(r, &m, shown, value);
	}
	return 0;
}

/* "-" and "-5" are arguments: `smallage call math.add -5 2`. */
static bool is_option(const char *text)
{
	return text[0] == '-' && text[1] != '\0' && !isdigit((unsigned char)text[1]) &&
	       text[1] != '.';
}

int cli_read(struct config_store *s, const struct cli_use *use, int argc, char **argv,
	     int *ret_rest, struct err *err)
{
	struct reader r = {.store = s, .use = use, .err = err};
	auto_free char **others = mem_calloc((size_t)argc + 1, sizeof(*others));
	int other_count = 0, kept = 0, at;

	for (at = 0; at < argc; at++) {
		int from = at;

		if (strcmp(argv[at], "--") == 0) {
			argv[kept++] = argv[at++];
			break;
		}
		if (!is_option(argv[at])) {
			others[other_count++] = argv[at];
			continue;
		}
		if ((argv[at][1] == '-' ? read_long(&r, argc, argv, &at)
					: read_letters(&r, argc, argv, &at)) != 0)
			return -1;
		while (from <= at)
			argv[kept++] = argv[from++];
	}
	for (; at < argc; at++)
		others[other_count++] = argv[at];
	memcpy(argv + kept, others, (size_t)other_count * sizeof(*others));
	*ret_rest = kept;
	return 0;
}

int cli_option_width(int argc, char *const *argv)
{
	const struct cli_use use = {.command = CONFIG_FOR_WORKER};
	const char *text = argv[0];
	bool is_long = text[0] == '-' && text[1] == '-';
	size_t len = is_long ? strcspn(text + 2, "=") : 0;
	struct match m;

	if (!is_option(text) || (is_long && len == 0) ||
	    !match_find(&use, text + (is_long ? 2 : 1), len, &m))
		return 0;
	if (!m.takes_value || (is_long ? text[2 + len] == '=' : text[2] != '\0'))
		return 1;
	return argc > 1 ? 2 : 1;
}
