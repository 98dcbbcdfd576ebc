#include <check.h>
#include <string.h>

#include "transport/filesystem_binding.h"

/* The patterns kombu 5.7.0 keeps for these keys. */
START_TEST(patterns_are_those_of_kombu)
{
	static const char *const cases[][2] = {
		{"#", "^.*?$"},
		{"r.#", "^r\\..*?$"},
		{"a.*.c", "^a\\.[^\\.]+\\.c$"},
		{"a-b.c_d", "^a\\-b\\.c\\_d$"},
		{"", "^$"},
		{"worker.heartbeat", "^worker\\.heartbeat$"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		auto_str out;

		str_init(&out, 1000);
		ck_assert_int_eq(filesystem_topic_pattern(&out, cases[i][0]), 0);
		ck_assert_str_eq(out.data, cases[i][1]);
	}
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
		ck_assert_msg(filesystem_topic_matches(cases[i].binding, cases[i].key) ==
				      cases[i].matches,
			      "%s %s", cases[i].binding, cases[i].key);
}
END_TEST

START_TEST(a_hostile_key_costs_no_time)
{
	char binding[256], key[256];

	for (size_t i = 0; i < 254; i += 2) {
		binding[i] = '#';
		binding[i + 1] = '.';
	}
	binding[254] = 'b';
	binding[255] = '\0';
	memset(key, '.', 255);
	key[255] = '\0';
	ck_assert(!filesystem_topic_matches(binding, key));
	ck_assert(!filesystem_topic_matches(binding, "x.b"));
}
END_TEST
