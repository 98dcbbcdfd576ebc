#include "protocol/yaml_text.h"

#include "base/text.h"
#include "tests/unit/protocol/content_golden.h"

/* libyaml reads tabs where PyYAML does not, wants a space behind the colon of a key without value
 * in flow style, takes no surrogates and a lone "!" for a text. Octal numbers have 64 bits. */
static bool is_known(const char *data, size_t len)
{
	return (len == 1 && *data == '!') || memchr(data, '\t', len) ||
	       memmem(data, len, ":]", 2) || memmem(data, len, ":,", 2) ||
	       memmem(data, len, "\\ud8", 4) || memmem(data, len, "\\udc", 4) ||
	       memmem(data, len, "[0777177777", 11);
}

/* T-35 */
START_TEST(what_python_loads_is_read_and_nothing_else)
{
	content_check_loads("tests/golden/content/yaml-load.tsv", yaml_text_load, is_known);
}
END_TEST

static void assert_dump(const char *json, const char *expected)
{
	auto_str out = STR_INIT(1 << 20);
	auto_str back = STR_INIT(1 << 20);
	struct err err = {0};
	json_t *value = pyjson_load(json, strlen(json), NULL);

	ck_assert_ptr_nonnull(value);
	ck_assert_msg(yaml_text_dump(&out, value, &err) == 0, "%s", err.text);
	ck_assert_str_eq(out.data, expected);
	ck_assert_msg(yaml_text_load(&back, out.data, out.len, &err) == 0, "%s: %s", out.data,
		      err.text);
	json_decref(value);
}

static void assert_no_dump(const char *json, const char *why)
{
	auto_str out = STR_INIT(1 << 20);
	struct err err = {0};
	json_t *value = pyjson_load(json, strlen(json), NULL);

	ck_assert_int_eq(yaml_text_dump(&out, value, &err), -1);
	ck_assert_str_eq(err.text, why);
	json_decref(value);
}

#define TAGGED(type, value) "{\"__type__\": \"" type "\", \"__value__\": " value "}"

/* T-35 */
START_TEST(values_are_written_for_yaml_1_1)
{
	assert_dump("[null, true, false, 1, -5, 1.5, \"a\"]",
		    "[null, true, false, 1, -5, 1.5, \"a\"]");
	assert_dump("[1e16, 1e-7, 1.5e300, NaN, Infinity, -Infinity]",
		    "[1.0e+16, 1.0e-07, 1.5e+300, .nan, .inf, -.inf]");
	assert_dump("123456789012345678901234567890", "123456789012345678901234567890");
	assert_dump("\"\\u00e9\\ud83d\\ude00\\n\\u2028\\\"\\\\/\"",
		    "\"\\xE9\\U0001F600\\x0A\\u2028\\\"\\\\/\"");
	assert_dump("{\"a\": {}, \"\": []}", "{\"a\": {}, \"\": []}");
	assert_dump(TAGGED("bytes", "\"abc\""), "!!binary \"YWJj\"");
	assert_dump(TAGGED("base64", "\"//4=\""), "!!binary \"//4=\"");
	assert_dump(TAGGED("date", "\"2026-01-02\""), "!!timestamp \"2026-01-02\"");
	assert_dump(TAGGED("datetime", "\"2026-01-02T03:04:05.000678-05:30\""),
		    "!!timestamp \"2026-01-02T03:04:05.000678-05:30\"");
	assert_no_dump(TAGGED("decimal", "\"1.5\""), "yaml cannot serialize Decimal");
	assert_no_dump(TAGGED("time", "\"03:04\""), "yaml cannot serialize time");
}
END_TEST

/* PyYAML looks for the colon of a simple key 1024 characters ahead. */
START_TEST(a_long_key_is_marked)
{
	json_t *object = json_object();
	char key[2000];
	auto_str out = STR_INIT(1 << 20);

	memset(key, 'k', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	json_object_set_new(object, key, json_integer(1));
	ck_assert_int_eq(yaml_text_dump(&out, object, NULL), 0);
	ck_assert_int_eq(strncmp(out.data, "{? \"kkk", 7), 0);
	json_decref(object);
}
END_TEST

static enum err_code load_code(const char *text, size_t max)
{
	auto_str out = STR_INIT(max);
	struct err err = {0};

	yaml_text_load(&out, text, strlen(text), &err);
	ck_assert(utf8_is_valid(err.text, strlen(err.text)));
	return err.code;
}

/* Nine lists of nine of the one before. */
START_TEST(laughs_are_limited)
{
	auto_str text = STR_INIT(1 << 20);

	str_puts(&text, "- &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
	for (int i = 1; i < 40; i++) {
		str_addf(&text, "- &a%d [", i);
		for (int k = 0; k < 9; k++)
			str_addf(&text, "*a%d, ", i - 1);
		str_puts(&text, "]\n");
	}
	ck_assert_int_eq(load_code(text.data, 1 << 20), ERR_LIMIT);
}
END_TEST

START_TEST(nesting_has_a_limit)
{
	auto_str text = STR_INIT(1 << 20);
	auto_str chain = STR_INIT(1 << 20);

	for (int i = 0; i < 600; i++)
		str_addc(&text, '[');
	for (int i = 0; i < 600; i++)
		str_addc(&text, ']');
	ck_assert_int_eq(load_code(text.data, 1 << 20), ERR_LIMIT);
	ck_assert_int_eq(load_code(text.data + 200, 1 << 20), ERR_INVALID);
	str_puts(&chain, "- &a0 [x]\n");
	for (int i = 1; i < 20000; i++)
		str_addf(&chain, "- &a%d [*a%d]\n", i, i - 1);
	ck_assert_int_eq(load_code(chain.data, 1 << 20), ERR_LIMIT);
}
END_TEST
