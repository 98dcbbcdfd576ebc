#include "protocol/pyjson.h"

#include "tests/unit/protocol/golden.h"

static void assert_span(struct span span, const char *expected)
{
	ck_assert_uint_eq(span.len, strlen(expected));
	ck_assert_mem_eq(span.data, expected, span.len);
}

START_TEST(an_array_is_cut_into_its_elements)
{
	const char *text = " [[1, \"]\"] , {\"a\": [2]}, null ] ";
	struct pyjson_item items[3];
	enum pyjson_kind kind;
	size_t count;

	ck_assert_int_eq(pyjson_scan(text, strlen(text), &kind, items, 3, &count, NULL), 0);
	ck_assert_int_eq(kind, PYJSON_ARRAY);
	ck_assert_uint_eq(count, 3);
	assert_span(items[0].value, "[1, \"]\"]");
	assert_span(items[1].value, "{\"a\": [2]}");
	assert_span(items[2].value, "null");
	ck_assert_ptr_null(items[0].key.data);
}
END_TEST

START_TEST(an_object_is_cut_into_keys_and_values)
{
	const char *text = "{\"a\\n\": \"x\\\"y\", \"b\": -1.5e3}";
	struct pyjson_item items[2];
	enum pyjson_kind kind;
	size_t count;

	ck_assert_int_eq(pyjson_scan(text, strlen(text), &kind, items, 2, &count, NULL), 0);
	ck_assert_int_eq(kind, PYJSON_OBJECT);
	ck_assert_uint_eq(count, 2);
	assert_span(items[0].key, "a\\n");
	assert_span(items[0].value, "\"x\\\"y\"");
	assert_span(items[1].key, "b");
	assert_span(items[1].value, "-1.5e3");
}
END_TEST

START_TEST(more_items_than_fit_are_counted)
{
	struct pyjson_item items[2];
	enum pyjson_kind kind;
	size_t count;

	ck_assert_int_eq(pyjson_scan("[1,2,3,4]", 9, &kind, items, 2, &count, NULL), 0);
	ck_assert_uint_eq(count, 4);
	assert_span(items[1].value, "2");
}
END_TEST

START_TEST(the_kind_of_a_scalar_is_told)
{
	static const struct {
		const char *text;
		enum pyjson_kind kind;
	} rows[] = {{"null", PYJSON_NULL}, {"true", PYJSON_BOOL},   {" false ", PYJSON_BOOL},
		    {"-1", PYJSON_NUM},	   {"NaN", PYJSON_NUM},	    {"Infinity", PYJSON_NUM},
		    {"0.5", PYJSON_NUM},   {"\"x\"", PYJSON_STRING}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		enum pyjson_kind kind;
		size_t count;

		ck_assert_int_eq(pyjson_scan(rows[i].text, strlen(rows[i].text), &kind, NULL, 0,
					     &count, NULL),
				 0);
		ck_assert_int_eq(kind, rows[i].kind);
		ck_assert_uint_eq(count, 0);
	}
}
END_TEST

static void assert_agrees(const char *text, size_t len)
{
	struct err loading = {0}, scanning = {0};
	json_t *value = pyjson_load(text, len, &loading);
	enum pyjson_kind kind;
	size_t count;
	int rc = pyjson_scan(text, len, &kind, NULL, 0, &count, &scanning);

	ck_assert_msg((rc == 0) == (value != NULL), "%s", text);
	ck_assert_str_eq(loading.text, scanning.text);
	json_decref(value);
}

START_TEST(the_scanner_accepts_what_the_reader_accepts)
{
	static const char *const files[] = {"tests/golden/pyjson/load.tsv",
					    "tests/golden/pyjson/tags.tsv"};

	for (size_t i = 0; i < 2; i++) {
		struct golden g;

		golden_open(&g, files[i]);
		while (golden_next(&g))
			assert_agrees(g.field[0], g.len[0]);
	}
	assert_agrees("{\"\\u005F\\u005ftype__\": \"nope\", \"__value__\": 1}", 46);
	assert_agrees("[\"\\u0041\"]", 10);
}
END_TEST
