#include <bzlib.h>

#include "base/library.h"
#include "protocol/compression_impl.h"

#define BLOCK_100K 9 /* as Python; its decoder needs 3.7 MiB */

struct bzip2 {
	__typeof__(BZ2_bzDecompressInit) *init;
	__typeof__(BZ2_bzDecompress) *decompress;
	__typeof__(BZ2_bzDecompressEnd) *end;
	__typeof__(BZ2_bzBuffToBuffCompress) *compress;
};

static int load(struct bzip2 *b, struct err *err)
{
	const struct library_symbol symbols[] = {
		{"BZ2_bzDecompressInit", &b->init},
		{"BZ2_bzDecompress", &b->decompress},
		{"BZ2_bzDecompressEnd", &b->end},
		{"BZ2_bzBuffToBuffCompress", &b->compress},
	};

	return library_load("libbz2.so.1.0", "libbz2-1.0", symbols,
			    sizeof(symbols) / sizeof(*symbols), err);
}

static int read_stream(const struct bzip2 *b, bz_stream *s, struct str *out, struct err *err)
{
	size_t room;
	int code;

	for (;;) {
		s->next_out = (char *)compression_room(out, &room, err);
		if (!s->next_out)
			return -1;
		s->avail_out = (unsigned)room;
		code = b->decompress(s);
		str_commit(out, room - s->avail_out);
		if (code == BZ_STREAM_END)
			return 0;
		if (code != BZ_OK)
			return err_set(err, ERR_INVALID, "invalid data");
		if (s->avail_in == 0 && s->avail_out > 0)
			return err_set(err, ERR_PROTOCOL, "the data end too early");
	}
}

static int undo_stream(const void *library, struct str *out, struct span *data, struct err *err)
{
	const struct bzip2 *b = library;
	bz_stream s = {.next_in = (char *)(uintptr_t)data->data, .avail_in = (unsigned)data->len};
	int result;

	if (b->init(&s, 0, 0) != BZ_OK)
		return err_set(err, ERR_INTERNAL, "bzip2 cannot begin");
	result = read_stream(b, &s, out, err);
	*data = (struct span){s.next_in, s.avail_in};
	b->end(&s);
	return result;
}

int compression_bzip2_undo(struct str *out, const uint8_t *data, size_t len, struct err *err)
{
	struct bzip2 b;

	if (load(&b, err) < 0)
		return -1;
	if (len == 0)
		return 0;
	return compression_streams(out, (struct span){(const char *)data, len}, undo_stream, &b,
				   err);
}

int compression_bzip2_apply(struct str *out, const uint8_t *data, size_t len, struct err *err)
{
	unsigned size = (unsigned)(len + len / 100 + 600); /* bzlib.h: 1 % and 600 bytes more */
	struct bzip2 b;
	char *to;

	if (load(&b, err) < 0)
		return -1;
	to = str_reserve(out, size);
	if (!to)
		return err_set(err, ERR_LIMIT, "too large");
	if (b.compress(to, &size, (char *)(uintptr_t)data, (unsigned)len, BLOCK_100K, 0, 0) !=
	    BZ_OK)
		return err_set(err, ERR_INTERNAL, "bzip2 cannot compress it");
	str_commit(out, size);
	return 0;
}
