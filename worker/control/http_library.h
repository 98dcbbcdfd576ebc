/*
 * libmicrohttpd, loaded when the worker is told to listen and not before: it brings GnuTLS, and who
 * does not use it pays neither memory nor a package. docs/adr/libmicrohttpd.md
 */
#ifndef WORKER_CONTROL_HTTP_LIBRARY_H
#define WORKER_CONTROL_HTTP_LIBRARY_H

#include <microhttpd.h>

#include "base/err.h"

#define HTTP_LIBRARY_EACH(X)                                                                       \
	X(start_daemon)                                                                            \
	X(stop_daemon)                                                                             \
	X(run)                                                                                     \
	X(get_timeout)                                                                             \
	X(get_daemon_info)                                                                         \
	X(get_connection_info)                                                                     \
	X(create_response_from_buffer)                                                             \
	X(add_response_header)                                                                     \
	X(queue_response)                                                                          \
	X(destroy_response)

/* .run is MHD_run, and so on. */
struct http_library {
#define HTTP_LIBRARY_MEMBER(name) __typeof__(MHD_##name) *name;
	HTTP_LIBRARY_EACH(HTTP_LIBRARY_MEMBER)
#undef HTTP_LIBRARY_MEMBER
};

/* Stays loaded. -1 with what to install. */
int http_library_load(struct http_library *ret, struct err *err);

#endif
