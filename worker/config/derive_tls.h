/* What the settings mean for TLS, for people. The drivers read the same settings for themselves. */
#ifndef WORKER_CONFIG_DERIVE_TLS_H
#define WORKER_CONFIG_DERIVE_TLS_H

#include "worker/config/config.h"
#include "worker/config/store.h"

/* Notes each server whose certificate nobody verifies. */
void derive_tls_notices(const struct config *c, struct config_store *s);
/* How a server is connected to: "TLS, certificate verified by ...", to be freed; NULL when in
 * clear. `shown` is the broker's URL, of those in `urls`, as broker.h's on_up tells it. */
char *config_tls_of_broker(const struct config *c, const char *urls, const char *shown);
char *config_tls_of_backend(const struct config *c);

#endif
