#include "protocol/compression.h"

#include <string.h>

#include "protocol/compression_impl.h"

#define FIRST_ROOM ((size_t)16 << 10)
#define MOST_ROOM  ((size_t)8 << 20)

/* As registered in kombu/compression.py. */
static const struct compression compressions[] = {
	{"application/x-gzip", {"gzip", "zlib"}, compression_zlib_undo, compression_zlib_apply},
	{"application/x-bz2", {"bzip2", "bzip"}, compression_bzip2_undo, compression_bzip2_apply},
	{"application/x-lzma", {"lzma", "xz"}, compression_lzma_undo, compression_lzma_apply},
	{"application/x-brotli", {"brotli"}, compression_brotli_undo, compression_brotli_apply},
	{"application/zstd", {"zstd", "zstandard"}, compression_zstd_undo, compression_zstd_apply},
};
#define COUNT (sizeof(compressions) / sizeof(*compressions))

const char *compression_names(void)
{
	return "gzip, bzip2, lzma, brotli, zstd";
}

static bool is_text(const char *text, const char *name, size_t len)
{
	return text && strlen(text) == len && memcmp(text, name, len) == 0;
}

const struct compression *compression_find(const char *name, size_t len)
{
	for (size_t i = 0; i < COUNT; i++) {
		const struct compression *c = &compressions[i];

		if (is_text(c->type, name, len) || is_text(c->names[0], name, len) ||
		    is_text(c->names[1], name, len))
			return c;
	}
	return NULL;
}

const char *compression_type(const struct compression *c)
{
	return c->type;
}

int compression_streams(struct str *out, struct span data, compression_stream_fn *read,
			const void *library, struct err *err)
{
	bool is_first = true;

	do {
		size_t before = out->len;
		struct err why = {0};

		if (read(library, out, &data, &why) == 0) {
			is_first = false;
			continue;
		}
		if (is_first || why.code != ERR_INVALID)
			return err_set(err, why.code, "%s", why.text);
		out->len = before;
		str_commit(out, 0);
		return 0;
	} while (data.len > 0);
	return 0;
}

uint8_t *compression_room(struct str *out, size_t *ret_len, struct err *err)
{
	size_t left = out->max - out->len;
	size_t want = out->len < FIRST_ROOM  ? FIRST_ROOM
		      : out->len > MOST_ROOM ? MOST_ROOM
					     : out->len;

	if (left == 0) {
		err_set(err, ERR_LIMIT, "more than the %zu bytes that may come out of it",
			out->max - 1);
		return NULL;
	}
	*ret_len = want < left ? want : left;
	return (uint8_t *)str_reserve(out, *ret_len);
}

int compression_undo(const struct compression *c, struct str *out, const void *data, size_t len,
		     struct err *err)
{
	size_t max = out->max;
	int result;

	if (len > UINT32_MAX)
		return err_set(err, ERR_LIMIT, "more than 4 GiB of compressed data");
	/* One byte more, to tell what fits exactly from what does not. */
	out->max++;
	result = c->undo(out, data, len, err);
	out->max = max;
	if (result == 0 && out->len > max)
		result = err_set(err, ERR_LIMIT, "more than the %zu bytes that may come out of it",
				 max);
	return result < 0 ? err_prefix(err, "%s: ", c->names[0]) : 0;
}

int compression_apply(const struct compression *c, struct str *out, const void *data, size_t len,
		      struct err *err)
{
	if (len > INT32_MAX)
		return err_set(err, ERR_LIMIT, "%s: more than 2 GiB to compress", c->names[0]);
	return c->apply(out, data, len, err) < 0 ? err_prefix(err, "%s: ", c->names[0]) : 0;
}
