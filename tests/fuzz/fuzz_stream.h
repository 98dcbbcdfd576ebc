/*
 * The streams of transport/stream.h that end in the fuzz target: what a peer would send is handed
 * over, what goes out is looked at and thrown away. In the order of their opening; sockets, name
 * look-ups and time there are none.
 */
#ifndef TESTS_FUZZ_FUZZ_STREAM_H
#define TESTS_FUZZ_FUZZ_STREAM_H

#include <uv.h>

#include "base/mem.h"
#include "tests/fuzz/fuzz.h"
#include "transport/stream.h"

#define STREAMS_MAX 16

struct stream {
	const struct stream_events *events;
	void *ctx;
	size_t max_input;
	struct str in, out;
	bool is_connected, is_failed, is_closed, wants_flush, is_flushing, has_greeted;
};

static struct {
	uv_loop_t *loop;
	struct stream *open[STREAMS_MAX];
	int count;
} streams;

/* The target's: checks what is about to leave. */
static void output_check(struct stream *s);

struct stream *stream_open(const struct stream_options *options)
{
	struct stream *s = mem_calloc(1, sizeof(*s));

	fuzz_check(streams.count < STREAMS_MAX);
	streams.open[streams.count++] = s;
	s->events = options->events;
	s->ctx = options->ctx;
	s->max_input = options->max_input;
	str_init(&s->in, STR_MAX_DEFAULT);
	str_init(&s->out, options->max_output);
	return s;
}

int stream_write(struct stream *s, const void *data, size_t len)
{
	return len > s->out.max - s->out.len ? -1 : str_add(stream_output(s), data, len);
}

struct str *stream_output(struct stream *s)
{
	fuzz_check(!s->is_closed);
	stream_wake(s);
	return &s->out;
}

void stream_wake(struct stream *s)
{
	fuzz_check(!s->is_closed);
	s->wants_flush = true;
}

size_t stream_pending(const struct stream *s)
{
	return s->out.len;
}

uint64_t stream_last_read_ms(const struct stream *s)
{
	(void)s;
	return uv_now(streams.loop);
}

uint64_t stream_last_write_ms(const struct stream *s)
{
	return stream_last_read_ms(s);
}

void stream_close(struct stream *s)
{
	if (s)
		s->is_closed = true;
}

static void streams_sweep(void)
{
	int kept = 0;

	for (int i = 0; i < streams.count; i++) {
		struct stream *s = streams.open[i];

		if (!s->is_closed) {
			streams.open[kept++] = s;
			continue;
		}
		str_clear(&s->in);
		str_clear(&s->out);
		free(s);
	}
	streams.count = kept;
}

static void streams_flush(bool no_write)
{
	for (int i = 0; i < streams.count; i++) {
		struct stream *s = streams.open[i];

		if (s->is_closed || s->is_failed)
			continue;
		if (!s->is_connected) {
			s->is_connected = true;
			s->events->on_connected(s->ctx);
		}
		if (!s->is_closed && s->wants_flush) {
			s->wants_flush = false;
			if (s->events->on_flush)
				s->events->on_flush(s->ctx);
		}
		if (s->is_closed || no_write)
			continue;
		output_check(s);
		str_consume(&s->out, s->out.len);
	}
	streams_sweep();
}

static void stream_fail(struct stream *s, enum err_code code)
{
	struct err err = {0};

	err_set(&err, code, "the stream failed");
	s->is_failed = true;
	s->events->on_failed(s->ctx, &err);
}

/* Gives all that has come to the reader, in memory that ends where the bytes end. */
static void stream_feed(struct stream *s, const void *data, size_t len)
{
	auto_free char *copy = NULL;
	size_t used;

	if (s->is_closed || s->is_failed || !s->is_connected)
		return;
	str_add(&s->in, data, len);
	copy = malloc(s->in.len ? s->in.len : 1);
	if (s->in.len)
		memcpy(copy, s->in.data, s->in.len);
	used = s->events->on_data(s->ctx, copy, s->in.len);
	if (s->is_closed)
		return;
	fuzz_check(used <= s->in.len);
	str_consume(&s->in, used);
	if (s->in.len > s->max_input)
		stream_fail(s, ERR_LIMIT);
}

#endif
