#include "base/map.h"
#include "base/text.h"

#include <check.h>
#include <float.h>
#include <math.h>
#include <string.h>

START_TEST(a_float_is_written_as_python_writes_it)
{
	static const struct {
		double value;
		const char *text;
	} rows[] = {
		{0.0, "0.0"},
		{-0.0, "-0.0"},
		{1.0, "1.0"},
		{0.1, "0.1"},
		{-2.5, "-2.5"},
		{1.0 / 3.0, "0.3333333333333333"},
		{0.1 + 0.2, "0.30000000000000004"},
		{100.0, "100.0"},
		{123456.789, "123456.789"},
		{0.0001, "0.0001"},
		{0.00012, "0.00012"},
		{0.00001, "1e-05"},
		{1.5e-7, "1.5e-07"},
		{1e15, "1000000000000000.0"},
		{9999999999999998.0, "9999999999999998.0"},
		{1e16, "1e+16"},
		{1.2345e+22, "1.2345e+22"},
		{1e100, "1e+100"},
		{1700000000.123456, "1700000000.123456"},
		{DBL_MAX, "1.7976931348623157e+308"},
		{DBL_MIN, "2.2250738585072014e-308"},
		{5e-324, "5e-324"},		       /* subnormal: one digit is enough */
		{0x1p-1017, "7.120236347223045e-307"}, /* 16 digits, but not the nearest 16 */
		{HUGE_VAL, "inf"},
		{-HUGE_VAL, "-inf"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		auto_str out = {.max = 64};

		ck_assert_int_eq(float_repr(&out, rows[i].value), 0);
		ck_assert_str_eq(out.data, rows[i].text);
	}
}
END_TEST

START_TEST(not_a_number_is_nan)
{
	auto_str out = {.max = 64};

	ck_assert_int_eq(float_repr(&out, (double)NAN), 0);
	ck_assert_str_eq(out.data, "nan");
}
END_TEST

START_TEST(a_float_that_does_not_fit_adds_nothing)
{
	auto_str out = {.max = 2};

	ck_assert_int_eq(float_repr(&out, 0.1), -1);
	ck_assert_uint_eq(out.len, 0);
}
END_TEST

START_TEST(base64_is_encoded_with_padding)
{
	static const char *const rows[][2] = {
		{"", ""},	 {"f", "Zg=="},	       {"fo", "Zm8="},
		{"foo", "Zm9v"}, {"\xff\xfe", "//4="}, {"\xfb\xff", "+/8="},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		auto_str out = {.max = 64};

		ck_assert_int_eq(base64_encode(&out, rows[i][0], strlen(rows[i][0])), 0);
		ck_assert_str_eq(out.data, rows[i][1]);
	}
}
END_TEST

/* Results of Python's b64decode; NULL = binascii.Error. */
START_TEST(base64_is_decoded_as_b64decode_does)
{
	static const char *const rows[][2] = {
		{"", ""},	    {"Zg==", "f"},	  {"Zm8=", "fo"},
		{"Zm9v", "foo"},    {"Zm9vZg==", "foof"}, {"Zm\n9v\r\n", "foo"},
		{"Z-m_9 v", "foo"}, {"Zg==Zm9v", "f"},	  {"=Zm9v", "foo"},
		{"Z=g==", "f"},	    {"Zg", NULL},	  {"Zg=", NULL},
		{"Z", NULL},	    {"Zm9vZ", NULL},	  {"Zm8", NULL},
		{"====", ""},	    {"Zg=\n=", "f"},	  {"Zg=x=", "f\x0c"},
		{"Zm8=v", "fo"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err err = {0};
		auto_str out = {.max = 64};
		int result = base64_decode(&out, rows[i][0], strlen(rows[i][0]), &err);

		ck_assert_msg((result == 0) == (rows[i][1] != NULL), "'%s'", rows[i][0]);
		if (rows[i][1])
			ck_assert_str_eq(out.data, rows[i][1]);
		else
			ck_assert_int_eq(err.code, ERR_INVALID);
	}
}
END_TEST

START_TEST(base64_over_the_maximum_is_a_limit_error)
{
	struct err err = {0};
	auto_str out = {.max = 3};

	ck_assert_int_eq(base64_decode(&out, "Zm9v\n", 5, &err), 0);
	str_reset(&out);
	ck_assert_int_eq(base64_decode(&out, "Zm9vZg==", 8, &err), -1);
	ck_assert_int_eq(err.code, ERR_LIMIT);
	ck_assert_uint_eq(out.len, 0);
}
END_TEST

START_TEST(every_byte_survives_base64)
{
	unsigned char all[256];
	auto_str text = {.max = 1024};
	auto_str back = {.max = 1024};

	for (int i = 0; i < 256; i++)
		all[i] = (unsigned char)i;
	ck_assert_int_eq(base64_encode(&text, all, sizeof(all)), 0);
	ck_assert_int_eq(base64_decode(&back, text.data, text.len, NULL), 0);
	ck_assert_uint_eq(back.len, sizeof(all));
	ck_assert_mem_eq(back.data, all, sizeof(all));
}
END_TEST

START_TEST(uuids_are_of_version_4_and_differ)
{
	char a[37], b[37];

	uuid4(a);
	uuid4(b);
	ck_assert_uint_eq(strlen(a), 36);
	ck_assert_str_ne(a, b);
	for (int i = 0; i < 36; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23)
			ck_assert_int_eq(a[i], '-');
		else
			ck_assert_ptr_nonnull(strchr("0123456789abcdef", a[i]));
	ck_assert_int_eq(a[14], '4');
	ck_assert_ptr_nonnull(strchr("89ab", a[19]));
}
END_TEST

START_TEST(a_uuid_of_a_text_is_always_the_same)
{
	char a[37], b[37];

	uuid_of(a, "t-1", 0);
	uuid_of(b, "t-1", 0);
	ck_assert_str_eq(a, b);
	ck_assert_uint_eq(strlen(a), 36);
	ck_assert_int_eq(a[14], '4');
	uuid_of(b, "t-1", 1);
	ck_assert_str_ne(a, b);
	uuid_of(b, "t-2", 0);
	ck_assert_str_ne(a, b);
}
END_TEST

/* As many as one canvas may have, of two tasks whose ids differ in one letter. */
START_TEST(no_two_uuids_of_texts_are_alike)
{
	struct map *seen = map_new();
	char id[37];

	for (uint64_t i = 0; i < 100000; i++)
		for (int task = 0; task < 2; task++) {
			uuid_of(id, task ? "a0" : "a1", i);
			ck_assert_msg(!map_put(seen, id, seen), "%s", id);
		}
	map_free(seen);
}
END_TEST

START_TEST(utf8_is_told_from_what_only_looks_like_it)
{
	static const struct {
		const char *text;
		bool is_valid;
	} rows[] = {
		{"", true},
		{"plain", true},
		{"caf\xc3\xa9", true},
		{"\xe2\x82\xac", true},
		{"\xf0\x9f\x98\x80", true},
		{"\xf4\x8f\xbf\xbf", true},
		{"\xed\x9f\xbf", true},
		{"\x80", false},	     /* continuation first */
		{"\xc3", false},	     /* cut */
		{"\xe2\x82", false},	     /* cut */
		{"\xc0\xaf", false},	     /* overlong */
		{"\xe0\x80\xaf", false},     /* overlong */
		{"\xf0\x80\x80\xaf", false}, /* overlong */
		{"\xed\xa0\x80", false},     /* surrogate */
		{"\xf4\x90\x80\x80", false}, /* above U+10FFFF */
		{"\xff", false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ck_assert_msg(utf8_is_valid(rows[i].text, strlen(rows[i].text)) == rows[i].is_valid,
			      "row %zu", i);
	ck_assert(utf8_is_valid("a\0b", 3));
}
END_TEST

START_TEST(the_edit_distance_counts_changes)
{
	static const struct {
		const char *a, *b;
		unsigned distance;
	} rows[] = {
		{"", "", 0},
		{"", "abc", 3},
		{"queue", "queue", 0},
		{"queue", "queues", 1},
		{"brokr", "broker", 1},
		{"abcd", "acbd", 2},
		{"kitten", "sitting", 3},
	};
	char long_a[200], long_b[200];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_uint_eq(text_distance(rows[i].a, rows[i].b), rows[i].distance);
		ck_assert_uint_eq(text_distance(rows[i].b, rows[i].a), rows[i].distance);
	}
	memset(long_a, 'a', sizeof(long_a));
	memset(long_b, 'b', sizeof(long_b));
	long_a[199] = long_b[199] = '\0';
	ck_assert_uint_eq(text_distance(long_a, long_b), 63);
}
END_TEST

START_TEST(a_byte_that_is_not_utf8_is_found_wherever_it_stands)
{
	char text[40];

	for (size_t len = 1; len <= sizeof(text); len++)
		for (size_t at = 0; at < len; at++) {
			memset(text, 'x', sizeof(text));
			ck_assert(utf8_is_valid(text, len));
			text[at] = (char)0x80;
			ck_assert(!utf8_is_valid(text, len));
			ck_assert(utf8_is_valid(text, at));
			text[at] = (char)0xc3;
			ck_assert(!utf8_is_valid(text, len));
			text[at + 1 < sizeof(text) ? at + 1 : at] = (char)0xa9;
			ck_assert(utf8_is_valid(text, len) == (at + 1 < len));
		}
}
END_TEST
