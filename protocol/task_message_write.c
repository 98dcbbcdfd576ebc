/* The way out. Mirrors celery/app/amqp.py, as_task_v2(). */
#include <math.h>
#include <string.h>

#include "base/text.h"
#include "protocol/pyjson.h"
#include "protocol/task_message.h"

static void put(json_t *object, const char *name, json_t *value)
{
	json_object_set_new_nocheck(object, name, value);
}

static json_t *text_or_null(const char *text)
{
	return text ? json_string_nocheck(text) : json_null();
}

static json_t *time_or_null(int64_t unix_us)
{
	char text[40];

	if (unix_us == TIME_UNSET)
		return json_null();
	iso8601_format(unix_us, 0, text);
	return json_string_nocheck(text);
}

static json_t *limit_or_null(double seconds)
{
	if (seconds == 0)
		return json_null();
	if (seconds == floor(seconds) && seconds < 1e15)
		return json_integer((json_int_t)seconds);
	return json_real(seconds);
}

static json_t *tristate_value(enum tristate value)
{
	switch (value) {
	case TRI_FALSE:
		return json_false();
	case TRI_TRUE:
		return json_true();
	case TRI_NULL:
		break;
	}
	return json_null();
}

/* Text that was JSON when it was read. */
static json_t *json_or(const char *text, json_t *otherwise)
{
	json_t *value = text ? pyjson_load(text, strlen(text), NULL) : NULL;

	if (!value)
		return otherwise;
	json_decref(otherwise);
	return value;
}

static bool is_x_death(const char *name)
{
	return strcmp(name, "x-death") == 0 || strncmp(name, "x-first-death-", 14) == 0 ||
	       strncmp(name, "x-last-death-", 13) == 0;
}

/* User headers go to the top level; one of a known name wins, as dict.update() has it. */
static void put_custom(json_t *headers, const char *text)
{
	json_t *custom = json_or(text, json_object());

	for (void *it = json_object_iter(custom); it; it = json_object_iter_next(custom, it)) {
		const char *name = json_object_iter_key(it);

		if (!is_x_death(name))
			json_object_setn_new_nocheck(headers, name, json_object_iter_key_len(it),
						     json_incref(json_object_iter_value(it)));
	}
	json_decref(custom);
}

json_t *task_message_headers(const struct task_message *t)
{
	json_t *h = json_object(), *timelimit = json_array();

	json_array_append_new(timelimit, limit_or_null(t->time_limit_s));
	json_array_append_new(timelimit, limit_or_null(t->soft_time_limit_s));
	put(h, "lang", json_string_nocheck(t->lang ? t->lang : "py"));
	put(h, "task", text_or_null(t->task));
	put(h, "id", text_or_null(t->id));
	put(h, "shadow", text_or_null(t->shadow));
	put(h, "eta", time_or_null(t->eta_us));
	put(h, "expires", time_or_null(t->expires_us));
	put(h, "group", text_or_null(t->group));
	put(h, "group_index", t->group_index < 0 ? json_null() : json_integer(t->group_index));
	put(h, "retries", json_integer(t->retries));
	put(h, "timelimit", timelimit);
	put(h, "root_id", text_or_null(t->root_id && *t->root_id ? t->root_id : t->id));
	put(h, "parent_id", text_or_null(t->parent_id));
	put(h, "argsrepr", text_or_null(t->argsrepr));
	put(h, "kwargsrepr", text_or_null(t->kwargsrepr));
	put(h, "origin", text_or_null(t->origin));
	put(h, "ignore_result", tristate_value(t->ignore_result));
	put(h, "replaced_task_nesting", json_integer(t->replaced_task_nesting));
	put(h, "stamped_headers", json_or(t->stamped_headers, json_null()));
	put(h, "stamps", json_or(t->stamps, json_object()));
	put_custom(h, t->custom_headers);
	return h;
}

static void add_part(struct str *out, const char *key, struct span value)
{
	str_puts(out, key);
	if (value.data)
		str_add(out, value.data, value.len);
	else
		str_puts(out, "null");
}

int task_message_write_body(struct str *out, const struct task_message *t)
{
	str_addc(out, '[');
	str_add(out, t->args.data, t->args.len);
	add_part(out, ", ", t->kwargs);
	add_part(out, ", {\"callbacks\": ", t->callbacks);
	add_part(out, ", \"errbacks\": ", t->errbacks);
	add_part(out, ", \"chain\": ", t->chain);
	add_part(out, ", \"chord\": ", t->chord);
	str_puts(out, "}]");
	return out->is_full ? -1 : 0;
}
