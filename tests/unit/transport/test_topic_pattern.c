#include <check.h>
#include <string.h>

#include "tests/unit/protocol/golden.h"
#include "transport/topic_pattern.h"

START_TEST(patterns_are_those_of_kombu)
{
	struct golden g;

	golden_open(&g, "tests/golden/topic/pattern.tsv");
	while (golden_next(&g)) {
		auto_str out = STR_INIT(1000);

		ck_assert_int_eq(topic_pattern_write(&out, g.field[0]), 0);
		ck_assert_msg(strcmp(out.data, g.field[1]) == 0, "line %u: %s", g.number, out.data);
	}
}
END_TEST

/* C-53 C-74: of kombu 5.7 and of those before */
START_TEST(patterns_match_what_python_matches)
{
	struct golden g;

	golden_open(&g, "tests/golden/topic/match.tsv");
	while (golden_next(&g)) {
		enum topic_match want = strcmp(g.field[2], "= True") == 0 ? TOPIC_YES : TOPIC_NO;

		ck_assert_msg(topic_pattern_matches(g.field[0], g.len[0], g.field[1]) == want,
			      "line %u: %s %s", g.number, g.field[0], g.field[1]);
	}
}
END_TEST

START_TEST(what_kombu_never_writes_is_not_guessed)
{
	static const char *const patterns[] = {"",     "a",	"^a",	   "a$",    "^(a|b)$",
					       "^*$",  "^a**$", "^[abc]$", "^\\d$", "^a{2}$",
					       "^\\$", "^a?$",	"^[^\\.$"};

	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++)
		ck_assert_msg(topic_pattern_matches(patterns[i], strlen(patterns[i]), "a") ==
				      TOPIC_FOREIGN,
			      "%s", patterns[i]);
}
END_TEST

START_TEST(keys_match_as_those_patterns_do)
{
	static const struct {
		const char *binding, *key;
		bool matches;
	} cases[] = {
		{"#", "", true},
		{"#", "a.b.c", true},
		{"r.#", "r.x", true},
		{"r.#", "r.", true},
		{"r.#", "r", false},
		{"r.#", "q.x", false},
		{"a.*.c", "a.b.c", true},
		{"a.*.c", "a.b.b.c", false},
		{"a.*.c", "a..c", false},
		{"*", "a", true},
		{"*", "", false},
		{"*", "a.b", false},
		{"#.x.#", "a.x.b", true},
		{"#.x.#", "x", false},
		{"a", "a", true},
		{"a", "ab", false},
		{"a*", "aaa", false},
		{"a*", "a*", true},
		{"*.*.*", "task.x.y", true},
		{"task.#", "tasks.x", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		ck_assert_msg(topic_key_matches(cases[i].binding, strlen(cases[i].binding),
						cases[i].key) == cases[i].matches,
			      "%s %s", cases[i].binding, cases[i].key);
}
END_TEST

START_TEST(a_hostile_key_costs_no_time)
{
	char binding[256], key[256];
	auto_str pattern = STR_INIT(4096);

	for (size_t i = 0; i < 254; i += 2) {
		binding[i] = '#';
		binding[i + 1] = '.';
	}
	binding[254] = 'b';
	binding[255] = '\0';
	memset(key, '.', 255);
	key[255] = '\0';
	ck_assert(!topic_key_matches(binding, strlen(binding), key));
	ck_assert(!topic_key_matches(binding, strlen(binding), "x.b"));
	topic_pattern_write(&pattern, binding);
	ck_assert_int_eq(topic_pattern_matches(pattern.data, pattern.len, key), TOPIC_NO);
}
END_TEST
