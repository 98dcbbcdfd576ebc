#include "worker/redis_config.h"

#include "base/mem.h"

void redis_config_read(struct redis_settings *s, const struct config *config)
{
	redis_settings_init(s);
	s->answer_timeout_s = config->redis_socket_timeout;
	s->connect_timeout_s = config->redis_socket_connect_timeout;
	s->keepalive.is_off = !config->redis_socket_keepalive;
	s->health_check_interval_s = config->redis_backend_health_check_interval;
	s->client_name = mem_strdup(config->redis_client_name);
	s->tls = mem_strdup(config->redis_backend_use_ssl);
}
