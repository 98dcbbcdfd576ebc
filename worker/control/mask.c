#include "worker/control/mask.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "transport/tls_options.h"
#include "transport/url.h"

#define MAX_DEPTH 16

/* Values of such names are never shown. */
static bool is_hidden(const char *name)
{
	static const char *const words[] = {"API",	"TOKEN",      "KEY",
					    "SECRET",	"PASS",	      "SIGNATURE",
					    "DATABASE", "BEAT_DBURI", "PROFANITIES_LIST"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasestr(name, words[i]))
			return true;
	return false;
}

/* A URL's end; its query may hold the password of a key. */
static void add_rest(struct str *out, const char *text, size_t len, const char *mask)
{
	static const char name[] = "ssl_password=";
	const char *found = memmem(text, len, name, sizeof(name) - 1);
	size_t before = found ? (size_t)(found - text) + sizeof(name) - 1 : len;
	size_t after = before;

	str_add(out, text, before);
	if (!found)
		return;
	while (after < len && text[after] != '&')
		after++;
	str_puts(out, mask);
	str_add(out, text + after, len - after);
}

/* The last '@' of the authority ends the user's part, so that an '@' in a password shows nothing of
 * it; a '/' in one is not known from the path, so everything up to the last '@' goes. */
static void mask_one(struct str *out, const char *url, size_t len, const char *mask)
{
	const char *sep = memmem(url, len, "://", 3);
	const char *rest = sep ? sep + 3 : url, *end = url + len;
	const char *at = memrchr(rest, '@', (size_t)(end - rest));
	const char *colon = at ? memchr(rest, ':', (size_t)(at - rest)) : NULL;
	const char *slash = at ? memchr(rest, '/', (size_t)(at - rest)) : NULL;

	if (!at) {
		add_rest(out, url, len, mask);
		return;
	}
	str_add(out, url, (size_t)(rest - url));
	if (colon) {
		str_add(out, rest, (size_t)(colon - rest));
		str_addf(out, ":%s", mask);
	} else if (slash) {
		str_puts(out, mask);
	} else {
		str_add(out, rest, (size_t)(at - rest));
	}
	add_rest(out, at, (size_t)(end - at), mask);
}

/* A ';' divides URLs only where a scheme follows: it may be part of a password. */
void mask_urls(struct str *out, const char *urls, const char *mask)
{
	while (*urls) {
		const char *next = urls;

		while ((next = strchr(next, ';'))) {
			const char *sep = strstr(next, "://");
			const char *other = strpbrk(next + 1, "@;/?");

			if (sep && other && other == sep + 1)
				break;
			next++;
		}
		size_t len = next ? (size_t)(next - urls) : strlen(urls);

		mask_one(out, urls, len, mask);
		urls += len;
		if (*urls == ';') {
			str_addc(out, ';');
			urls++;
		}
	}
}

static int default_port(const struct broker_info *info)
{
	if (info->is_redis)
		return strcmp(info->transport, "sentinel") == 0 ? 26379 : 6379;
	return !info->is_amqp ? 0 : info->is_tls ? 5671 : 5672;
}

bool broker_info_read(struct broker_info *info, const char *urls)
{
	auto_free char *first = url_list_item(urls, 0);
	struct url url;

	memset(info, 0, sizeof(*info));
	if (!first || url_parse(&url, first, NULL) != 0)
		return false;
	const char *scheme = strcmp(url.scheme, "pyamqp") == 0 ? "amqp" : url.scheme;

	info->is_tls = strcmp(scheme, "amqps") == 0 || strcmp(scheme, "rediss") == 0;
	info->is_amqp = strncmp(scheme, "amqp", 4) == 0;
	info->is_redis = strncmp(scheme, "redis", 5) == 0 || strcmp(scheme, "sentinel") == 0;
	info->transport = mem_strdup(scheme);
	info->hostname = mem_strdup(url.host ? url.host : "localhost");
	info->userid = mem_strdup(url.user ? url.user : info->is_amqp ? "guest" : NULL);
	info->virtual_host = mem_strdup(*url.path ? url.path : "/");
	info->port = url.port ? url.port : default_port(info);
	url_clear(&url);
	return true;
}

