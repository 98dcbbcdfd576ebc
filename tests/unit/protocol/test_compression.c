#include "protocol/compression.h"

#include "tests/unit/protocol/golden.h"

static const char *const names[] = {"gzip", "bzip2", "lzma", "brotli", "zstd"};
#define NAMES (sizeof(names) / sizeof(*names))

static const struct compression *of(const char *name)
{
	const struct compression *c = compression_find(name, strlen(name));

	ck_assert_msg(c != NULL, "%s", name);
	return c;
}

/* T-37 T-38 T-40 */
START_TEST(what_python_can_read_is_read_and_nothing_else)
{
	struct golden g;

	golden_open(&g, "tests/golden/content/compression.tsv");
	while (golden_next(&g)) {
		auto_str out = STR_INIT(4096);
		struct err err = {0};
		int result = compression_undo(of(g.field[0]), &out, g.field[1], g.len[1], &err);
		bool is_good = g.field[2][0] == '=';

		ck_assert_msg((result == 0) == is_good, "line %u: %s", g.number, err.text);
		ck_assert((result == 0) == (err.text[0] == '\0'));
		if (!is_good)
			continue;
		ck_assert_msg(out.len == g.len[2] - 2, "line %u: %zu bytes", g.number, out.len);
		if (out.len)
			ck_assert_mem_eq(out.data, g.field[2] + 2, out.len);
	}
}
END_TEST

/* T-39 */
START_TEST(names_and_types_mean_the_same)
{
	static const struct {
		const char *name, *type;
	} rows[] = {
		{"gzip", "application/x-gzip"},	    {"zlib", "application/x-gzip"},
		{"bzip2", "application/x-bz2"},	    {"bzip", "application/x-bz2"},
		{"lzma", "application/x-lzma"},	    {"xz", "application/x-lzma"},
		{"brotli", "application/x-brotli"}, {"zstd", "application/zstd"},
		{"zstandard", "application/zstd"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ck_assert_str_eq(compression_type(of(rows[i].name)), rows[i].type);
		ck_assert_ptr_eq(of(rows[i].type), of(rows[i].name));
	}
	ck_assert_ptr_null(compression_find("GZIP", 4));
	ck_assert_ptr_null(compression_find("gzi", 3));
	ck_assert_ptr_null(compression_find("", 0));
}
END_TEST

/* T-37 T-38 */
START_TEST(what_is_compressed_comes_back)
{
	enum { SIZE = 3 << 20 };
	char *data = malloc(SIZE);
	unsigned seed = 1;

	for (size_t i = 0; i < SIZE; i++)
		data[i] = (char)(i % 1000 < 100 ? (seed = seed * 1103515245 + 12345) >> 16 : i / 9);
	for (size_t i = 0; i < NAMES; i++) {
		auto_str packed = STR_INIT(2 * SIZE);
		auto_str out = STR_INIT(SIZE);
		struct err err = {0};

		ck_assert_msg(compression_apply(of(names[i]), &packed, data, SIZE, &err) == 0, "%s",
			      err.text);
		ck_assert_uint_lt(packed.len, SIZE);
		ck_assert_msg(compression_undo(of(names[i]), &out, packed.data, packed.len, &err) ==
				      0,
			      "%s", err.text);
		ck_assert_uint_eq(out.len, SIZE);
		ck_assert_mem_eq(out.data, data, SIZE);
	}
	free(data);
}
END_TEST

/* T-40 */
START_TEST(nothing_comes_out_beyond_the_limit)
{
	enum { SIZE = 10 << 20 };
	char *data = calloc(1, SIZE);

	for (size_t i = 0; i < NAMES; i++) {
		auto_str packed = STR_INIT(2 * SIZE);
		auto_str exact = STR_INIT(SIZE);
		auto_str out = STR_INIT(SIZE - 1);
		auto_str small = STR_INIT(4096);
		struct err err = {0};

		ck_assert_int_eq(compression_apply(of(names[i]), &packed, data, SIZE, &err), 0);
		ck_assert_int_eq(
			compression_undo(of(names[i]), &exact, packed.data, packed.len, &err), 0);
		ck_assert_uint_eq(exact.len, SIZE);
		ck_assert_int_eq(
			compression_undo(of(names[i]), &out, packed.data, packed.len, &err), -1);
		ck_assert_int_eq(err.code, ERR_LIMIT);
		ck_assert_uint_le(out.len, SIZE);
		err_clear(&err);
		ck_assert_int_eq(
			compression_undo(of(names[i]), &small, packed.data, packed.len, &err), -1);
		ck_assert_int_eq(err.code, ERR_LIMIT);
		ck_assert_msg(strstr(err.text, "more than the 4096 bytes"), "%s", err.text);
		ck_assert_uint_le(small.cap, 4098);
	}
	free(data);
}
END_TEST

/* The sixth byte of the filter's properties is the size of its window: 2 GiB here. */
START_TEST(a_stream_may_not_ask_for_much_memory)
{
	static const unsigned char alone[] = {0x5d, 0,	  0,	0,    0x80, 0xff, 0xff, 0xff, 0xff,
					      0xff, 0xff, 0xff, 0xff, 0,    0,	  0,	0,    0};
	auto_str out = STR_INIT(4096);
	struct err err = {0};

	ck_assert_int_eq(compression_undo(of("lzma"), &out, alone, sizeof(alone), &err), -1);
	ck_assert_int_eq(err.code, ERR_LIMIT);
	ck_assert_str_eq(err.text, "lzma: needs more than 128 MiB of memory to read");
}
END_TEST
