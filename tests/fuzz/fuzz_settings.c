/*
 * Settings as a user may write them. First byte: what the rest is, a settings file, or pieces that
 * end with a NUL: an environment, a command line, or names and values. Whatever is taken can be
 * applied, shown and freed, and no secret is ever shown.
 */
#include <smallage/task.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/fuzz/fuzz.h"
#include "worker/config/cli.h"
#include "worker/config/config.h"
#include "worker/config/derive.h"
#include "worker/config/nodename.h"
#include "worker/config/store.h"
#include "worker/config/value.h"

enum { FROM_FILE, FROM_ENVIRONMENT, FROM_OPTIONS, FROM_NAMES, FROM_COUNT };
enum { PIECES_MAX = 32 };

#define SECRET "S3cr3t-9f"

static const struct sm_setting_def plugin_settings[] = {
	{"fuzz_token", "FUZZ_TOKEN", "", "a plug-in's secret", true},
	{"fuzz_folder", "FUZZ_FOLDER", "/tmp", "a plug-in's setting", false},
	{NULL, NULL, NULL, NULL, false},
};

struct pieces {
	char *text[PIECES_MAX + 1];
	int count;
};

static struct pieces pieces_cut(const uint8_t *data, size_t size)
{
	struct pieces p = {.count = 0};

	while (size > 0 && p.count < PIECES_MAX)
		p.text[p.count++] = fuzz_cut(&data, &size, '\0', NULL);
	return p;
}

static void pieces_free(struct pieces *p)
{
	for (int i = 0; i < p->count; i++)
		free(p->text[i]);
}

static int read_file(struct config_store *s, const uint8_t *data, size_t size, struct err *err)
{
	int fd = memfd_create("settings", MFD_CLOEXEC);
	auto_free char *path = mem_printf("/proc/self/fd/%d", fd);
	bool was_there = false;
	int result;

	fuzz_check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	fuzz_check(lseek(fd, 0, SEEK_SET) == 0);
	result = config_file_read(s, path, true, &was_there, err);
	fuzz_check(was_there);
	close(fd);
	return result;
}

static int own_option(void *ctx, const struct cli_option *option, const char *value,
		      struct err *err)
{
	(void)ctx;
	(void)err;
	fuzz_check(option && (!option->arg == !value));
	return 0;
}

static int read_options(struct config_store *s, const struct pieces *given, struct err *err)
{
	static const enum config_command commands[] = {CONFIG_FOR_WORKER, CONFIG_FOR_CHECK,
						       CONFIG_FOR_CALL, CONFIG_FOR_STATUS};
	static const struct cli_option own[] = {
		{"args", 'a', "JSON", CLI_OWN, NULL, "", CONFIG_FOR_ALL},
		{"quick", 0, NULL, CLI_OWN, NULL, "", CONFIG_FOR_ALL},
		{NULL, 0, NULL, CLI_OWN, NULL, NULL, 0},
	};
	struct pieces copy = *given, *p = &copy; /* to be permuted */
	struct cli_use use = {.command = commands[p->count % 4], .own = own, .on_own = own_option};

	uintptr_t before = 0, after = 0;
	int rest = -1, result, width;

	for (int i = 0; i < p->count; i++)
		before += (uintptr_t)p->text[i];
	width = p->count ? cli_option_width(p->count, p->text) : 0;
	fuzz_check(width >= 0 && width <= 2 && width <= p->count);
	result = cli_read(s, &use, p->count, p->text, &rest, err);
	if (result == 0)
		fuzz_check(rest >= 0 && rest <= p->count);
	else
		return result;
	for (int i = 0; i < p->count; i++)
		after += (uintptr_t)p->text[i];
	fuzz_check(before == after);
	return 0;
}

static void check_hidden(const struct config *c)
{
	auto_str shown;

	str_init(&shown, STR_MAX_DEFAULT);
	config_dump(c, &shown);
	fuzz_check(!strstr(shown.data, SECRET));
}

static void put(struct config_store *s, const char *name, const char *text)
{
	const struct config_found found = {
		.name = name, .text = text, .origin = CONFIG_FROM_OPTION, .where = "option --set"};

	fuzz_check(config_store_put(s, &found, NULL) == 0);
}

