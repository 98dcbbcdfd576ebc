#include <brotli/decode.h>
#include <brotli/encode.h>

#include "base/library.h"
#include "protocol/compression_impl.h"

/* Python's own is 11: some 50 times slower, and the main process does nothing else meanwhile. */
#define QUALITY 4

struct decoder {
	__typeof__(BrotliDecoderCreateInstance) *create;
	__typeof__(BrotliDecoderDecompressStream) *decompress;
	__typeof__(BrotliDecoderDestroyInstance) *destroy;
};

static int load_decoder(struct decoder *d, struct err *err)
{
	const struct library_symbol symbols[] = {
		{"BrotliDecoderCreateInstance", &d->create},
		{"BrotliDecoderDecompressStream", &d->decompress},
		{"BrotliDecoderDestroyInstance", &d->destroy},
	};

	return library_load("libbrotlidec.so.1", "libbrotli1", symbols,
			    sizeof(symbols) / sizeof(*symbols), err);
}

static int read_stream(const struct decoder *d, BrotliDecoderState *state, struct str *out,
		       const uint8_t *data, size_t len, struct err *err)
{
	for (;;) {
		size_t room, left;
		uint8_t *to = compression_room(out, &room, err);

		if (!to)
			return -1;
		left = room;
		BrotliDecoderResult result = d->decompress(state, &len, &data, &left, &to, NULL);

		str_commit(out, room - left);
		if (result == BROTLI_DECODER_RESULT_SUCCESS)
			return len == 0 ? 0 : err_set(err, ERR_INVALID, "more data behind its end");
		if (result == BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT)
			return err_set(err, ERR_INVALID, "the data end too early");
		if (result == BROTLI_DECODER_RESULT_ERROR)
			return err_set(err, ERR_INVALID, "invalid data");
	}
}

int compression_brotli_undo(struct str *out, const uint8_t *data, size_t len, struct err *err)
{
	BrotliDecoderState *state;
	struct decoder d;
	int result;

	if (load_decoder(&d, err) < 0)
		return -1;
	state = d.create(NULL, NULL, NULL);
	if (!state)
		return err_set(err, ERR_INTERNAL, "brotli cannot begin");
	result = read_stream(&d, state, out, data, len, err);
	d.destroy(state);
	return result;
}

int compression_brotli_apply(struct str *out, const uint8_t *data, size_t len, struct err *err)
{
	__typeof__(BrotliEncoderMaxCompressedSize) *bound;
	__typeof__(BrotliEncoderCompress) *compress;
	const struct library_symbol symbols[] = {
		{"BrotliEncoderMaxCompressedSize", &bound},
		{"BrotliEncoderCompress", &compress},
	};
	size_t size;
	char *to;

	if (library_load("libbrotlienc.so.1", "libbrotli1", symbols, 2, err) < 0)
		return -1;
	size = bound(len);
	to = str_reserve(out, size);
	if (!to)
		return err_set(err, ERR_LIMIT, "too large");
	if (!compress(QUALITY, BROTLI_DEFAULT_WINDOW, BROTLI_MODE_TEXT, len, data, &size,
		      (uint8_t *)to))
		return err_set(err, ERR_INTERNAL, "brotli cannot compress it");
	str_commit(out, size);
	return 0;
}
