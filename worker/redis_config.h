/* What the settings say about the result store's connection to Redis. */
#ifndef WORKER_REDIS_CONFIG_H
#define WORKER_REDIS_CONFIG_H

#include "transport/redis_settings.h"
#include "worker/config/config.h"

/* To be cleared with redis_settings_clear. */
void redis_config_read(struct redis_settings *s, const struct config *config);

#endif
