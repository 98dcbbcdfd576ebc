#include "worker/backend_config.h"

#include "base/mem.h"
#include "transport/redis_settings.h"

/* To be cleared with redis_settings_clear. */
static void read_redis(struct redis_settings *s, const struct config *config)
{
	redis_settings_init(s);
	s->answer_timeout_s = config->redis_socket_timeout;
	s->connect_timeout_s = config->redis_socket_connect_timeout;
	s->keepalive.is_off = !config->redis_socket_keepalive;
	s->health_check_interval_s = config->redis_backend_health_check_interval;
	s->client_name = mem_strdup(config->redis_client_name);
	s->tls = mem_strdup(config->redis_backend_use_ssl);
}

struct backend *backend_config_open(const struct config *config, struct backend_options *options,
				    struct err *err)
{
	struct redis_settings redis;
	struct backend *opened;

	read_redis(&redis, config);
	options->url = config->result_backend;
	options->result_expires_s = config->result_expires;
	options->failure_expires_s = config->result_failure_expires;
	options->chord_expires_s = config->result_chord_expires;
	options->chord_join_s = config->result_chord_join_timeout;
	options->transport_options = config->result_backend_transport_options;
	options->max_waiting_bytes = config->worker_max_waiting_bytes;
	options->redis_settings = &redis;
	options->is_persistent = config->result_persistent;
	options->serializer = config->result_serializer;
	options->form = config->result_form;
	options->table_names = config->database_table_names;
	options->table_schemas = config->database_table_schemas;
	opened = backend_open(options, err);
	options->redis_settings = NULL;
	redis_settings_clear(&redis);
	return opened;
}