void broker_info_clear(struct broker_info *info)
{
	free(info->transport);
	free(info->hostname);
	free(info->userid);
	free(info->virtual_host);
	memset(info, 0, sizeof(*info));
}

/* Options of TLS with the numbers of Python's constants; the rest as it was said. */
static void tls_mask(json_t *said)
{
	const char *name;
	json_t *value;
	void *next;

	json_object_foreach_safe (said, next, name, value) {
		const char *text = json_string_value(value);

		if (strcasestr(name, "password"))
			json_object_set_new(said, name, json_string(MASK));
		else if (text && strstr(name, "cert_reqs"))
			json_object_set_new(said, name,
					    json_integer(strcasestr(text, "none")	? 0
							 : strcasestr(text, "optional") ? 1
											: 2));
		else if (text && strstr(name, "check_hostname"))
			json_object_set_new(said, name,
					    json_boolean(strcasecmp(text, "false") != 0));
	}
}

json_t *broker_info_tls(const char *urls, const char *setting)
{
	auto_free char *first = url_list_item(urls, 0);
	json_t *said = NULL;
	struct url url;

	if (!first || url_parse(&url, first, NULL) != 0)
		return json_false();
	said = tls_options_query(&url);
	if (!said && setting)
		said = json_loads(setting, JSON_DECODE_ANY, NULL);
	if (!json_is_true(said) && json_object_size(said) == 0) {
		json_decref(said);
		said = strcmp(url.scheme, "rediss") == 0
			       ? json_pack("{s:i}", "ssl_cert_reqs", 0)
			       : json_boolean(strcmp(url.scheme, "amqps") == 0);
	}
	tls_mask(said);
	url_clear(&url);
	return said;
}

/* kombu's Connection(value).as_uri(mask=...): the first URL, defaults filled in. */
static json_t *mask_broker(const json_t *value)
{
	struct broker_info info;
	auto_str text = STR_INIT(8192);

	if (!json_is_string(value))
		return json_is_null(value) ? json_null() : json_string(MASK);
	if (!broker_info_read(&info, json_string_value(value)))
		return json_string(MASK);
	str_addf(&text, "%s://", info.transport);
	if (info.userid || info.is_redis) /* of Redis also where there is no password */
		str_addf(&text, "%s:%s@", info.userid ? info.userid : "", MASK);
	str_puts(&text, info.hostname);
	if (info.port)
		str_addf(&text, ":%d", info.port);
	str_addf(&text, "/%s", info.virtual_host);
	broker_info_clear(&info);
	return json_string(text.data);
}

static json_t *mask_value(const char *name, const json_t *value, unsigned depth);

static json_t *mask_object(const json_t *object, unsigned depth)
{
	json_t *copy = json_object();
	const char *key;
	json_t *value;

	if (depth > MAX_DEPTH) {
		json_decref(copy);
		return json_string(MASK);
	}
	json_object_foreach ((json_t *)(uintptr_t)object, key, value)
		json_object_set_new(copy, key, mask_value(key, value, depth + 1));
	return copy;
}

static json_t *mask_value(const char *name, const json_t *value, unsigned depth)
{
	auto_str text = STR_INIT(65536);

	if (json_is_object(value))
		return mask_object(value, depth);
	if (is_hidden(name))
		return json_string(MASK);
	if (strcasecmp(name, "broker_url") == 0 || strcasecmp(name, "broker_read_url") == 0 ||
	    strcasecmp(name, "broker_write_url") == 0)
		return mask_broker(value);
	if (strcasestr(name, "backend") && json_is_string(value)) {
		mask_urls(&text, json_string_value(value), MASK);
		return json_string(text.data ? text.data : "");
	}
	return json_incref((json_t *)(uintptr_t)value);
}

json_t *mask_setting(const char *name, const json_t *value)
{
	return mask_value(name, value, 0);
}
