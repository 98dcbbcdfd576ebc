/*
 * The parts of a stream and what they know of each other. Internal to transport/stream*.
 *
 *     stream.c          bytes in and out, the life of the object
 *     stream_connect.c  from a name to a connected socket
 *     stream_tls.c      what TLS makes of the bytes
 */
#ifndef TRANSPORT_STREAM_INSIDE_H
#define TRANSPORT_STREAM_INSIDE_H

#include "transport/stream.h"
#include "transport/stream_tls.h"

enum stream_state { STREAM_CONNECTING, STREAM_HANDSHAKE, STREAM_UP, STREAM_FAILED, STREAM_CLOSED };

struct stream {
	uv_loop_t *loop;
	const struct stream_events *events;
	void *ctx;
	enum stream_state state;
	char *unix_path, *host;
	int port;
	struct stream_keepalive keepalive;
	uint64_t deadline_ms; /* of the whole connect */
	size_t max_input;

	int fd; /* -1 = none */
	uv_poll_t *poll;
	int poll_events;
	bool wants_write; /* the kernel took only a part */
	bool is_ending;	  /* it took nothing more: reading what is left */
	bool is_resolving;
	bool is_flushing, wants_flush; /* in on_flush; it asked to be called again */
	uv_timer_t timer;
	uv_prepare_t prepare;
	uv_idle_t idle; /* active while output waits: the loop must not sleep then */
	uv_getaddrinfo_t resolver;
	struct addrinfo *addresses, *next_address;
	struct err last_error;
	unsigned refs; /* open handles and requests; the memory goes with the last */

	struct tls_context *tls_context; /* NULL = in clear */
	struct stream_tls *tls;		 /* while there is a socket */

	struct str out;
	size_t out_start; /* bytes of `out` that the kernel already has, or TLS */
	char *in;
	size_t in_len, in_cap;
	uint64_t last_read_ms, last_write_ms;
};

/* stream.c */
void stream_unref(struct stream *s);
void stream_fail(struct stream *s, const struct err *why);
/* Watches the socket for what the state wants. */
void stream_watch(struct stream *s);
void stream_drop_socket(struct stream *s);
void stream_connected(struct stream *s); /* the socket is */

/* stream_connect.c */
void connect_start(struct stream *s);
void connect_failed(struct stream *s, int code); /* of the address at hand */
void connect_secure(struct stream *s);		 /* the rest of the time is for the handshake */

#endif
