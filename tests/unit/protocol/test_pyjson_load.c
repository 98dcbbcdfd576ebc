#include "protocol/pyjson.h"

#include "tests/unit/protocol/golden.h"

static json_t *load(const char *text, struct err *err)
{
	return pyjson_load(text, strlen(text), err);
}

static void assert_dump(const json_t *value, const char *expected)
{
	auto_str out = {.max = 1 << 20};

	ck_assert_int_eq(pyjson_dump(&out, value), 0);
	ck_assert_str_eq(out.data, expected);
}

/* "= " and what Python writes again, or "! " and its error. */
static void check_row(const struct golden *g)
{
	struct err err = {0};
	json_t *value = pyjson_load(g->field[0], g->len[0], &err);
	auto_str out = {.max = 1 << 20};

	if (value)
		str_puts(&out, "= ");
	else
		str_addf(&out, "! %s", err.text);
	if (value)
		ck_assert_int_eq(pyjson_dump(&out, value), 0);
	ck_assert_msg(out.len == g->len[1] && memcmp(out.data, g->field[1], out.len) == 0,
		      "line %u: %s\nPython %s\nhere   %s", g->number, g->field[0], g->field[1],
		      out.data);
	json_decref(value);
}

/* T-32 T-33 */
START_TEST(texts_are_read_and_written_as_python_does)
{
	struct golden g;

	golden_open(&g, "tests/golden/pyjson/load.tsv");
	while (golden_next(&g))
		if (strncmp(g.field[1], "! Exceeds the limit", 19) != 0)
			check_row(&g);
}
END_TEST

/* T-28 T-29 T-30 */
START_TEST(tags_are_accepted_and_refused_as_kombu_does)
{
	struct golden g;

	golden_open(&g, "tests/golden/pyjson/tags.tsv");
	while (golden_next(&g)) {
		struct err err = {0};
		json_t *value = pyjson_load(g.field[0], g.len[0], &err);
		/* Python's Decimal takes a digit tuple too, which nobody sends. */
		bool is_odd = strstr(g.field[0], "[1]") != NULL;

		ck_assert_msg(is_odd || (value != NULL) == (*g.field[1] == '='), "line %u: %s: %s",
			      g.number, g.field[0], err.text);
		ck_assert(value || err.code == ERR_INVALID);
		json_decref(value);
	}
}
END_TEST

static void assert_tag(const char *text, enum pyjson_tag tag, const char *expected)
{
	struct err err = {0};
	json_t *value = load(text, &err);
	const char *got = "";

	ck_assert_msg(value != NULL, "%s", err.text);
	ck_assert_int_eq(pyjson_tag(value, &got), tag);
	ck_assert_pstr_eq(got, expected);
	json_decref(value);
}

/* T-28 T-32 */
START_TEST(a_tag_tells_its_kind_and_text)
{
	assert_tag("{\"__type__\": \"datetime\", \"__value__\": \"2026-01-02T03:04:05\"}",
		   PYJSON_DATETIME, "2026-01-02T03:04:05");
	assert_tag("{\"__value__\": \"2026-01-02\", \"__type__\": \"date\"}", PYJSON_DATE,
		   "2026-01-02");
	assert_tag("{\"__type__\": \"time\", \"__value__\": \"03:04\"}", PYJSON_TIME, "03:04");
	assert_tag("{\"__type__\": \"decimal\", \"__value__\": \"1.50\"}", PYJSON_DECIMAL, "1.50");
	assert_tag("{\"__type__\": \"decimal\", \"__value__\": 7}", PYJSON_DECIMAL, "7");
	assert_tag("{\"__type__\": \"decimal\", \"__value__\": 0.1}", PYJSON_DECIMAL, "0.1");
	assert_tag("{\"__type__\": \"uuid\", \"__value__\": {\"hex\": "
		   "\"{11111111-1111-4111-8111-11111111111A}\"}}",
		   PYJSON_UUID, "1111111111114111811111111111111a");
	assert_tag("{\"__type__\": \"bytes\", \"__value__\": \"abc\"}", PYJSON_BYTES, "abc");
	assert_tag("{\"__type__\": \"base64\", \"__value__\": \"//4=\"}", PYJSON_BASE64, "//4=");
	assert_tag("NaN", PYJSON_NUMBER, "NaN");
	assert_tag("9223372036854775808", PYJSON_NUMBER, "9223372036854775808");
	assert_tag("{\"__type__\": \"date\", \"__value__\": \"x\", \"k\": 1}", PYJSON_PLAIN, NULL);
	assert_tag("{\"a\": 1}", PYJSON_PLAIN, NULL);
	assert_tag("\"text\"", PYJSON_PLAIN, NULL);
}
END_TEST

