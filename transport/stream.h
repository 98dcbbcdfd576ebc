/*
 * One non-blocking byte stream (TCP or unix socket) on the loop; the only place that owns a socket.
 * Everything written during one turn of the loop leaves in one write(2) just before the loop
 * sleeps. A stream is thrown away when it fails: open another one. What the callers see are plain
 * bytes, with TLS too.
 *
 * Threads: loop thread only. Calls never block. Callbacks come from the loop, never from inside a
 * call of this interface.
 */
#ifndef TRANSPORT_STREAM_H
#define TRANSPORT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/str.h"

struct stream;
struct tls_context;

struct stream_events {
	void (*on_connected)(void *ctx);
	/* Bytes that arrived. Returns how many of them were consumed; the rest is given again with
	 * more behind it. May call stream_close (the return value does not matter then). */
	size_t (*on_data)(void *ctx, const char *data, size_t len);
	/* Last chance to add output before it is written; once per turn of the loop after
	 * stream_wake or stream_write. May be NULL. */
	void (*on_flush)(void *ctx);
	/* The stream failed or the peer closed it: no more callbacks. The caller still has to call
	 * stream_close, here or later. */
	void (*on_failed)(void *ctx, const struct err *why);
};

/* TCP keep-alive; 0 = our default: asked after 60 s, every 10 s, 9 times. */
struct stream_keepalive {
	bool is_off;
	int idle_s, interval_s, count;
};

struct stream_options {
	uv_loop_t *loop;
	const char *unix_path;	 /* not NULL: host and port are ignored */
	const char *host;	 /* name, IPv4 or IPv6 address */
	int port;		 /* 1..65535 */
	struct tls_context *tls; /* NULL = in clear; must stay until stream_close */
	struct stream_keepalive keepalive;
	double connect_timeout_s; /* name look-up, connect and TLS; <= 0 = 4 s */
	size_t max_output;	  /* most bytes that may wait to be written */
	size_t max_input;	  /* most bytes on_data may leave unconsumed; 0 = 64 KiB */
	const struct stream_events *events;
	void *ctx;
};

/* Begins to connect. Never fails here: on_connected or on_failed follows. Strings are copied. */
struct stream *stream_open(const struct stream_options *options);
/* Queues bytes; -1 when max_output would be passed (nothing was added then). Bytes written before
 * on_connected are kept until then. */
int stream_write(struct stream *s, const void *data, size_t len);
/* The output buffer itself, for encoders that append in place; the output will be flushed. Only to
 * be appended to, and not to be kept beyond the current callback. */
struct str *stream_output(struct stream *s);
/* on_flush will be called in this turn of the loop (or the next, from a prepare callback; from
 * inside on_flush: once more when the kernel has taken what is there). */
void stream_wake(struct stream *s);
/* Bytes not yet given to the kernel. */
size_t stream_pending(const struct stream *s);
/* Loop time (uv_now, ms) when bytes last came in, or went out. */
uint64_t stream_last_read_ms(const struct stream *s);
uint64_t stream_last_write_ms(const struct stream *s);
/* Closes at once; what was not written is lost. No callback comes after this; the memory goes when
 * the loop has closed the handles. NULL is allowed. */
void stream_close(struct stream *s);

#endif
