#include "worker/control/stats_pool.h"

#include <math.h>
#include <unistd.h>

#include "base/str.h"

/* The pool class of Celery that a client knows by this name. */
static const char *implementation(enum config_pool pool)
{
	switch (pool) {
	case CONFIG_THREADS:
		return "celery.concurrency.thread:TaskPool";
	case CONFIG_SOLO:
		return "celery.concurrency.solo:TaskPool";
	case CONFIG_PREFORK:
		break;
	}
	return "celery.concurrency.prefork:TaskPool";
}

static json_t *number(double value)
{
	return value == floor(value) && fabs(value) < 1e15 ? json_integer((json_int_t)value)
							   : json_real(value);
}

static json_t *list_pids(const struct pool *pool)
{
	struct pool_process process;
	json_t *pids = json_array();

	for (unsigned i = 0; pool_process_at(pool, i, &process); i++)
		if (process.pid > 0)
			json_array_append_new(pids, json_integer(process.pid));
	return pids;
}

/* AsynPool.human_write_stats(): processes that never got a task are not counted. */
static json_t *write_stats(const struct pool *pool)
{
	uint64_t total = 0;
	unsigned count = 0, processes = 0, active = 0;
	struct pool_process process;
	auto_str all = STR_INIT(1 << 20);
	auto_str raw = STR_INIT(1 << 20);

	for (unsigned i = 0; pool_process_at(pool, i, &process); i++)
		total += process.written;
	for (unsigned i = 0; pool_process_at(pool, i, &process); i++) {
		const char *comma = count > 0 ? ", " : "";

		processes += process.pid > 0;
		active += process.is_writing;
		if (process.written == 0)
			continue;
		count++;
		str_addf(&all, "%s%.2f", comma, (double)process.written / (double)total);
		str_addf(&raw, "%s%llu", comma, (unsigned long long)process.written);
	}
	auto_str average = STR_INIT(64);

	str_addf(&average, "%.2f", count > 0 ? 1.0 / count : 0.0);
	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:{s:i, s:i}}", "total", (json_int_t)total,
			 "avg", average.data, "all", all.data ? all.data : "", "raw",
			 raw.data ? raw.data : "", "strategy", "fair", "inqueues", "total",
			 (int)processes, "active", (int)active);
}

static void add_prefork(json_t *out, const struct control *c)
{
	const struct config *config = c->config;
	unsigned most = config->worker_max_tasks_per_child;

	json_object_set_new(out, "processes", list_pids(c->consumer->pool));
	json_object_set_new(out, "max-tasks-per-child",
			    most > 0 ? json_integer(most) : json_string("N/A"));
	json_object_set_new(out, "put-guarded-by-semaphore", json_false());
	json_object_set_new(out, "timeouts",
			    json_pack("[o, o]", number(config->task_soft_time_limit),
				      number(config->task_time_limit)));
	json_object_set_new(out, "writes", write_stats(c->consumer->pool));
}

json_t *stats_pool(const struct control *c)
{
	const struct config *config = c->config;
	json_t *out = json_object();
	unsigned limit =
		config->autoscale_max > 0 ? config->autoscale_min : config->worker_concurrency;

	if (config->worker_pool == CONFIG_SOLO)
		limit = 1;
	json_object_set_new(out, "implementation",
			    json_string(implementation(config->worker_pool)));
	json_object_set_new(out, "max-concurrency", json_integer(limit));
	switch (config->worker_pool) {
	case CONFIG_PREFORK:
		add_prefork(out, c);
		break;
	case CONFIG_THREADS:
		json_object_set_new(out, "threads", json_integer(pool_size(c->consumer->pool)));
		break;
	case CONFIG_SOLO:
		json_object_set_new(out, "processes", json_pack("[i]", (int)getpid()));
		json_object_set_new(out, "max-tasks-per-child", json_null());
		json_object_set_new(out, "put-guarded-by-semaphore", json_true());
		json_object_set_new(out, "timeouts", json_array());
		break;
	}
	return out;
}

json_t *stats_autoscaler(const struct control *c)
{
	const struct autoscale *a = &c->consumer->autoscale;

	if (!a->pool)
		return NULL;
	return json_pack("{s:I, s:I, s:I, s:I}", "max", (json_int_t)a->max, "min",
			 (json_int_t)a->min, "current", (json_int_t)pool_size(a->pool), "qty",
			 (json_int_t)a->quantity(a->ctx));
}
