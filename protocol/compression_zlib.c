/* kombu calls it gzip, but it is a zlib stream (RFC 1950). */
#include <zlib.h>

#include "base/library.h"
#include "protocol/compression_impl.h"

struct zlib {
	__typeof__(inflateInit_) *inflate_init;
	__typeof__(inflate) *inflate;
	__typeof__(inflateEnd) *inflate_end;
	__typeof__(compressBound) *bound;
	__typeof__(compress2) *compress;
};

static int load(struct zlib *z, struct err *err)
{
	const struct library_symbol symbols[] = {
		{"inflateInit_", &z->inflate_init}, {"inflate", &z->inflate},
		{"inflateEnd", &z->inflate_end},    {"compressBound", &z->bound},
		{"compress2", &z->compress},
	};

	return library_load("libz.so.1", "zlib1g", symbols, sizeof(symbols) / sizeof(*symbols),
			    err);
}

static int inflate_all(const struct zlib *z, z_stream *s, struct str *out, struct err *err)
{
	size_t room;
	int code;

	for (;;) {
		s->next_out = compression_room(out, &room, err);
		if (!s->next_out)
			return -1;
		s->avail_out = (uInt)room;
		code = z->inflate(s, Z_NO_FLUSH);
		str_commit(out, room - s->avail_out);
		if (code == Z_STREAM_END)
			return 0;
		if (code == Z_BUF_ERROR || (code == Z_OK && s->avail_in == 0 && s->avail_out > 0))
			return err_set(err, ERR_INVALID, "the data end too early");
		if (code != Z_OK)
			return err_set(err, ERR_INVALID, "%s", s->msg ? s->msg : "invalid data");
	}
}

int compression_zlib_undo(struct str *out, const uint8_t *data, size_t len, struct err *err)
{
	z_stream s = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)len};
	struct zlib z;
	int result;

	if (load(&z, err) < 0)
		return -1;
	if (z.inflate_init(&s, ZLIB_VERSION, (int)sizeof(s)) != Z_OK)
		return err_set(err, ERR_INTERNAL, "zlib cannot begin");
	result = inflate_all(&z, &s, out, err);
	z.inflate_end(&s);
	return result;
}

int compression_zlib_apply(struct str *out, const uint8_t *data, size_t len, struct err *err)
{
	struct zlib z;
	uLongf size;
	char *to;

	if (load(&z, err) < 0)
		return -1;
	size = z.bound(len);
	to = str_reserve(out, size);
	if (!to)
		return err_set(err, ERR_LIMIT, "too large");
	if (z.compress((Bytef *)to, &size, data, len, Z_DEFAULT_COMPRESSION) != Z_OK)
		return err_set(err, ERR_INTERNAL, "zlib cannot compress it");
	str_commit(out, size);
	return 0;
}
