/* First byte: the kind. The rest as compressed data: never more than the limit comes out. And as
 * data to compress: what comes back is the same. */
#include "protocol/compression.h"

#include "tests/fuzz/fuzz.h"

#define OUT_MAX ((size_t)1 << 20)

static void check_undo(const struct compression *c, const uint8_t *data, size_t size)
{
	auto_str out = STR_INIT(OUT_MAX);
	struct err err = {0};

	if (compression_undo(c, &out, data, size, &err) == 0)
		fuzz_check(out.len <= OUT_MAX);
	else
		fuzz_check_one_line(err.text);
	fuzz_check(out.cap <= OUT_MAX + 2);
}

static void check_round_trip(const struct compression *c, const uint8_t *data, size_t size)
{
	auto_str packed = STR_INIT(STR_MAX_DEFAULT);
	auto_str out = STR_INIT(size);

	fuzz_check(compression_apply(c, &packed, data, size, NULL) == 0);
	fuzz_check(compression_undo(c, &out, packed.data, packed.len, NULL) == 0);
	fuzz_check(out.len == size && (size == 0 || memcmp(out.data, data, size) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"gzip", "bzip2", "lzma", "brotli", "zstd"};
	const struct compression *c;

	if (size == 0)
		return 0;
	c = compression_find(names[*data % 5], strlen(names[*data % 5]));
	check_undo(c, data + 1, size - 1);
	if (*data & 0x80)
		check_round_trip(c, data + 1, size - 1);
	return 0;
}
