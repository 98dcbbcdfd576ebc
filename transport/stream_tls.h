/*
 * The TLS of one stream, without its socket: bytes of the peer go in, plain ones come out, and the
 * other way round. So a stream reads and writes its socket the same way with and without TLS, and
 * nothing in here waits. Internal to transport/stream*.
 */
#ifndef TRANSPORT_STREAM_TLS_H
#define TRANSPORT_STREAM_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"
#include "transport/tls_context.h"

#define STREAM_TLS_READ_SIZE ((size_t)64 * 1024)

struct stream_tls;

/* `host` is who the server's certificate must be for, and is copied. */
struct stream_tls *stream_tls_new(struct tls_context *context, const char *host);
void stream_tls_free(struct stream_tls *t); /* NULL is allowed */

/* Where up to STREAM_TLS_READ_SIZE bytes from the socket go. Everything fed before must have been
 * taken by stream_tls_handshake or stream_tls_read (which returned 0). */
char *stream_tls_room(struct stream_tls *t);
void stream_tls_feed(struct stream_tls *t, size_t len);
/* Bytes for the socket. The owner takes them off the front. */
struct str *stream_tls_sealed(struct stream_tls *t);

/* 1 = done, 0 = go on when more has come in, -1 = failed, with what is wrong. */
int stream_tls_handshake(struct stream_tls *t, struct err *err);
/* Plain bytes; 0 = no more for now, -1 = failed or ended by the peer. */
ssize_t stream_tls_read(struct stream_tls *t, char *data, size_t room, struct err *err);
/* Seals all of it. */
int stream_tls_write(struct stream_tls *t, const char *data, size_t len, struct err *err);
/* Appends the goodbye. */
void stream_tls_end(struct stream_tls *t);
/* What the end of the connection (an errno value) probably means, for people. */
void stream_tls_explain(const struct stream_tls *t, int code, struct err *err);

#endif
