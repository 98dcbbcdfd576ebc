/* What the kinds of compression share. Inside protocol/ only. */
#ifndef PROTOCOL_COMPRESSION_IMPL_H
#define PROTOCOL_COMPRESSION_IMPL_H

#include <stdint.h>

#include "protocol/compression.h"
#include "protocol/value.h"

typedef int compression_fn(struct str *out, const uint8_t *data, size_t len, struct err *err);

struct compression {
	const char *type;
	const char *names[3];
	compression_fn *undo, *apply;
};

compression_fn compression_zlib_undo, compression_zlib_apply;
compression_fn compression_bzip2_undo, compression_bzip2_apply;
compression_fn compression_lzma_undo, compression_lzma_apply;
compression_fn compression_brotli_undo, compression_brotli_apply;
compression_fn compression_zstd_undo, compression_zstd_apply;

/* Reads one stream from the front of `data` and takes what it has read off there, also when it
 * fails. ERR_INVALID: it is none, or broken. */
typedef int compression_stream_fn(const void *library, struct str *out, struct span *data,
				  struct err *err);
/* Behind the first stream there may be others, and then anything that is none. */
int compression_streams(struct str *out, struct span data, compression_stream_fn *read,
			const void *library, struct err *err);

/* Where the next piece of output goes, and how long it may be; NULL when the limit is reached. */
uint8_t *compression_room(struct str *out, size_t *ret_len, struct err *err);

#endif
