/*
 * Names: finding a row, and the settings of Celery that this version does not have. The latter are
 * listed so that a settings file carried over from Celery is answered with the reason instead of
 * "unknown". Source: celery/app/defaults.py of 5.7.
 */
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "worker/config/table.h"

/* A name that ends with '_' stands for its whole family. A value is the one thing we do anyway, so
 * that naming it is the truth. */
static const struct config_fixed fixed_rows[] = {
	{"enable_utc", "true", NULL},
	{"event_serializer", "json", NULL},
	{"task_protocol", "2", NULL},
	{"task_default_delivery_mode", "2", NULL},
	{"task_always_eager", "false", NULL},
	{"task_remote_tracebacks", "false", NULL},
	{"worker_pool_start_method", "fork", NULL},
	{"worker_disable_prefetch", "false", NULL},
	{"worker_cancel_long_running_tasks_on_connection_loss", "false", NULL},
	{"broker_transport", NULL, "the scheme of broker_url says it"},
	{"broker_host", NULL, "write it into broker_url"},
	{"broker_port", NULL, "write it into broker_url"},
	{"broker_user", NULL, "write it into broker_url"},
	{"broker_password", NULL, "write it into broker_url"},
	{"broker_vhost", NULL, "write it into broker_url"},
	{"broker_channel_error_retry", NULL, NULL},
	{"broker_failover_strategy", NULL, NULL},
	{"broker_heartbeat_checkrate", NULL, NULL},
	{"broker_pool_limit", NULL, NULL},
	{"broker_pool_acquire_timeout", NULL, NULL},
	{"task_annotations", NULL, NULL},
	{"task_default_rate_limit", NULL, NULL},
	{"task_default_priority", NULL, NULL},
	{"task_eager_propagates", NULL, NULL},
	{"task_store_eager_result", NULL, NULL},
	{"task_publish_retry", NULL, NULL},
	{"task_publish_retry_policy", NULL, NULL},
	{"task_repr_maxlevels", NULL, NULL},
	{"task_allow_error_cb_on_chord_header", NULL, NULL},
	{"worker_agent", NULL, NULL},
	{"worker_autoscaler", "celery.worker.autoscale:Autoscaler", "the autoscaler is built in"},
	{"worker_consumer", NULL, NULL},
	{"worker_disable_rate_limits", NULL, NULL},
	{"worker_hijack_root_logger", NULL, NULL},
	{"worker_log_color", NULL, NULL},
	{"worker_log_datefmt", NULL, NULL},
	{"worker_log_format", NULL, "use log_format: text or json"},
	{"worker_task_log_datefmt", NULL, NULL},
	{"worker_task_log_format", NULL, "use log_format: text or json"},
	{"worker_lost_wait", NULL, NULL},
	{"worker_pool_putlocks", NULL, NULL},
	{"worker_proc_alive_timeout", NULL, NULL},
	{"worker_enable_prefetch_count_reduction", NULL, NULL},
	{"worker_redirect_stdouts", NULL, NULL},
	{"worker_redirect_stdouts_level", NULL, NULL},
	{"worker_timer", NULL, NULL},
	{"worker_timer_precision", NULL, NULL},
	{"result_cache_max", NULL, NULL},
	{"result_exchange", NULL, NULL},
	{"result_exchange_type", NULL, NULL},
	{"result_backend_", NULL, NULL},
	{"redis_max_connections", NULL, NULL},
	{"redis_retry_on_timeout", NULL, NULL},
	{"beat_", NULL, "run `celery beat` beside the worker for periodic tasks"},
	{"database_create_tables_at_setup", "true", NULL},
	{"database_short_lived_sessions", NULL, "one connection is kept"},
	{"database_engine_", NULL,
	 "options of the connection go into the URL, as ?sslmode=require"},
	{"cache_", NULL, "where memcached is stands in result_backend or cache_backend"},
	{"cassandra_", NULL, "results go to Redis, memcached, tables, files or rpc://"},
	{"s3_", NULL, "results go to Redis, memcached, tables, files or rpc://"},
	{"azureblockblob_", NULL, "results go to Redis, memcached, tables, files or rpc://"},
	{"gcs_", NULL, "results go to Redis, memcached, tables, files or rpc://"},
	{"couchbase_", NULL, "results go to Redis, memcached, tables, files or rpc://"},
	{"arangodb_", NULL, "results go to Redis, memcached, tables, files or rpc://"},
	{"mongodb_", NULL, "results go to Redis, memcached, tables, files or rpc://"},
	{"cosmosdbsql_", NULL, "results go to Redis, memcached, tables, files or rpc://"},
	{"elasticsearch_", NULL, "results go to Redis, memcached, tables, files or rpc://"},
};

