#include "protocol/params.h"

#include "base/text.h"
#include "protocol/pyjson.h"
#include "tests/unit/protocol/golden.h"

static json_t *load(const char *text)
{
	json_t *value = pyjson_load(text, strlen(text), NULL);

	ck_assert_msg(value != NULL, "%s", text);
	return value;
}

static struct params *parse(const char *signature)
{
	struct err err = {0};
	struct params *params = params_parse(signature, &err);

	ck_assert_msg(params != NULL, "%s", err.text);
	return params;
}

/* "= " and the bound object, or "! " and the error, as a Python function says it. */
static void bind_text(struct str *out, const char *signature, const char *args, const char *kwargs)
{
	struct params *params = parse(signature);
	json_t *a = load(args), *k = load(kwargs), *bound;
	struct err err = {0};

	bound = params_bind(params, "send", a, k, &err);
	if (bound) {
		str_puts(out, "= ");
		pyjson_dump(out, bound);
	} else {
		str_addf(out, "! %s", err.text);
	}
	json_decref(a);
	json_decref(k);
	json_decref(bound);
	params_free(params);
}

static void assert_bind(const char *signature, const char *args, const char *kwargs,
			const char *expected)
{
	auto_str out = {.max = 10000};

	bind_text(&out, signature, args, kwargs);
	ck_assert_str_eq(out.data, expected);
}

/* T-26. PARAMS_GOLDEN: a longer file, of record_params(path, signatures). */
START_TEST(calls_bind_and_fail_as_in_cpython)
{
	const char *path = getenv("PARAMS_GOLDEN");
	struct golden g;

	golden_open(&g, path ? path : "tests/golden/params/bind.tsv");
	while (golden_next(&g)) {
		auto_str out = {.max = 10000};

		bind_text(&out, g.field[0], g.field[1], g.field[2]);
		ck_assert_msg(strcmp(out.data, g.field[3]) == 0,
			      "line %u: def send(%s), *%s, **%s\nPython %s\nhere   %s", g.number,
			      g.field[0], g.field[1], g.field[2], g.field[3], out.data);
	}
}
END_TEST

START_TEST(a_value_of_another_type_is_refused)
{
	assert_bind("to: str", "[1]", "{}", "! send() argument 'to' must be str, not int");
	assert_bind("to: str | None", "[1.5]", "{}",
		    "! send() argument 'to' must be str or None, not float");
	assert_bind("n: number", "[\"1\"]", "{}",
		    "! send() argument 'n' must be int, float or Decimal, not str");
	assert_bind("n: int", "[1.0]", "{}", "! send() argument 'n' must be int, not float");
	assert_bind("n: int", "[null]", "{}", "! send() argument 'n' must be int, not NoneType");
	assert_bind("n: int", "[9223372036854775808]", "{}",
		    "! send() argument 'n' must be int, not an int over 64 bits");
	assert_bind("n: float", "[[]]", "{}", "! send() argument 'n' must be float, not list");
	assert_bind("x: dict", "[true]", "{}", "! send() argument 'x' must be dict, not bool");
	assert_bind("x: list", "[{}]", "{}", "! send() argument 'x' must be list, not dict");
	assert_bind("x: bool", "[1]", "{}", "! send() argument 'x' must be bool, not int");
	assert_bind("x: int", "[{\"__type__\": \"date\", \"__value__\": \"2026-01-02\"}]", "{}",
		    "! send() argument 'x' must be int, not date");
	assert_bind("x: dict", "[{\"__type__\": \"bytes\", \"__value__\": \"\"}]", "{}",
		    "! send() argument 'x' must be dict, not bytes");
	assert_bind("x: str", "[{\"__type__\": \"base64\", \"__value__\": \"//4=\"}]", "{}",
		    "! send() argument 'x' must be str, not bytes");
	assert_bind("*, a: int = 1", "[]", "{\"a\": \"x\"}",
		    "! send() argument 'a' must be int, not str");
}
END_TEST

START_TEST(values_of_the_declared_type_pass)
{
	assert_bind("a: any, b: str, c: int, d: float, e: bool, f: list, g: dict, h: number",
		    "[null, \"s\", 1, 2, true, [], {}, 3]", "{}",
		    "= {\"a\": null, \"b\": \"s\", \"c\": 1, \"d\": 2, \"e\": true, \"f\": [], "
		    "\"g\": {}, \"h\": 3}");
	assert_bind("a: str | None, b: float", "[null, NaN]", "{}", "= {\"a\": null, \"b\": NaN}");
	assert_bind("a: int", "[true]", "{}", "= {\"a\": 1}");
	assert_bind("a: number", "[{\"__type__\": \"decimal\", \"__value__\": \"1.50\"}]", "{}",
		    "= {\"a\": {\"__type__\": \"decimal\", \"__value__\": \"1.50\"}}");
}
END_TEST

