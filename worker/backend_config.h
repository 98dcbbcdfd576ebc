/* What the settings say about the result store. */
#ifndef WORKER_BACKEND_CONFIG_H
#define WORKER_BACKEND_CONFIG_H

#include "backend/backend.h"
#include "worker/config/config.h"

/* Opens it. Everything in `options` that is no setting is the caller's: loop, callbacks, ctx. */
struct backend *backend_config_open(const struct config *config, struct backend_options *options,
				    struct err *err);

#endif
