/* Texts of other serializers against what Python made of them: tests/golden/record_content.py. */
#ifndef TESTS_UNIT_PROTOCOL_CONTENT_GOLDEN_H
#define TESTS_UNIT_PROTOCOL_CONTENT_GOLDEN_H

#include "protocol/pyjson.h"
#include "tests/unit/protocol/golden.h"

typedef int content_load_fn(struct str *out, const char *data, size_t len, struct err *err);

/* The text as it is after a round through a tree: no key twice. */
static inline void content_again(struct str *out, const char *text, size_t len)
{
	json_t *value = pyjson_load(text, len, NULL);

	ck_assert_msg(value != NULL, "no JSON: %.*s", (int)len, text);
	ck_assert_int_eq(pyjson_dump(out, value), 0);
	json_decref(value);
}

/* `is_known` (or NULL) says where the worker differs on purpose. */
static inline void content_check_loads(const char *path, content_load_fn *load,
				       bool (*is_known)(const char *data, size_t len))
{
	struct golden g;
	unsigned wrong = 0;

	golden_open(&g, path);
	while (golden_next(&g)) {
		auto_str out = STR_INIT(1 << 20);
		auto_str got = STR_INIT(1 << 20);
		auto_str expected = STR_INIT(1 << 20);
		struct err err = {0};
		int result = load(&out, g.field[0], g.len[0], &err);
		bool is_good = g.field[1][0] == '=';

		ck_assert_msg((result == 0) == (err.text[0] == '\0'), "line %u", g.number);
		if (is_known && is_known(g.field[0], g.len[0]))
			continue;
		if (result == 0)
			content_again(&got, out.data, out.len);
		if (is_good)
			content_again(&expected, g.field[1] + 2, g.len[1] - 2);
		if ((result == 0) == is_good && (!is_good || strcmp(got.data, expected.data) == 0))
			continue;
		wrong++;
		printf("line %u: %.60s\n  Python %.200s\n  here   %.200s\n", g.number, g.field[0],
		       g.field[1], result == 0 ? got.data : err.text);
	}
	ck_assert_uint_eq(wrong, 0);
}

#endif