/* T-28 */
START_TEST(a_tagged_value_becomes_text_for_str)
{
	assert_bind("x: str", "[{\"__type__\": \"decimal\", \"__value__\": \"1.50\"}]", "{}",
		    "= {\"x\": \"1.50\"}");
	assert_bind("x: str | None",
		    "[{\"__type__\": \"datetime\", \"__value__\": \"2026-01-02T03:04:05\"}]", "{}",
		    "= {\"x\": \"2026-01-02T03:04:05\"}");
	assert_bind("x: str",
		    "[{\"__type__\": \"uuid\", \"__value__\": {\"hex\": "
		    "\"11111111111141118111111111111111\"}}]",
		    "{}", "= {\"x\": \"11111111-1111-4111-8111-111111111111\"}");
	assert_bind("x: str", "[{\"__type__\": \"bytes\", \"__value__\": \"abc\"}]", "{}",
		    "= {\"x\": \"abc\"}");
}
END_TEST

START_TEST(what_is_left_is_a_list_of_the_declared_type)
{
	assert_bind("a, *more: int, k = 0", "[1, 2, true]", "{}",
		    "= {\"a\": 1, \"more\": [2, 1], \"k\": 0}");
	assert_bind("*more: int", "[2, \"x\"]", "{}",
		    "! send() argument 'more' must be int, not str");
	/* Python takes it, but here both would have one name. */
	assert_bind("*more, **extra", "[2]", "{\"more\": 1}",
		    "! send() got an unexpected keyword argument 'more'");
}
END_TEST

START_TEST(an_extra_key_with_a_nul_is_another_key)
{
	assert_bind("to: str, **extra", "[\"a\"]", "{\"to\\u0000\": 5}",
		    "= {\"to\": \"a\", \"to\\u0000\": 5}");
}
END_TEST

START_TEST(defaults_are_json_or_pythons_constants)
{
	assert_bind(
		"a = None, b = True, c = False, d = \"x, y\", e = [1, {\"k\": \",\"}], f = -1.5",
		"[]", "{}",
		"= {\"a\": null, \"b\": true, \"c\": false, \"d\": \"x, y\", \"e\": [1, {\"k\": "
		"\",\"}], \"f\": -1.5}");
}
END_TEST

START_TEST(a_default_is_a_copy_for_each_call)
{
	struct params *params = parse("a: list = []");
	json_t *first = params_bind(params, "send", NULL, NULL, NULL), *second;

	json_array_append_new(json_object_get(first, "a"), json_integer(1));
	second = params_bind(params, "send", NULL, NULL, NULL);
	ck_assert_uint_eq(json_array_size(json_object_get(second, "a")), 0);
	json_decref(first);
	json_decref(second);
	params_free(params);
}
END_TEST

START_TEST(a_hostile_name_stays_on_one_line)
{
	auto_str out = {.max = 10000}, kwargs = {.max = 10000};

	assert_bind("a = 1", "[]", "{\"x\\ny\\u2028\": 1}",
		    "! send() got an unexpected keyword argument 'x\\x0ay\\xe2\\x80\\xa8'");
	str_puts(&kwargs, "{\"x");
	for (int i = 0; i < 600; i++)
		str_puts(&kwargs, "\xc3\xa9");
	str_puts(&kwargs, "\": 1}");
	bind_text(&out, "a = 1", "[]", kwargs.data);
	ck_assert_uint_lt(out.len, 502);
	ck_assert(utf8_is_valid(out.data, out.len));
	ck_assert_str_eq(out.data + out.len - 3, "\xc3\xa9'");
}
END_TEST

static void assert_format(const char *signature, const char *expected)
{
	struct params *params = parse(signature);
	auto_str out = {.max = 10000};

	ck_assert_int_eq(params_format(&out, params), 0);
	ck_assert_str_eq(out.data ? out.data : "", expected);
	params_free(params);
}

