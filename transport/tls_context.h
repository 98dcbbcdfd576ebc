/*
 * What all TLS connections to one server have in common: CAs, our certificate, versions, and the
 * session of the last connection, so that the next needs no full handshake. Certificates that are
 * renewed on disk are read again at the next connection.
 *
 * Threads: one (the loop's).
 */
#ifndef TRANSPORT_TLS_CONTEXT_H
#define TRANSPORT_TLS_CONTEXT_H

#include <openssl/ssl.h>

#include "base/err.h"
#include "transport/tls_options.h"

struct tls_context;

/* Reads the files. `options` are taken over (and zero then, also on failure). NULL with `err` for a
 * file that cannot be read or used; the text names it. */
struct tls_context *tls_context_new(struct tls_options *options, struct err *err);
void tls_context_free(struct tls_context *c); /* NULL is allowed */
const struct tls_options *tls_context_options(const struct tls_context *c);

/* For transport/stream_tls.c: */
SSL_CTX *tls_context_now(struct tls_context *c);
/* Of the last connection to `host`, to be freed; NULL when there is none. */
SSL_SESSION *tls_context_take_session(struct tls_context *c, const char *host);

#endif
