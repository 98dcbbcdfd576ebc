#include "transport/redis_options.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"

#define RESTORE_INTERVAL_S 10.0
#define RESTORE_THROTTLE   10.0
#define MAX_SECONDS	   1e9

static int fail(struct err *err, const char *name, const char *wanted)
{
	return err_set(err, ERR_INVALID, "broker_transport_options: %s must be %s", name, wanted);
}

static int read_text(char **ret, const json_t *options, const char *name, const char *otherwise,
		     struct err *err)
{
	const json_t *value = json_object_get(options, name);
	const char *text = value && !json_is_null(value) ? json_string_value(value) : otherwise;

	if (text == NULL)
		return fail(err, name, "a text");
	*ret = mem_strdup(text);
	return 0;
}

/* A key must have a name. */
static int read_key(char **ret, const json_t *options, const char *name, const char *otherwise,
		    struct err *err)
{
	if (read_text(ret, options, name, otherwise, err) < 0)
		return -1;
	return (*ret)[0] == '\0' ? fail(err, name, "a text that is not empty") : 0;
}

static int read_seconds(double *ret, const json_t *options, const char *name, double otherwise,
			struct err *err)
{
	const json_t *value = json_object_get(options, name);

	*ret = otherwise;
	if (value == NULL || json_is_null(value))
		return 0;
	if (!json_is_number(value) || json_number_value(value) < 0 ||
	    json_number_value(value) > MAX_SECONDS)
		return fail(err, name, "a number that is not negative");
	*ret = json_number_value(value);
	return 0;
}

static int read_fanout(struct redis_options *o, const json_t *options, struct err *err)
{
	const json_t *prefix = json_object_get(options, "fanout_prefix");
	const json_t *patterns = json_object_get(options, "fanout_patterns");

	if (json_is_string(prefix))
		o->fanout_prefix = mem_strdup(json_string_value(prefix));
	else if (prefix == NULL || json_is_true(prefix))
		o->fanout_prefix = mem_strdup("/{db}.");
	else if (json_is_false(prefix) || json_is_null(prefix))
		o->fanout_prefix = mem_strdup("");
	else
		return fail(err, "fanout_prefix", "true, false or a text");
	if (patterns != NULL && !json_is_boolean(patterns))
		return fail(err, "fanout_patterns", "true or false");
	o->fanout_patterns = patterns == NULL || json_is_true(patterns);
	return 0;
}

static int read_steps(struct redis_options *o, const json_t *options, struct err *err)
{
	static const int usual[] = {0, 3, 6, 9};
	const json_t *steps = json_object_get(options, "priority_steps");

	if (steps == NULL || json_is_null(steps)) {
		memcpy(o->steps, usual, sizeof(usual));
		o->step_count = sizeof(usual) / sizeof(usual[0]);
		return 0;
	}
	if (!json_is_array(steps) || json_array_size(steps) == 0 ||
	    json_array_size(steps) > REDIS_MAX_STEPS)
		return fail(err, "priority_steps", "a list of up to 32 numbers");
	for (size_t i = 0; i < json_array_size(steps); i++) {
		const json_t *step = json_array_get(steps, i);
		json_int_t number = json_integer_value(step);

		if (!json_is_integer(step) || number < 0 || number > 255 ||
		    (i > 0 && number <= o->steps[i - 1]))
			return fail(err, "priority_steps", "numbers from 0 to 255 that grow");
		o->steps[i] = (int)number;
	}
	o->step_count = (unsigned)json_array_size(steps);
	return 0;
}

static int read_order(struct redis_options *o, const json_t *options, struct err *err)
{
	static const char *const names[] = {"round_robin", "priority", "sorted"};
	auto_free char *text = NULL;

	if (read_text(&text, options, "queue_order_strategy", names[0], err) < 0)
		return -1;
	for (unsigned i = 0; text && i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) == 0) {
			o->order = (enum redis_order)i;
			return 0;
		}
	}
	return fail(err, "queue_order_strategy", "round_robin, priority or sorted");
}

static int read_unacked(struct redis_options *o, const json_t *options, struct err *err)
{
	double every_s, throttle, limit;

	if (read_key(&o->unacked_key, options, "unacked_key", "unacked", err) < 0 ||
	    read_key(&o->unacked_index_key, options, "unacked_index_key", "unacked_index", err) <
		    0 ||
	    read_key(&o->unacked_mutex_key, options, "unacked_mutex_key", "unacked_mutex", err) <
		    0 ||
	    read_seconds(&o->unacked_mutex_expire_s, options, "unacked_mutex_expire", 300, err) <
		    0 ||
	    read_seconds(&o->visibility_timeout_s, options, "visibility_timeout", 3600, err) < 0 ||
	    read_seconds(&every_s, options, "unacked_restore_interval", RESTORE_INTERVAL_S, err) <
		    0 ||
	    read_seconds(&throttle, options, "unacked_restore_throttle", RESTORE_THROTTLE, err) <
		    0 ||
	    read_seconds(&limit, options, "unacked_restore_limit", 0, err) < 0)
		return -1;
	o->restore_interval_s = every_s * (throttle < 1 ? 1 : throttle);
	o->restore_limit = (size_t)limit;
	if (o->visibility_timeout_s < 1)
		return fail(err, "visibility_timeout", "at least one second");
	return 0;
}

int redis_options_read(struct redis_options *o, const char *json, struct err *err)
{
	json_auto_t *options = NULL;

	if (json && json[0]) {
		options = pyjson_load(json, strlen(json), err);
		if (options == NULL)
			return err_prefix(err, "broker_transport_options: ");
	}
	if (read_text(&o->key_prefix, options, "global_keyprefix", "", err) < 0 ||
	    read_text(&o->separator, options, "sep", "\x06\x16", err) < 0 ||
	    read_fanout(o, options, err) < 0 || read_steps(o, options, err) < 0 ||
	    read_order(o, options, err) < 0 || read_unacked(o, options, err) < 0)
		return -1;
	return read_seconds(&o->polling_interval_s, options, "polling_interval", 1, err);
}

void redis_options_clear(struct redis_options *o)
{
	free(o->key_prefix);
	free(o->fanout_prefix);
	free(o->separator);
	free(o->unacked_key);
	free(o->unacked_index_key);
	free(o->unacked_mutex_key);
	memset(o, 0, sizeof(*o));
}
