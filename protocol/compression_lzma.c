#include <lzma.h>

#include "base/library.h"
#include "protocol/compression_impl.h"

/* The data say how much memory reading them takes, up to 4 GiB. Level 9 of xz needs 65 MiB. */
#define READ_MEMORY ((uint64_t)128 << 20)
/* Python's own is 6: four times slower, and the main process does nothing else meanwhile. */
#define LEVEL 1

struct xz {
	__typeof__(lzma_auto_decoder) *decoder;
	__typeof__(lzma_code) *code;
	__typeof__(lzma_end) *end;
	__typeof__(lzma_stream_buffer_bound) *bound;
	__typeof__(lzma_easy_buffer_encode) *encode;
};

static int load(struct xz *x, struct err *err)
{
	const struct library_symbol symbols[] = {
		{"lzma_auto_decoder", &x->decoder},
		{"lzma_code", &x->code},
		{"lzma_end", &x->end},
		{"lzma_stream_buffer_bound", &x->bound},
		{"lzma_easy_buffer_encode", &x->encode},
	};

	return library_load("liblzma.so.5", "liblzma5", symbols, sizeof(symbols) / sizeof(*symbols),
			    err);
}

static int read_stream(const struct xz *x, lzma_stream *s, struct str *out, struct err *err)
{
	size_t room;
	lzma_ret code;

	for (;;) {
		s->next_out = compression_room(out, &room, err);
		if (!s->next_out)
			return -1;
		s->avail_out = room;
		code = x->code(s, LZMA_RUN);
		str_commit(out, room - s->avail_out);
		if (code == LZMA_STREAM_END)
			return 0;
		if (code == LZMA_MEMLIMIT_ERROR)
			return err_set(err, ERR_LIMIT, "needs more than %d MiB of memory to read",
				       (int)(READ_MEMORY >> 20));
		if (code == LZMA_BUF_ERROR ||
		    (code == LZMA_OK && s->avail_in == 0 && s->avail_out > 0))
			return err_set(err, ERR_PROTOCOL, "the data end too early");
		if (code != LZMA_OK)
			return err_set(err, ERR_INVALID, "invalid data");
	}
}

static int undo_stream(const void *library, struct str *out, struct span *data, struct err *err)
{
	const struct xz *x = library;
	lzma_stream s = LZMA_STREAM_INIT;
	int result;

	s.next_in = (const uint8_t *)data->data;
	s.avail_in = data->len;
	if (x->decoder(&s, READ_MEMORY, 0) != LZMA_OK)
		return err_set(err, ERR_INTERNAL, "liblzma cannot begin");
	result = read_stream(x, &s, out, err);
	*data = (struct span){(const char *)s.next_in, s.avail_in};
	x->end(&s);
	return result;
}

int compression_lzma_undo(struct str *out, const uint8_t *data, size_t len, struct err *err)
{
	struct xz x;

	if (load(&x, err) < 0)
		return -1;
	return compression_streams(out, (struct span){(const char *)data, len}, undo_stream, &x,
				   err);
}

int compression_lzma_apply(struct str *out, const uint8_t *data, size_t len, struct err *err)
{
	struct xz x;
	size_t size, used = 0;
	char *to;

	if (load(&x, err) < 0)
		return -1;
	size = x.bound(len);
	to = str_reserve(out, size);
	if (!to)
		return err_set(err, ERR_LIMIT, "too large");
	if (x.encode(LEVEL, LZMA_CHECK_CRC64, NULL, data, len, (uint8_t *)to, &used, size) !=
	    LZMA_OK)
		return err_set(err, ERR_INTERNAL, "liblzma cannot compress it");
	str_commit(out, used);
	return 0;
}
