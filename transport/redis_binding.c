#include "transport/redis_binding.h"

#include <string.h>

#include "base/mem.h"
#include "transport/redis_keys.h"
#include "transport/topic_pattern.h"

#define CHANNEL_MAX ((size_t)64 << 10)

char *redis_binding_key(const struct redis_options *o, const char *exchange)
{
	return mem_printf("%s_kombu.binding.%s", o->key_prefix, exchange);
}

char *redis_binding_permanent_key(const struct redis_options *o, const char *exchange)
{
	return mem_printf("%s_kombu.binding_permanent.%s", o->key_prefix, exchange);
}

int redis_exchange_type_check(const char *exchange, const char *type, struct err *err)
{
	static const char *const types[] = {"direct", "topic", "fanout"};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!type || strcmp(type, types[i]) == 0)
			return 0;
	return err_set(err, ERR_UNSUPPORTED,
		       "exchange '%.100s': type %.20s exists on RabbitMQ only; on Redis use "
		       "direct, topic or fanout",
		       exchange, type);
}

int redis_binding_write(struct str *out, const struct redis_options *o, const char *type,
			const char *binding_key, const char *queue)
{
	str_puts(out, binding_key);
	str_puts(out, o->separator);
	if (type && strcmp(type, "topic") == 0)
		topic_pattern_write(out, binding_key);
	str_puts(out, o->separator);
	str_puts(out, queue);
	return out->is_full ? -1 : 0;
}

/* Cuts what stands before the separator off the front. */
static bool cut(struct span *rest, const char *separator, struct span *ret_part)
{
	size_t len = strlen(separator);
	const char *at = len > 0 ? memmem(rest->data, rest->len, separator, len) : NULL;

	if (!at)
		return false;
	*ret_part = (struct span){rest->data, (size_t)(at - rest->data)};
	rest->len -= ret_part->len + len;
	rest->data = at + len;
	return true;
}

static bool is_text(struct span span, const char *text)
{
	return span.len == strlen(text) && memcmp(span.data, text, span.len) == 0;
}

static bool topic_matches(struct span key, struct span pattern, const char *routing_key)
{
	enum topic_match match = topic_pattern_matches(pattern.data, pattern.len, routing_key);

	if (match == TOPIC_FOREIGN)
		return topic_key_matches(key.data, key.len, routing_key);
	return match == TOPIC_YES;
}

bool redis_binding_matches(const char *member, size_t len, const struct redis_options *o,
			   const char *type, const char *routing_key, struct span *ret_queue)
{
	struct span rest = {member, len}, key, pattern;
	bool is_topic;

	if (!cut(&rest, o->separator, &key) || !cut(&rest, o->separator, &pattern) || rest.len == 0)
		return false;
	*ret_queue = rest;
	if (type && strcmp(type, "fanout") == 0)
		return true;
	/* A topic exchange that its binder took for a direct one has no patterns. */
	is_topic = pattern.len > 0 && (!type || strcmp(type, "topic") == 0);
	return is_topic ? topic_matches(key, pattern, routing_key) : is_text(key, routing_key);
}

static void put_fanout_prefix(struct str *out, const struct redis_options *o, int db)
{
	const char *p = o->fanout_prefix, *mark;

	str_puts(out, o->key_prefix);
	while ((mark = strstr(p, "{db}"))) {
		str_add(out, p, (size_t)(mark - p));
		str_addf(out, "%d", db);
		p = mark + 4;
	}
	str_puts(out, p);
}

char *redis_channel(const struct redis_options *o, int db, const char *exchange,
		    const char *routing_key)
{
	struct str out = STR_INIT(CHANNEL_MAX);

	put_fanout_prefix(&out, o, db);
	str_puts(&out, exchange);
	if (*routing_key && o->fanout_patterns)
		str_addf(&out, "/%s", routing_key);
	return str_detach(&out);
}

/* '#' is '*' here, which may stand for anything. */
static void put_wanted(struct str *out, const char *text, bool is_key, bool is_pattern)
{
	for (; *text; text++) {
		if (is_key && (*text == '#' || *text == '*')) {
			str_addc(out, '*');
			continue;
		}
		if (is_pattern && strchr("*?[]\\", *text))
			str_addc(out, '\\');
		str_addc(out, *text);
	}
}

/* Names are taken as they are, where kombu would take them as patterns. */
char *redis_channel_wanted(const struct redis_options *o, int db, const char *exchange,
			   const char *binding_key, bool *ret_is_pattern)
{
	auto_str prefix = STR_INIT(CHANNEL_MAX);
	struct str out = STR_INIT(CHANNEL_MAX);
	bool has_key = *binding_key && o->fanout_patterns;
	bool is_pattern = has_key && strpbrk(binding_key, "*#");

	put_fanout_prefix(&prefix, o, db);
	put_wanted(&out, prefix.data ? prefix.data : "", false, is_pattern);
	put_wanted(&out, exchange, false, is_pattern);
	if (has_key)
		str_addc(&out, '/');
	put_wanted(&out, has_key ? binding_key : "", true, is_pattern);
	*ret_is_pattern = is_pattern;
	return str_detach(&out);
}
