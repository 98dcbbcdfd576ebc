/*
 * A small HTTP server in the worker's loop, for /live, /ready and /metrics. The protocol is
 * libmicrohttpd's; what is ours is who may connect for how long: a client that sends or reads too
 * slowly, or holds connections that others need, loses them. It answers GET and HEAD, takes no
 * bodies and has no TLS and no passwords: it belongs on a private address.
 *
 * Threads: loop thread only. SIGPIPE must be ignored.
 */
#ifndef WORKER_CONTROL_HTTP_H
#define WORKER_CONTROL_HTTP_H

#include <uv.h>

#include "base/err.h"
#include "base/str.h"

#define HTTP_BODY_MAX	       ((size_t)16 << 20)
#define HTTP_HEAD_MAX	       ((size_t)8 << 10) /* request line and headers */
#define HTTP_CONNECTIONS_MAX   128
#define HTTP_CONNECTIONS_CALM  96 /* above it the oldest ones are ended ... */
#define HTTP_CONNECTION_MIN_MS 20 /* ... once they had time for a request */
#define HTTP_PATIENCE_S	       30 /* from connection or answer to the end of the next answer */

struct http_server;

struct http_answer {
	unsigned status; /* 200 at first */
	const char *type;
	struct str body;
};

struct http_route {
	const char *path, *type;
	void (*fill)(void *ctx, struct http_answer *answer);
};

/* Where to listen: "PORT" (127.0.0.1), "ADDRESS:PORT", "[IPv6]:PORT", ":PORT" (all addresses);
 * port 0 takes a free one. `routes` ends with a NULL path and must stay. */
struct http_server *http_server_open(uv_loop_t *loop, const char *address,
				     const struct http_route *routes, void *ctx, struct err *err);
/* "http://127.0.0.1:9500", with the port in use. */
const char *http_server_url(const struct http_server *s);
/* Ends all connections; freed with the loop's next turns. NULL allowed. */
void http_server_close(struct http_server *s);

/* http_address.c: a bound, listening, non-blocking socket, or -1. `ret_url` takes the URL. */
int http_address_listen(const char *address, struct str *ret_url, struct err *err);
/* -1 when the text is no address to listen at. */
int http_address_check(const char *address, struct err *err);

#endif
