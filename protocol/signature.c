/* Reading. Mirrors celery/canvas.py, Signature, and the option names of celery/app/base.py,
 * send_task(). */
#include "protocol/signature.h"

#include <math.h>
#include <string.h>

#include "base/text.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"

#define DELAY_MAX_S 3e9 /* beyond the times that ISO 8601 can write, but far from an overflow */

/* The option's value; NULL when absent or null, which is the same. */
static json_t *option(const struct signature *s, const char *name)
{
	json_t *value = json_object_get(s->options, name);

	return json_is_null(value) ? NULL : value;
}

static int wrong(const struct signature *s, const char *name, struct err *err)
{
	return pyjson_fail(err, ERR_INVALID, "the signature of %s has an unusable %s", s->task,
			   name);
}

static bool is_text(const json_t *value)
{
	const char *text = json_string_value(value);

	return text && strlen(text) == json_string_length(value);
}

static int read_texts(struct signature *s, struct err *err)
{
	const struct {
		const char *name, **to;
	} texts[] = {
		{"task_id", &s->task_id},	  {"group_id", &s->group_id},
		{"root_id", &s->root_id},	  {"parent_id", &s->parent_id},
		{"shadow", &s->shadow},		  {"origin", &s->origin},
		{"argsrepr", &s->argsrepr},	  {"kwargsrepr", &s->kwargsrepr},
		{"reply_to", &s->reply_to},	  {"queue", &s->queue},
		{"exchange", &s->exchange},	  {"exchange_type", &s->exchange_type},
		{"routing_key", &s->routing_key},
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		const json_t *value = option(s, texts[i].name);

		if (value && !is_text(value))
			return wrong(s, texts[i].name, err);
		/* Python: `x or default` everywhere. */
		if (value && json_string_length(value) > 0)
			*texts[i].to = json_string_value(value);
	}
	return 0;
}

static int read_integer(const struct signature *s, const char *name, int64_t min, int64_t max,
			int64_t *to, struct err *err)
{
	const json_t *value = option(s, name);

	if (!value)
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < min ||
	    json_integer_value(value) > max)
		return wrong(s, name, err);
	*to = json_integer_value(value);
	return 0;
}

static int read_integers(struct signature *s, struct err *err)
{
	int64_t priority = -1;

	if (read_integer(s, "group_index", 0, INT64_MAX, &s->group_index, err) < 0 ||
	    read_integer(s, "retries", 0, INT64_MAX - 1, &s->retries, err) < 0 ||
	    read_integer(s, "replaced_task_nesting", 0, INT64_MAX - 1, &s->replaced_task_nesting,
			 err) < 0 ||
	    read_integer(s, "priority", 0, 255, &priority, err) < 0)
		return -1;
	s->priority = (int)priority;
	return 0;
}

static int read_seconds(const struct signature *s, const char *name, double min, double *to,
			struct err *err)
{
	const json_t *value = option(s, name);

	if (!value)
		return 0;
	if (!json_is_number(value) || !(json_number_value(value) >= min) ||
	    json_number_value(value) > DELAY_MAX_S)
		return wrong(s, name, err);
	*to = json_number_value(value);
	return 0;
}

/* ISO 8601, plain or with kombu's tag of a datetime. */
static int read_time(const struct signature *s, const char *name, int64_t *to, struct err *err)
{
	const json_t *value = option(s, name);
	const char *text = json_string_value(value);

	if (value && pyjson_tag(value, &text) == PYJSON_PLAIN)
		text = json_string_value(value);
	if (!value || (text && !*text))
		return 0;
	if (!text || iso8601_parse(text, strlen(text), to, NULL, NULL) < 0)
		return wrong(s, name, err);
	return 0;
}

static int read_times(struct signature *s, struct err *err)
{
	const json_t *expires = option(s, "expires");
	double delay_s = 0, expires_s = 0;

	if (read_seconds(s, "countdown", -DELAY_MAX_S, &delay_s, err) < 0 ||
	    read_seconds(s, "time_limit", 0, &s->time_limit_s, err) < 0 ||
	    read_seconds(s, "soft_time_limit", 0, &s->soft_time_limit_s, err) < 0 ||
	    read_time(s, "eta", &s->eta_us, err) < 0)
		return -1;
	s->delay_us = llround(delay_s * 1e6);
	if (!json_is_number(expires))
		return read_time(s, "expires", &s->expires_us, err);
	if (read_seconds(s, "expires", -DELAY_MAX_S, &expires_s, err) < 0)
		return -1;
	s->expires_in_us = llround(expires_s * 1e6);
	return 0;
}

static int read_values(struct signature *s, struct err *err)
{
	const json_t *mode = option(s, "delivery_mode"), *ignore = option(s, "ignore_result");

	s->link = option(s, "link");
	s->link_error = option(s, "link_error");
	s->chain = option(s, "chain");
	s->chord = option(s, "chord");
	s->headers = option(s, "headers");
	s->stamped_headers = option(s, "stamped_headers");
	if (s->chain && !json_is_array(s->chain))
		return wrong(s, "chain", err);
	if (s->headers && !json_is_object(s->headers))
		return wrong(s, "headers", err);
	if (s->stamped_headers && !json_is_array(s->stamped_headers))
		return wrong(s, "stamped_headers", err);
	if (ignore)
		s->ignore_result = json_is_true(ignore) ? TRI_TRUE : TRI_FALSE;
	/* kombu's names and numbers. */
	if (mode)
		s->delivery_mode = json_integer_value(mode) == 1 ||
						   (json_is_string(mode) &&
						    !strcmp(json_string_value(mode), "transient"))
					   ? 1
					   : 2;
	return 0;
}

static int read_head(struct signature *s, const json_t *value, struct err *err)
{
	const json_t *task = json_object_get(value, "task"),
		     *subtask_type = json_object_get(value, "subtask_type"),
		     *options = json_object_get(value, "options");

	if (!is_text(task) || json_string_length(task) == 0)
		return err_set(err, ERR_INVALID, "a signature names no task");
	s->task = json_string_value(task);
	s->subtask_type = json_string_value(subtask_type);
	if (s->subtask_type && !*s->subtask_type)
		s->subtask_type = NULL;
	s->args = json_object_get(value, "args");
	s->kwargs = json_object_get(value, "kwargs");
	s->is_immutable = json_is_true(json_object_get(value, "immutable"));
	if (s->args && !json_is_null(s->args) && !json_is_array(s->args))
		return wrong(s, "args", err);
	if (s->kwargs && !json_is_null(s->kwargs) &&
	    (!json_is_object(s->kwargs) || pyjson_tag(s->kwargs, NULL) != PYJSON_PLAIN))
		return wrong(s, "kwargs", err);
	if (options && !json_is_null(options) && !json_is_object(options))
		return wrong(s, "options", err);
	s->options = options;
	return 0;
}

int signature_read(struct signature *s, const json_t *value, struct err *err)
{
	*s = (struct signature){
		.group_index = -1,
		.priority = -1,
		.expires_in_us = TIME_UNSET,
		.eta_us = TIME_UNSET,
		.expires_us = TIME_UNSET,
		.ignore_result = TRI_NULL,
	};
	if (read_head(s, value, err) < 0 || read_texts(s, err) < 0 || read_integers(s, err) < 0 ||
	    read_times(s, err) < 0)
		return -1;
	return read_values(s, err);
}
