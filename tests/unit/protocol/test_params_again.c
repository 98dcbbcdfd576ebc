/* Arguments of a retry that changes some: what celery/app/task.py makes of them. */
#include <check.h>

#include "protocol/params.h"
#include "protocol/pyjson.h"

static json_t *load(const char *text)
{
	return text ? json_loads(text, 0, NULL) : NULL;
}

static void check_again(const char *args, const char *kwargs, const char *expected)
{
	struct params *params = params_parse("p, /, a, b = 0, *rest, c = None", NULL);
	json_t *old_args = load("[1, 2, 3, 4]"), *old_kwargs = load("{\"a\": 5, \"c\": 6}");
	json_t *new_args = load(args), *new_kwargs = load(kwargs), *both;
	auto_str out = STR_INIT(1000);

	params_call_again(params, &new_args, &new_kwargs, old_args, old_kwargs);
	both = json_pack("[oo]", new_args, new_kwargs);
	pyjson_dump(&out, both);
	ck_assert_str_eq(out.data, expected);
	json_decref(both);
	json_decref(old_args);
	json_decref(old_kwargs);
	params_free(params);
}

START_TEST(new_positional_arguments_take_the_place_of_named_ones)
{
	check_again("[9]", NULL, "[[9], {\"a\": 5, \"c\": 6}]");
	check_again("[9, 8]", NULL, "[[9, 8], {\"c\": 6}]");
	check_again("[]", NULL, "[[], {\"a\": 5, \"c\": 6}]");
}
END_TEST

START_TEST(new_named_arguments_take_the_place_of_positional_ones)
{
	check_again(NULL, "{\"b\": 7, \"c\": 8}", "[[1, 2, 7, 4], {\"c\": 8}]");
	check_again(NULL, "{\"p\": 7}", "[[1, 2, 3, 4], {\"p\": 7}]"); /* cannot be named */
	check_again(NULL, "{}", "[[1, 2, 3, 4], {}]");
}
END_TEST

START_TEST(both_given_are_taken_as_they_are)
{
	check_again("[1]", "{\"a\": 2}", "[[1], {\"a\": 2}]");
}
END_TEST