START_TEST(a_list_is_written_in_one_form)
{
	assert_format("", "");
	assert_format("a", "a: any");
	assert_format(" to:str ,html :str|None=None,*,tenant_id = 1 , ** extra , ",
		      "to: str, html: str | None = None, *, tenant_id: any = 1, **extra");
	assert_format("**extra", "**extra");
	assert_format("*, a: None | int = 0", "*, a: int | None = 0");
	assert_format("a = true, b = null", "a: any = True, b: any = None");
	assert_format("a,/,b", "a: any, /, b: any");
	assert_format("a:int,/", "a: int, /");
	assert_format("a=1,/,*r:str|None,k", "a: any = 1, /, *r: str | None, k: any");
	assert_format("* r", "*r: any");
	assert_format("*r,**x", "*r: any, **x");
}
END_TEST

static void assert_python(const char *signature, const char *expected)
{
	struct params *params = parse(signature);
	auto_str out = {.max = 10000};

	ck_assert_int_eq(params_format_python(&out, params, ", "), 0);
	ck_assert_str_eq(out.data ? out.data : "", expected);
	params_free(params);
}

START_TEST(a_list_is_written_as_python)
{
	assert_python("", "");
	assert_python("a, /, n: number | None, *r: float, k: bool = true",
		      "a: Any, /, n: int | float | Decimal | None, *r: float, k: bool = True");
	assert_python("a: list | None = [1, null, {\"k\": [true, -1.5]}], **x",
		      "a: list | None = [1, None, {'k': [True, -1.5]}], **x");
	assert_python("a = \"it's \\\"\\n\\ud83d\\ude00 \\u00e9\"",
		      "a: Any = 'it\\'s \"\\n\xf0\x9f\x98\x80 \xc3\xa9'");
	assert_python("a: float = NaN, b: float = -Infinity, c = 123456789012345678901",
		      "a: float = float('NaN'), b: float = float('-Infinity'), "
		      "c: Any = 123456789012345678901");
}
END_TEST

static void assert_refused(const char *signature, const char *expected)
{
	struct err err = {0};

	ck_assert_ptr_null(params_parse(signature, &err));
	ck_assert_str_eq(err.text, expected);
}

START_TEST(a_wrong_list_is_refused_with_its_place)
{
	assert_refused("to: strr", "line 1, column 5: unknown type 'strr', did you mean 'str'?\n"
				   "    to: strr\n        ^");
	assert_refused("a,\n  b: = 1",
		       "line 2, column 6: a type is missing\n      b: = 1\n         ^");
	assert_refused("a = 1, b", "line 1, column 8: a parameter without default follows one with "
				   "a default\n    a = 1, b\n           ^");
	assert_refused("a, a", "line 1, column 4: 'a' is declared twice\n    a, a\n       ^");
	assert_refused("a b", "line 1, column 3: a comma is missing\n    a b\n      ^");
	assert_refused("*a, *b", "line 1, column 5: * may stand only once\n    *a, *b\n        ^");
	assert_refused("a, *a", "line 1, column 5: 'a' is declared twice\n    a, *a\n        ^");
	assert_refused("a, **a", "line 1, column 4: 'a' is declared twice\n    a, **a\n       ^");
	assert_refused("*a = []", "line 1, column 4: a comma is missing\n    *a = []\n       ^");
	assert_refused("/, a", "line 1, column 1: named parameters must stand in front of /\n"
			       "    /, a\n    ^");
	assert_refused("a, /, /",
		       "line 1, column 7: / may stand only once\n    a, /, /\n          ^");
	assert_refused("*a, /",
		       "line 1, column 5: / must stand in front of *\n    *a, /\n        ^");
	assert_refused("a, /, **k", "line 1, column 7: / and ** do not go together: an extra "
				    "argument could have the name of a parameter\n    a, /, **k\n"
				    "          ^");
	assert_refused("from", "line 1, column 1: 'from' is a keyword of Python\n    from\n    ^");
	assert_refused("a, **in", "line 1, column 4: 'in' is a keyword of Python\n    a, **in\n"
				  "       ^");
	assert_refused("a, *",
		       "line 1, column 4: named parameters must follow *\n    a, *\n       ^");
	assert_refused("*, **k",
		       "line 1, column 1: named parameters must follow *\n    *, **k\n    ^");
	assert_refused("**k, a", "line 1, column 6: nothing may follow the ** parameter\n"
				 "    **k, a\n         ^");
	assert_refused("a: int = \"x\"",
		       "line 1, column 10: the default of 'a' is not of its type\n"
		       "    a: int = \"x\"\n             ^");
	assert_refused("a = 'x'",
		       "line 1, column 5: the default of 'a' is not JSON: Expecting value: "
		       "line 1 column 1 (char 0)\n    a = 'x'\n        ^");
	assert_refused("1", "line 1, column 1: a parameter name is missing\n    1\n    ^");
}
END_TEST
