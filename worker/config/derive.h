/* Values that follow from others: the default without any server, results in the Redis of the
 * REDIS_* variables, CPUs, node name, zone, socket path. Split from loading to be read in one go.
 */
#ifndef WORKER_CONFIG_DERIVE_H
#define WORKER_CONFIG_DERIVE_H

#include "base/err.h"
#include "worker/config/config.h"
#include "worker/config/store.h"

/* Before the struct is filled: settles broker_url and result_backend and what belongs to them. */
int derive_servers(struct config_store *s, struct err *err);
/* After it was filled from the store. */
int derive_rest(struct config *c, struct config_store *s, struct err *err);
/* Of it: what messages and results are written in. config/derive_content.c */
int derive_content(struct config *c, struct config_store *s, struct err *err);
/* Of that: signers. config/derive_auth.c */
int derive_auth(struct config *c, struct err *err);
/* Folder for status sockets: $XDG_RUNTIME_DIR/smallage, /run/smallage or /tmp/smallage-<uid>, the
 * first that exists or can be made by this user. To be freed. The folder may not exist yet. */
char *derive_socket_folder(void);

#endif