/* T-28 */
START_TEST(tags_round_trip_inside_other_values)
{
	const char *text = "[{\"when\": {\"__type__\": \"datetime\", \"__value__\": "
			   "\"2026-01-02T03:04:05.000678+00:00\"}}]";
	json_t *value = load(text, NULL);

	assert_dump(value, text);
	json_decref(value);
}
END_TEST

START_TEST(an_escaped_tag_key_is_a_tag_too)
{
	struct err err = {0};
	json_t *value = load("{\"\\u005f_type__\": \"nope\", \"__value__\": 1}", &err);

	ck_assert_ptr_null(value);
	ck_assert_str_eq(err.text, "Unsupported type 'nope'");
}
END_TEST

static char *nested(size_t depth, char open, char close)
{
	char *text = malloc(2 * depth + 1);

	memset(text, open, depth);
	memset(text + depth, close, depth);
	text[2 * depth] = '\0';
	return text;
}

START_TEST(nesting_has_a_limit)
{
	char *fits = nested(PYJSON_MAX_DEPTH, '[', ']');
	char *deep = nested(PYJSON_MAX_DEPTH + 1, '[', ']'),
	     *bottomless = nested(1000000, '[', ']');
	struct err err = {0};
	json_t *value = load(fits, &err);

	ck_assert_ptr_nonnull(value);
	assert_dump(value, fits);
	json_decref(value);
	ck_assert_ptr_null(load(deep, &err));
	ck_assert_int_eq(err.code, ERR_LIMIT);
	ck_assert_str_eq(err.text, "nested deeper than 512 levels");
	ck_assert_ptr_null(load(bottomless, NULL));
	free(fits);
	free(deep);
	free(bottomless);
}
END_TEST

/* T-32 */
START_TEST(an_integer_may_have_4300_digits)
{
	char digits[4400];
	struct err err = {0};
	json_t *value;

	memset(digits, '7', sizeof(digits));
	digits[4300] = '\0';
	value = load(digits, NULL);
	assert_dump(value, digits);
	json_decref(value);
	digits[4300] = '7';
	digits[4301] = '\0';
	ck_assert_ptr_null(load(digits, &err));
	ck_assert_int_eq(err.code, ERR_LIMIT);
}
END_TEST

START_TEST(no_text_of_json_makes_a_marked_number)
{
	json_t *value = load("{\"\\u00ff\": \"NaN\"}", NULL);

	ck_assert_int_eq(pyjson_tag(value, NULL), PYJSON_PLAIN);
	assert_dump(value, "{\"\\u00ff\": \"NaN\"}");
	json_decref(value);
	ck_assert_ptr_null(load("{\"\xff\": \"NaN\"}", NULL));
}
END_TEST

START_TEST(a_marked_number_is_written_bare)
{
	json_t *number = pyjson_number("123456789012345678901234567890", 30);

	assert_dump(number, "123456789012345678901234567890");
	json_decref(number);
}
END_TEST

START_TEST(writing_stops_when_the_buffer_is_full)
{
	auto_str out = {.max = 5};
	json_t *value = load("[1, 2, 3]", NULL);

	ck_assert_int_eq(pyjson_dump(&out, value), -1);
	ck_assert(out.is_full);
	json_decref(value);
}
END_TEST

START_TEST(writing_stops_at_a_value_without_end)
{
	auto_str out = {.max = 1 << 20};
	json_t *top = json_array();

	for (int i = 0; i < 2 * PYJSON_MAX_DEPTH; i++) {
		json_t *outer = json_array();

		json_array_append_new(outer, top);
		top = outer;
	}
	ck_assert_int_eq(pyjson_dump(&out, top), -1);
	ck_assert(out.is_full);
	json_decref(top);
}
END_TEST

START_TEST(bytes_that_are_not_utf8_become_replacement_characters)
{
	auto_str out = {.max = 100};

	ck_assert_int_eq(pyjson_dump_str(&out, "a\xff\xc3z\xe2\x82", 6), 0);
	ck_assert_str_eq(out.data, "\"a\\ufffd\\ufffdz\\ufffd\\ufffd\"");
}
END_TEST

START_TEST(every_character_is_seen_at_every_place)
{
	char text[20], expected[40];

	for (int c = 0; c < 0x80; c++) {
		bool is_plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';

		for (size_t place = 0; place < sizeof(text); place++) {
			auto_str out = {.max = 1000};
			json_t *back;

			memset(text, 'x', sizeof(text));
			text[place] = (char)c;
			ck_assert_int_eq(pyjson_dump_str(&out, text, sizeof(text)), 0);
			snprintf(expected, sizeof(expected), "\"%.*s\"", (int)sizeof(text), text);
			ck_assert(is_plain == (strcmp(out.data, expected) == 0));
			back = pyjson_load(out.data, out.len, NULL);
			if (c != 0)
				ck_assert(strncmp(json_string_value(back), text, sizeof(text)) ==
					  0);
			json_decref(back);
		}
	}
}
END_TEST