/* Old names whose new one is not just the name behind CELERY_ or CELERYD_. */
static const struct {
	const char *old, *name;
} old_names[] = {
	{"celery_eager_propagates_exceptions", "task_eager_propagates"},
	{"celery_disable_rate_limits", "worker_disable_rate_limits"},
	{"celery_redirect_stdouts", "worker_redirect_stdouts"},
	{"celery_redirect_stdouts_level", "worker_redirect_stdouts_level"},
	{"celery_max_cached_results", "result_cache_max"},
	{"celery_result_db_short_lived_sessions", "database_short_lived_sessions"},
	{"celery_result_engine_options", "database_engine_options"},
	{"celeryd_worker_lost_wait", "worker_lost_wait"},
};

const struct config_row *config_row_find(const char *name)
{
	for (size_t i = 0; i < config_row_count(); i++)
		if (strcasecmp(config_row_at(i)->name, name) == 0)
			return config_row_at(i);
	for (size_t i = 0; i < config_row_count(); i++)
		for (size_t k = 0; k < 4 && config_row_at(i)->old[k]; k++)
			if (strcasecmp(config_row_at(i)->old[k], name) == 0)
				return config_row_at(i);
	return NULL;
}

const char *config_type_name(enum config_type type)
{
	static const char *const names[CONFIG_TYPE_COUNT] = {
		[CONFIG_TEXT] = "text",
		[CONFIG_URL] = "URL",
		[CONFIG_BOOL] = "true/false",
		[CONFIG_INT] = "number",
		[CONFIG_COUNT] = "number",
		[CONFIG_BYTES] = "number",
		[CONFIG_SECONDS] = "seconds",
		[CONFIG_LIST] = "list",
		[CONFIG_JSON] = "mapping",
		[CONFIG_POOL] = "text",
		[CONFIG_TREE] = "list or mapping",
	};

	return type < CONFIG_TYPE_COUNT ? names[type] : "";
}

static const struct config_fixed *fixed_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(fixed_rows) / sizeof(fixed_rows[0]); i++) {
		const struct config_fixed *row = &fixed_rows[i];
		size_t len = strlen(row->name);
		bool is_family = row->name[len - 1] == '_';

		if (is_family ? strncasecmp(row->name, name, len) == 0
			      : strcasecmp(row->name, name) == 0)
			return row;
	}
	return NULL;
}

const struct config_fixed *config_fixed_find(const char *name)
{
	/* Celery 3 wrote CELERY_X for task_x, result_x and x, CELERYD_X for worker_x. */
	static const struct {
		const char *old, *now;
	} prefixes[] = {{"celery_", "task_"},
			{"celery_", ""},
			{"celeryd_", "worker_"},
			{"celerybeat_", "beat_"}};
	const struct config_fixed *found = fixed_by_name(name);

	for (size_t i = 0; !found && i < sizeof(old_names) / sizeof(old_names[0]); i++)
		if (strcasecmp(old_names[i].old, name) == 0)
			found = fixed_by_name(old_names[i].name);
	for (size_t i = 0; !found && i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		size_t len = strlen(prefixes[i].old);
		auto_free char *now = NULL;

		if (strncasecmp(name, prefixes[i].old, len) != 0)
			continue;
		now = mem_printf("%s%s", prefixes[i].now, name + len);
		found = fixed_by_name(now);
	}
	return found;
}
