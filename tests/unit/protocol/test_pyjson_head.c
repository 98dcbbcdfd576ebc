#include "base/mem.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"
#include "tests/unit/protocol/golden.h"

/* The short text shows as the long one does. */
static void check_head(const char *data, size_t len, size_t max_len, unsigned levels, bool as_tuple)
{
	auto_str head = {.max = 1 << 30};
	auto_str shown = {.max = 1 << 30};
	auto_str wanted = {.max = 1 << 30};
	json_t *whole = pyjson_load(data, len, NULL);

	ck_assert_ptr_nonnull(whole);
	ck_assert_int_eq(pyjson_head(&head, data, len, max_len, levels, as_tuple), 0);
	json_t *part = pyjson_load(head.data, head.len, NULL);

	ck_assert_msg(part != NULL, "%.300s\n%.900s", data, head.data);
	pyjson_repr(&shown, part, max_len, levels, as_tuple);
	pyjson_repr(&wanted, whole, max_len, levels, as_tuple);
	ck_assert_msg(strcmp(shown.data, wanted.data) == 0,
		      "%.300s, %zu characters, %u levels\nwanted %.300s\nshown  %.300s", data,
		      max_len, levels, wanted.data, shown.data);
	json_decref(whole);
	json_decref(part);
}

START_TEST(a_head_shows_as_the_whole_text_does)
{
	struct golden g;

	golden_open(&g, "tests/golden/pyjson/repr.tsv");
	while (golden_next(&g)) {
		size_t max_len = strtoul(g.field[1], NULL, 10);

		if (max_len)
			check_head(g.field[0], g.len[0], max_len,
				   (unsigned)strtoul(g.field[2], NULL, 10), *g.field[3] == 't');
	}
}
END_TEST

static unsigned draw(unsigned below)
{
	return (unsigned)(drand48() * below);
}

static void add_random_string(struct str *out)
{
	static const char *const parts[] = {
		"a", "b c",  "\\n",  "\\\\",	"\\\"", "\\u00e9", "ż", "]", "\\ud83d\\ude42",
		"}", "🙂", "{\\/", "\\ud800", " ",	"'"};

	str_addc(out, '"');
	for (unsigned n = draw(20) ? draw(4) : draw(2000); n > 0; n--)
		str_puts(out, parts[draw(15)]);
	str_addc(out, '"');
}

static void add_random(struct str *out, unsigned level)
{
	static const char *const words[] = {
		"null", "true",
		"1",	"-2.5e10",
		"NaN",	"123456789012345678901234567890",
		"[]",	"{}",
		"[[]]", "{\"__type__\": \"decimal\", \"__value__\": \"1.50\"}"};
	bool is_array = draw(2);
	unsigned count = level > 1 || draw(3) ? draw(5) : draw(60);

	if (level > 5 || draw(3) == 0) {
		if (draw(2))
			str_puts(out, words[draw(10)]);
		else
			add_random_string(out);
		return;
	}
	str_puts(out, is_array ? "[ " : "{\n");
	for (unsigned i = 0; i < count; i++) {
		str_puts(out, i ? " , " : "");
		if (!is_array)
			str_addf(out, "\"key %u\\\"\" :", i);
		add_random(out, level + 1);
	}
	str_puts(out, is_array ? "]" : " }");
}

START_TEST(heads_of_random_texts_show_as_they_do)
{
	static const size_t limits[] = {1, 2, 10, 100, 1024};

	srand48(1);
	for (int i = 0; i < 600; i++) {
		auto_str text = {.max = 1 << 30};

		add_random(&text, 0);
		check_head(text.data, text.len, limits[draw(5)], draw(5), draw(2));
	}
}
END_TEST

/* A text of `count` elements between two brackets. */
static char *repeat(const char *begin, const char *element, unsigned count, const char *end)
{
	struct str text;

	str_init(&text, 1 << 30);
	str_puts(&text, begin);
	for (unsigned i = 0; i < count; i++) {
		str_puts(&text, i && *begin != '"' ? ", " : "");
		str_puts(&text, element);
	}
	str_puts(&text, end);
	return str_detach(&text);
}

/* T-158 */
START_TEST(a_long_text_is_shown_without_being_read_whole) /* timeout 60 */
{
	static const struct {
		const char *begin, *element, *end, *shown;
	} rows[] = {
		{"\"", "x", "\"", "'xxxx"},
		{"\"", "\\u017c", "\"", "'żżżż"},
		{"[", "1", "]", "[1, 1, 1"},
		{"[", "[[[[1]]]]", "]", "[[[[...]]], [[["},
		{"{\"a\": [", "\"b\"", "], \"c\": 1}", "{'a': ['b', 'b', "},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		auto_free char *text = repeat(rows[i].begin, rows[i].element, 1000000, rows[i].end);
		auto_str head = {.max = 1 << 30};
		auto_str shown = {.max = 1 << 20};

		check_head(text, strlen(text), 1024, 3, false);
		ck_assert_int_eq(pyjson_head(&head, text, strlen(text), 1024, 3, false), 0);
		ck_assert_uint_lt(head.len, 20000);
		ck_assert_int_eq(pyjson_repr_text(&shown, text, strlen(text), 1024, 3, false), 0);
		ck_assert_int_eq(strncmp(shown.data, rows[i].shown, strlen(rows[i].shown)), 0);
	}
}
END_TEST

START_TEST(a_tuple_of_one_is_told_from_a_tuple_of_two)
{
	auto_free char *one = repeat("[[", "1", 100000, "]]");
	auto_free char *two = repeat("[[", "1", 100000, "], 2]");
	auto_str shown = {.max = 1 << 20};

	check_head(one, strlen(one), 1024, 3, true);
	check_head(two, strlen(two), 1024, 3, true);
	pyjson_repr_text(&shown, one, strlen(one), 1024, 3, true);
	ck_assert_str_eq(shown.data + shown.len - 2, ",)");
}
END_TEST

/* What makes it a plain object may be behind the cut: it is shown as one all the same. */
START_TEST(an_object_that_would_be_a_bad_tag_when_cut_is_shown_whole)
{
	auto_free char *text =
		repeat("{\"__type__\": \"time\", \"__value__\": [", "1", 100000, "], \"z\": 1}");
	auto_str head = {.max = 1 << 20}, shown = {.max = 1 << 20};
	struct err err = {0};

	ck_assert_int_eq(pyjson_head(&head, text, strlen(text), 1024, 3, false), 0);
	ck_assert_ptr_null(pyjson_load(head.data, head.len, &err));
	ck_assert_int_eq(pyjson_repr_text(&shown, text, strlen(text), 1024, 3, false), 0);
	ck_assert_msg(strncmp(shown.data, "{'__type__': 'time', '__value__': [1, 1", 39) == 0, "%s",
		      shown.data);
}
END_TEST

START_TEST(a_text_that_is_none_is_refused)
{
	static const char *const rows[] = {"",	     "[",     "\"", "\"\\", "\"\\u12", "{\"a\"",
					   "{1: 2}", "[1 2]", "{",  "[[",   "{\"a\":}"};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		auto_str head = {.max = 1 << 20};

		ck_assert_msg(pyjson_head(&head, rows[i], strlen(rows[i]), 10, 3, true) == -1, "%s",
			      rows[i]);
	}
}
END_TEST
