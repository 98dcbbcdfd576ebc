#include <zstd.h>

#include "base/library.h"
#include "protocol/compression_impl.h"

struct decoder {
	__typeof__(ZSTD_createDCtx) *create;
	__typeof__(ZSTD_decompressStream) *decompress;
	__typeof__(ZSTD_freeDCtx) *destroy;
	__typeof__(ZSTD_isError) *is_error;
	__typeof__(ZSTD_getErrorName) *error_name;
};

static int load_decoder(struct decoder *d, struct err *err)
{
	const struct library_symbol symbols[] = {
		{"ZSTD_createDCtx", &d->create},       {"ZSTD_decompressStream", &d->decompress},
		{"ZSTD_freeDCtx", &d->destroy},	       {"ZSTD_isError", &d->is_error},
		{"ZSTD_getErrorName", &d->error_name},
	};

	return library_load("libzstd.so.1", "libzstd1", symbols, sizeof(symbols) / sizeof(*symbols),
			    err);
}

/* Frames one behind the other; what they say about their size is not trusted. The memory for a
 * frame is bounded by the library: a window of 128 MiB. */
static int read_frames(const struct decoder *d, ZSTD_DCtx *context, struct str *out,
		       ZSTD_inBuffer *in, struct err *err)
{
	size_t left = 1;

	while (in->pos < in->size || left > 0) {
		size_t room;
		uint8_t *to = compression_room(out, &room, err);

		if (!to)
			return -1;
		ZSTD_outBuffer piece = {.dst = to, .size = room};

		left = d->decompress(context, &piece, in);
		str_commit(out, piece.pos);
		if (d->is_error(left))
			return err_set(err, ERR_INVALID, "%s", d->error_name(left));
		if (left > 0 && in->pos == in->size && piece.pos < piece.size)
			return err_set(err, ERR_INVALID, "the data end too early");
	}
	return 0;
}

int compression_zstd_undo(struct str *out, const uint8_t *data, size_t len, struct err *err)
{
	ZSTD_inBuffer in = {.src = data, .size = len};
	ZSTD_DCtx *context;
	struct decoder d;
	int result;

	if (load_decoder(&d, err) < 0)
		return -1;
	context = d.create();
	if (!context)
		return err_set(err, ERR_INTERNAL, "zstd cannot begin");
	result = read_frames(&d, context, out, &in, err);
	d.destroy(context);
	return result;
}

int compression_zstd_apply(struct str *out, const uint8_t *data, size_t len, struct err *err)
{
	__typeof__(ZSTD_compressBound) *bound;
	__typeof__(ZSTD_compress) *compress;
	__typeof__(ZSTD_isError) *is_error;
	const struct library_symbol symbols[] = {
		{"ZSTD_compressBound", &bound},
		{"ZSTD_compress", &compress},
		{"ZSTD_isError", &is_error},
	};
	size_t size;
	char *to;

	if (library_load("libzstd.so.1", "libzstd1", symbols, 3, err) < 0)
		return -1;
	size = bound(len);
	to = str_reserve(out, size);
	if (!to)
		return err_set(err, ERR_LIMIT, "too large");
	size = compress(to, size, data, len, 3); /* the level that zstd itself takes */
	if (is_error(size))
		return err_set(err, ERR_INTERNAL, "zstd cannot compress it");
	str_commit(out, size);
	return 0;
}
