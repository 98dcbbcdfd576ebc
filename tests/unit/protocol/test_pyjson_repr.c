#include "protocol/pyjson.h"

#include "tests/unit/protocol/golden.h"

/* T-158 */
START_TEST(values_are_shown_as_saferepr_shows_them)
{
	struct golden g;

	golden_open(&g, "tests/golden/pyjson/repr.tsv");
	while (golden_next(&g)) {
		json_t *value = pyjson_load(g.field[0], g.len[0], NULL);
		auto_str out = {.max = 1 << 20};

		ck_assert_ptr_nonnull(value);
		ck_assert_int_eq(pyjson_repr(&out, value, strtoul(g.field[1], NULL, 10),
					     (unsigned)strtoul(g.field[2], NULL, 10),
					     *g.field[3] == 't'),
				 0);
		ck_assert_msg(strcmp(out.data, g.field[4] + 2) == 0,
			      "line %u: %s, at most %s characters, %s levels\nPython %s\nhere   %s",
			      g.number, g.field[0], g.field[1], g.field[2], g.field[4] + 2,
			      out.data);
		json_decref(value);
	}
}
END_TEST

START_TEST(a_value_without_end_does_not_eat_the_stack)
{
	auto_str out = {.max = 1 << 20};
	json_t *top = json_array();

	for (int i = 0; i < 2 * PYJSON_MAX_DEPTH; i++) {
		json_t *outer = json_array();

		json_array_append_new(outer, top);
		top = outer;
	}
	ck_assert_int_eq(pyjson_repr(&out, top, 0, 0, false), 0);
	json_decref(top);
}
END_TEST
