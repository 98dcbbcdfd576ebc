/* Lines: the parameter list, the arguments, the keyword arguments. A list that is accepted is
 * written and read again as the same; a call that binds has every parameter. */
#include "protocol/params.h"

#include "base/text.h"
#include "protocol/pyjson.h"
#include "tests/fuzz/fuzz.h"

static void check_format(const struct params *params)
{
	struct str first, second;
	struct params *again;

	str_init(&first, STR_MAX_DEFAULT);
	str_init(&second, STR_MAX_DEFAULT);
	fuzz_check(params_format(&first, params) == 0);
	again = params_parse(first.data ? first.data : "", NULL);
	fuzz_check(again);
	fuzz_check(params_format(&second, again) == 0);
	fuzz_check(first.len == second.len &&
		   (first.len == 0 || memcmp(first.data, second.data, first.len) == 0));
	fuzz_check(params_format_python(&second, params, ", ") == 0);
	params_free(again);
	str_clear(&first);
	str_clear(&second);
}

static void check_bind(const struct params *params, bool takes_rest, const json_t *args,
		       const json_t *kwargs)
{
	struct err err = {0};
	json_t *bound = params_bind(params, "send", args, kwargs, &err);

	fuzz_check((bound != NULL) == (err.text[0] == '\0'));
	fuzz_check(utf8_is_valid(err.text, strlen(err.text)));
	fuzz_check_one_line(err.text);
	if (bound) {
		struct str out;

		str_init(&out, STR_MAX_DEFAULT);
		fuzz_check(pyjson_dump(&out, bound) == 0);
		/* What * takes is one value. */
		fuzz_check(takes_rest || json_object_size(bound) >= json_array_size(args));
		str_clear(&out);
	}
	json_decref(bound);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *signature = fuzz_line(&data, &size, NULL);
	size_t args_len;
	char *args_text = fuzz_line(&data, &size, &args_len);
	struct err err = {0};
	struct params *params;
	json_t *args = pyjson_load(args_text, args_len, NULL);
	json_t *kwargs = pyjson_load((const char *)data, size, NULL);

	/* Line ends inside a list are spaces; the first of the input ends it. */
	for (char *p = signature; *p; p++)
		if (*p == '\r')
			*p = '\n';
	params = params_parse(signature, &err);
	fuzz_check((params != NULL) == (err.text[0] == '\0'));
	if (params) {
		check_format(params);
		check_bind(params, strchr(signature, '*') != NULL,
			   json_is_array(args) ? args : NULL,
			   json_is_object(kwargs) ? kwargs : NULL);
	}
	params_free(params);
	json_decref(args);
	json_decref(kwargs);
	free(signature);
	free(args_text);
	return 0;
}