/* What the program does with the values; then the same with secrets that would be seen. */
static void use_store(struct config *c, bool with_rest, const char *text)
{
	auto_free char *secret = mem_printf(SECRET "%s", text);
	auto_free char *url = mem_printf("amqp://user:" SECRET "@%s", text);
	struct err err = {0};

	config_declare(c, plugin_settings);
	(void)config_check_unknown(c, &err);
	(void)derive_servers(c->store, &err);
	for (size_t i = 0; i < config_row_count(); i++) {
		const struct config_row *row = config_row_at(i);

		(void)config_value_apply(c, row, config_store_text(c->store, row->name), &err);
	}
	if (with_rest && err.code == ERR_NONE)
		(void)derive_rest(c, c->store, &err);
	for (size_t i = 0; i < config_row_count(); i++) {
		const struct config_row *row = config_row_at(i);
		struct err refused = {0};

		if (!(row->flags & CONFIG_SECRET))
			continue;
		put(c->store, row->name, secret);
		(void)config_value_apply(c, row, secret, &refused);
		fuzz_check(!strstr(refused.text, SECRET));
	}
	put(c->store, "fuzz_token", secret);
	put(c->store, "broker_url", url);
	err_clear(&err);
	(void)derive_servers(c->store, &err);
	fuzz_check(!strstr(err.text, SECRET));
	check_hidden(c);
}

static void check_list(const char *text)
{
	char **list = config_value_list(text), **again;
	struct str joined;
	size_t i;

	str_init(&joined, STR_MAX_DEFAULT);
	str_puts(&joined, "");
	for (i = 0; list && list[i]; i++) {
		fuzz_check(list[i][0] && !strchr(list[i], ','));
		str_addf(&joined, "%s%s", i ? " ," : "", list[i]);
	}
	again = config_value_list(joined.data);
	for (i = 0; list && list[i]; i++)
		fuzz_check(again && again[i] && strcmp(list[i], again[i]) == 0);
	fuzz_check(!again || !again[i]);
	config_list_free(list);
	config_list_free(again);
	str_clear(&joined);
}

static void check_node(const char *option, const char *host, const char *path)
{
	struct err err = {0};
	auto_free char *node = nodename_expand(option, host, &err);
	auto_free char *same = NULL, *formatted = NULL;

	fuzz_check(!node == (err.code != ERR_NONE));
	if (!node)
		return;
	fuzz_check(strchr(node, '@'));
	same = nodename_format("%p", node, &err);
	fuzz_check(same && strcmp(same, node) == 0);
	formatted = nodename_format(path, node, &err);
	fuzz_check(!formatted == (err.code != ERR_NONE));
	if (!strchr(path, '%') && formatted)
		fuzz_check(strcmp(formatted, path) == 0);
}

/* Option -n, host, path, and each further piece as the value of every setting. */
static void use_names(struct pieces *p)
{
	struct config *c = mem_calloc(1, sizeof(*c));

	if (p->count >= 3 && *p->text[1])
		check_node(p->text[0], p->text[1], p->text[2]);
	for (int i = 3; i < p->count; i++) {
		bool value;

		check_list(p->text[i]);
		(void)config_value_bool(p->text[i], &value, NULL);
		for (size_t row = 0; row < config_row_count(); row++) {
			struct err err = {0};
			int result = config_value_apply(c, config_row_at(row), p->text[i], &err);

			fuzz_check((result == 0) == (err.code == ERR_NONE));
		}
	}
	config_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *c;
	struct pieces pieces = {.count = 0};
	struct err err = {0};
	int kind, result;

	if (size == 0 || memmem(data, size, SECRET, strlen(SECRET)))
		return 0;
	kind = data[0] % FROM_COUNT;
	if (kind != FROM_FILE)
		pieces = pieces_cut(data + 1, size - 1);
	if (kind == FROM_NAMES) {
		use_names(&pieces);
		pieces_free(&pieces);
		return 0;
	}
	c = mem_calloc(1, sizeof(*c));
	c->store = config_store_new();
	if (kind == FROM_FILE)
		result = read_file(c->store, data + 1, size - 1, &err);
	else if (kind == FROM_ENVIRONMENT)
		result = config_environment_read(c->store, pieces.text, &err);
	else
		result = read_options(c->store, &pieces, &err);
	fuzz_check((result == 0) == (err.code == ERR_NONE));
	if (result == 0)
		use_store(c, data[0] & 0x80, pieces.count ? pieces.text[0] : "host");
	config_free(c);
	pieces_free(&pieces);
	return 0;
}
