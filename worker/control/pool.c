/* Commands about the pool, celery/worker/control.py. */
#include <limits.h>
#include <math.h>
#include <smallage/task.h>

#include "base/log.h"
#include "protocol/pyjson.h"
#include "worker/control/control.h"

static bool is_whole(const json_t *value)
{
	return json_is_integer(value) || json_is_boolean(value);
}

static json_int_t whole(const json_t *value)
{
	return json_is_boolean(value) ? json_is_true(value) : json_integer_value(value);
}

/* What pools other than prefork say, and a pool that an autoscaler sizes. */
static bool may_resize(const struct control *c, const char *verb, struct control_error *error)
{
	if (c->consumer->autoscale.pool) {
		control_refuse(error,
			       "pool_%s is not supported with autoscale. Adjust autoscale range "
			       "instead.",
			       verb);
		return false;
	}
	if (c->config->worker_pool != CONFIG_PREFORK) {
		control_raise(error, "AttributeError", "'TaskPool' object has no attribute '%s'",
			      verb);
		return false;
	}
	return true;
}

static unsigned clamp(json_int_t n)
{
	return n <= 0 ? 0 : n < INT_MAX ? (unsigned)n : INT_MAX;
}

static json_t *raise_err(struct control_error *error, const struct err *err)
{
	return control_raise(error, err->code == ERR_IO ? "OSError" : "ValueError", "%s",
			     err->text);
}

static json_t *run_grow(struct control *c, const json_t *arguments, struct control_error *error)
{
	const json_t *n = json_object_get(arguments, "n");
	struct err err = {0};

	if (!may_resize(c, "grow", error))
		return NULL;
	if (n && !is_whole(n))
		return control_raise(error, "TypeError",
				     "'%s' object cannot be interpreted as an integer",
				     pyjson_type_name(n));
	int ret = pool_grow(c->consumer->pool, n ? clamp(whole(n)) : 1, &err);

	qos_resize(c->consumer);
	return ret == 0 ? control_ok("pool will grow") : raise_err(error, &err);
}

/* Unlike Celery's, a number below 1 ends no process. */
static json_t *run_shrink(struct control *c, const json_t *arguments, struct control_error *error)
{
	const json_t *n = json_object_get(arguments, "n");
	struct err err = {0};
	json_int_t count = 1;

	if (!may_resize(c, "shrink", error))
		return NULL;
	if (n && !is_whole(n) && !json_is_real(n))
		return control_raise(error, "TypeError",
				     "unsupported operand type(s) for -: '%s' and 'int'",
				     pyjson_type_name(n));
	if (json_is_real(n))
		count = (json_int_t)fmin(fmax(ceil(json_real_value(n)), 0), INT_MAX);
	else if (n)
		count = whole(n);
	int ret = pool_shrink(c->consumer->pool, clamp(count), &err);

	qos_resize(c->consumer);
	return ret == 0 ? control_ok("pool will shrink") : raise_err(error, &err);
}

/* Plug-ins are loaded once, before the pool is forked: what changed in them needs a new worker. */
static json_t *run_restart(struct control *c, const json_t *arguments, struct control_error *error)
{
	if (!c->config->worker_pool_restarts)
		return control_raise(error, "ValueError", "Pool restarts not enabled");
	if (control_is_true(arguments, "modules") || control_is_true(arguments, "reload"))
		return control_raise(error, "ValueError",
				     "modules cannot be loaded anew; restart the worker");
	/* Pools of the other kinds do nothing here, as Celery's. */
	if (!pool_restart(c->consumer->pool))
		log_info("pool_restart: only a prefork pool has processes to replace");
	return control_ok("reload started");
}

/* One bound: absent and null keep what it is. False with `error`. */
static bool read_bound(const json_t *value, const char *comparison, unsigned *number,
		       const unsigned **ret, struct control_error *error)
{
	*ret = NULL;
	if (!value || json_is_null(value))
		return true;
	if (!json_is_number(value) && !json_is_boolean(value)) {
		control_raise(error, "TypeError",
			      "'%s' not supported between instances of '%s' and 'int'", comparison,
			      pyjson_type_name(value));
		return false;
	}
	if (!is_whole(value) || whole(value) < 0) {
		control_raise(error, "ValueError", "the bounds of autoscale are whole numbers");
		return false;
	}
	*number = clamp(whole(value));
	*ret = number;
	return true;
}

static json_t *run_autoscale(struct control *c, const json_t *arguments,
			     struct control_error *error)
{
	struct autoscale *a = &c->consumer->autoscale;
	const unsigned *max, *min;
	unsigned numbers[2];
	struct err err = {0};

	if (!a->pool)
		return control_raise(error, "ValueError", "Autoscale not enabled");
	if (!read_bound(json_object_get(arguments, "max"), "<", &numbers[0], &max, error) ||
	    !read_bound(json_object_get(arguments, "min"), ">", &numbers[1], &min, error))
		return NULL;
	int ret = autoscale_set(a, max, min, &err);

	qos_resize(c->consumer);
	if (ret != 0)
		return raise_err(error, &err);
	return control_ok("autoscale now max=%u min=%u", a->max, a->min);
}

const struct control_command control_pool_commands[] = {
	{.name = "pool_grow", .run = run_grow, .parameters = SM_NAMES("n"), .takes_extra = true},
	{.name = "pool_shrink",
	 .run = run_shrink,
	 .parameters = SM_NAMES("n"),
	 .takes_extra = true},
	{.name = "pool_restart",
	 .run = run_restart,
	 .parameters = SM_NAMES("modules", "reload", "reloader"),
	 .takes_extra = true},
	{.name = "autoscale", .run = run_autoscale, .parameters = SM_NAMES("max", "min")},
	{.name = NULL},
};
