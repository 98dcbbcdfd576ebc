#include "worker/config/config.h"
#include "protocol/auth.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "transport/url.h"
#include "worker/config/cli.h"
#include "worker/config/derive.h"
#include "worker/config/store.h"
#include "worker/config/value.h"

#define DEFAULT_FILE "smallage.yaml"
#define HIDDEN	     "********"

/* For config_setting only: the task API's callback has no place for a context. */
static const struct config *last_loaded;

static void member_free(struct config *c, const struct config_row *row)
{
	char *member = (char *)c + row->field;

	switch (row->type) {
	case CONFIG_TEXT:
	case CONFIG_URL:
	case CONFIG_JSON:
	case CONFIG_TREE:
		free(*(char **)(void *)member);
		break;
	case CONFIG_LIST:
		config_list_free(*(char ***)(void *)member);
		break;
	case CONFIG_BOOL:
	case CONFIG_INT:
	case CONFIG_COUNT:
	case CONFIG_BYTES:
	case CONFIG_SECONDS:
	case CONFIG_POOL:
	case CONFIG_TYPE_COUNT:
		break;
	}
}

void config_free(struct config *c)
{
	if (!c)
		return;
	if (last_loaded == c)
		last_loaded = NULL;
	for (size_t i = 0; i < config_row_count(); i++)
		if (config_row_at(i)->field != CONFIG_NO_FIELD)
			member_free(c, config_row_at(i));
	config_list_free(c->notices);
	routing_free(c->routing);
	auth_free(c->auth);
	config_store_free(c->store);
	free(c);
}

static void config_free_ptr(struct config **c)
{
	config_free(*c);
}

/* Where we came from is kept for daemon_restart, which runs the same command line again. */
static int enter_folder(const char *folder, struct err *err)
{
	auto_free char *here = getcwd(NULL, 0);

	if (here)
		setenv("SMALLAGE_START_DIR", here, 1);
	return chdir(folder) == 0 ? 0 : err_errno(err, "workdir %s", folder);
}

/* Options and environment first: they may name the folder and the file. */
static int read_sources(struct config *c, const struct cli_use *use, int argc, char **argv,
			int *ret_rest, struct err *err)
{
	const char *path, *folder;
	bool was_there;

	if (cli_read(c->store, use, argc, argv, ret_rest, err) != 0 ||
	    config_environment_read(c->store, environ, err) != 0)
		return -1;
	folder = config_store_text(c->store, "workdir");
	if (folder && folder[0] && enter_folder(folder, err) != 0)
		return -1;
	path = config_store_text(c->store, "config");
	if (config_file_read(c->store, path && path[0] ? path : DEFAULT_FILE, path && path[0],
			     &was_there, err) != 0)
		return -1;
	if (was_there && !path)
		config_store_derive(c->store, "config", DEFAULT_FILE, "found there");
	return 0;
}

static int fill(struct config *c, struct err *err)
{
	for (size_t i = 0; i < config_row_count(); i++) {
		const struct config_value *v = config_store_get(c->store, config_row_at(i)->name);

		if (config_value_apply(c, v->row, v->text, err) != 0)
			return err_prefix(err, "%s: %s: ", v->where, v->name);
	}
	return 0;
}

struct config *config_load_for(const struct cli_use *use, int argc, char **argv, int *ret_rest,
			       struct err *err)
{
	__attribute__((cleanup(config_free_ptr))) struct config *c = mem_calloc(1, sizeof(*c));
	struct config *loaded;
	int rest = 0;

	c->store = config_store_new();
	if (read_sources(c, use, argc, argv, &rest, err) != 0)
		return NULL;
	if (!ret_rest && rest < argc) {
		err_set(err, ERR_INVALID, "unexpected argument '%.60s'", argv[rest]);
		return NULL;
	}
	/* `status` asks a running worker, whose servers its own options may name. */
	if (!(use->command & CONFIG_FOR_ALONE) && derive_servers(c->store, err) != 0)
		return NULL;
	if (fill(c, err) != 0 || derive_rest(c, c->store, err) != 0)
		return NULL;
	c->notices = config_store_take_notices(c->store);
	if (ret_rest)
		*ret_rest = rest;
	loaded = c;
	c = NULL;
	last_loaded = loaded;
	return loaded;
}

struct config *config_load(int argc, char **argv, int *ret_rest, struct err *err)
{
	static const struct cli_use worker = {.command = CONFIG_FOR_WORKER};

	return config_load_for(&worker, argc, argv, ret_rest, err);
}

void config_declare(struct config *c, const struct sm_setting_def *settings)
{
	for (; settings && settings->name; settings++)
		config_store_declare(c->store, settings);
}

int config_check_unknown(const struct config *c, struct err *err)
{
	return config_store_check_unknown(c->store, err);
}

const char *config_get(const struct config *c, const char *name)
{
	const char *text = config_store_text(c->store, name);

	return text ? text : "";
}

const char *config_setting(const char *name)
{
	return last_loaded ? config_get(last_loaded, name) : "";
}

const char *config_where(const struct config *c, const char *name)
{
	const struct config_value *v = config_store_get(c->store, name);

	return v ? v->where : "nowhere";
}

/* Each URL of a fail-over list without its password. */
static void dump_urls(struct str *out, const char *urls)
{
	for (unsigned i = 0;; i++) {
		auto_free char *item = url_list_item(urls, i);
		struct url url;

		if (!item)
			return;
		if (i > 0)
			str_addc(out, ';');
		if (url_parse(&url, item, NULL) != 0) {
			str_puts(out, HIDDEN);
			continue;
		}
		url_format_redacted(out, &url);
		url_clear(&url);
	}
}

static void dump_value(struct str *out, const struct config_value *v)
{
	bool is_secret = v->row ? (v->row->flags & CONFIG_SECRET) != 0
				: !v->def || v->def->is_secret; /* unknown: rather not */
	bool may_hold_secret = v->row &&
			       (v->row->type == CONFIG_JSON || v->row->type == CONFIG_TREE) &&
			       v->text && strstr(v->text, "password");

	str_addf(out, "%s = ", v->name);
	if (!v->text || !v->text[0])
		str_puts(out, "(unset)");
	else if (is_secret || may_hold_secret)
		str_puts(out, HIDDEN);
	else if (v->row && v->row->type == CONFIG_URL)
		dump_urls(out, v->text);
	else
		str_puts(out, v->text);
	str_addf(out, "  (%s)\n", v->where);
}

static void dump(const struct config *c, bool with_defaults, struct str *out)
{
	const struct config_value *v;

	for (size_t i = 0; (v = config_store_at(c->store, i)); i++)
		if (with_defaults || strcmp(v->where, "default") != 0)
			dump_value(out, v);
}

void config_dump(const struct config *c, struct str *out)
{
	dump(c, true, out);
}

void config_dump_given(const struct config *c, struct str *out)
{
	dump(c, false, out);
}
