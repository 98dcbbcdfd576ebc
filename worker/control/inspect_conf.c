/* Settings and versions for people: `conf` and `report`. Nothing secret is shown. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "worker/config/store.h"
#include "worker/config/value.h"
#include "worker/control/inspect.h"
#include "worker/control/mask.h"

#define MAX_REPORT 262144

static json_t *text_of(const char *text)
{
	json_t *value = json_string(text);

	return value ? value : json_string("");
}

static json_t *number_of(const char *text)
{
	char *end = NULL;

	errno = 0;
	long long integer = strtoll(text, &end, 10);

	if (errno == 0 && end != text && *end == '\0')
		return json_integer(integer);
	double real = strtod(text, &end);
	json_t *value = end != text && *end == '\0' ? json_real(real) : NULL;

	return value ? value : text_of(text);
}

static json_t *list_of(const char *text)
{
	char **items = config_value_list(text);
	json_t *list = json_array();

	for (char **item = items; item && *item; item++)
		json_array_append_new(list, text_of(*item));
	config_list_free(items);
	return list;
}

static json_t *bool_of(const char *text)
{
	bool value = false;

	return config_value_bool(text, &value, NULL) == 0 ? json_boolean(value) : text_of(text);
}

/* Celery's own default is a timedelta, which it shows as Python prints it. */
static bool is_day(const struct config_value *v)
{
	return v->origin == CONFIG_FROM_DEFAULT && strcmp(v->name, "result_expires") == 0 &&
	       strcmp(v->text, "86400") == 0;
}

/* "-1" where null was written. */
static bool is_null(const struct config_value *v)
{
	const char *null_text = v->row ? v->row->null_text : NULL;

	return null_text && *null_text == '-' && strcmp(v->text, null_text) == 0;
}

/* JSON, or names with commas between them. */
static json_t *tree_of(const char *text)
{
	json_t *value = pyjson_load(text, strlen(text), NULL);

	return value ? value : list_of(text);
}

static json_t *typed(const struct config_value *v)
{
	enum config_type type = v->row ? v->row->type : CONFIG_TEXT;
	json_t *value;

	if (!v->text || is_null(v))
		return json_null();
	if (is_day(v))
		return json_string("1 day, 0:00:00");
	switch (type) {
	case CONFIG_BOOL:
		return bool_of(v->text);
	case CONFIG_INT:
	case CONFIG_COUNT:
	case CONFIG_BYTES:
	case CONFIG_SECONDS:
		return number_of(v->text);
	case CONFIG_LIST:
		return list_of(v->text);
	case CONFIG_TREE:
		return tree_of(v->text);
	case CONFIG_JSON:
		value = pyjson_load(v->text, strlen(v->text), NULL);
		return value ? value : text_of(v->text);
	case CONFIG_TEXT:
	case CONFIG_URL:
	case CONFIG_POOL:
	case CONFIG_TYPE_COUNT:
		break;
	}
	return text_of(v->text);
}

/* A setting that nobody declared may be anything. */
static bool is_secret(const struct config_value *v)
{
	return v->row ? (v->row->flags & CONFIG_SECRET) != 0 : !v->def || v->def->is_secret;
}

static bool is_shown(const struct config_value *v, bool with_defaults)
{
	if (v->row && (v->row->flags & (CONFIG_OPTION_ONLY | CONFIG_NOT_IN_FILE)))
		return false;
	return with_defaults || v->origin != CONFIG_FROM_DEFAULT;
}

static json_t *table(const struct config *config, bool with_defaults)
{
	json_t *all = json_object();
	const struct config_value *v;

	for (size_t i = 0; (v = config_store_at(config->store, i)); i++) {
		json_t *value;

		if (!is_shown(v, with_defaults))
			continue;
		value = is_secret(v) ? json_string(MASK) : typed(v);
		json_object_set_new(all, v->name, mask_setting(v->name, value));
		json_decref(value);
	}
	return all;
}

json_t *inspect_conf(struct control *c, const json_t *arguments, struct control_error *error)
{
	(void)error;
	return table(c->config, control_is_true(arguments, "with_defaults"));
}

/* --- report --- */

static void add_software(struct str *out)
{
	struct utsname system;
	bool is_known = uname(&system) == 0;

	str_puts(out, "\nsoftware -> smallage:" SMALLAGE_VERSION " celery:5.7.0 (protocol) py:-\n");
	str_puts(out, "            billiard:- librabbitmq:rabbitmq-c\n");
	str_addf(out, "platform -> system:%s arch:%dbit, ELF\n", is_known ? system.sysname : "",
		 (int)(8 * sizeof(void *)));
	str_addf(out, "            kernel version:%s imp:C\n", is_known ? system.release : "");
	str_puts(out, "loader   -> smallage plug-ins\n");
}

static void add_servers(struct str *out, const struct config *config)
{
	struct broker_info info;
	bool is_known = broker_info_read(&info, config->broker_read_url);

	str_addf(out, "settings -> transport:%s results:", is_known ? info.transport : "");
	mask_urls(out, config->result_backend ? config->result_backend : "disabled", MASK);
	str_puts(out, "\n\n");
	broker_info_clear(&info);
}

json_t *inspect_report(struct control *c, const json_t *arguments, struct control_error *error)
{
	auto_str text = STR_INIT(MAX_REPORT);
	json_t *settings = table(c->config, false);
	const char *key;
	json_t *value;

	(void)arguments;
	(void)error;
	add_software(&text);
	add_servers(&text, c->config);
	json_object_foreach (settings, key, value) {
		str_addf(&text, "%s: ", key);
		pyjson_repr(&text, value, 4096, 0, false);
		str_addc(&text, '\n');
	}
	json_decref(settings);
	return control_ok("%s", text.data);
}
