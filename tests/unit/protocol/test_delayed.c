#include <check.h>
#include <string.h>

#include "protocol/delayed.h"

/* What kombu's calculate_routing_key() gives. */
#define FIVE "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.1."
#define ONES "1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1."

static void gives(int64_t seconds, const char *key, const char *want)
{
	char got[DELAYED_KEY_MOST + 1];

	ck_assert(delayed_key(got, seconds, key));
	ck_assert_str_eq(got, want);
	ck_assert_str_eq(delayed_key_behind(got), delayed_key_behind(key));
}

static void gives_none(int64_t seconds, const char *key)
{
	char got[DELAYED_KEY_MOST + 1];

	ck_assert(!delayed_key(got, seconds, key));
}

START_TEST(the_seconds_stand_in_front_as_binary_digits)
{
	gives(5, "qq", FIVE "qq");
	gives(5, "a.b.#", FIVE "a.b.#");
	gives(DELAYED_SECONDS, "qq", ONES "qq");
}
END_TEST

/* T-180 */
START_TEST(a_delay_takes_the_place_of_an_older_one)
{
	gives(5, ONES "qq", FIVE "qq");
	gives(5, ONES "1.qq", FIVE "1.qq");
	gives(5, "0.1.qq", FIVE "0.1.qq");
	ck_assert_str_eq(delayed_key_behind(FIVE), "");
	ck_assert_str_eq(delayed_key_behind("0.0.x"), "0.0.x");
	ck_assert_str_eq(delayed_key_behind(""), "");
}
END_TEST

START_TEST(what_cannot_be_delayed_is_left_to_the_worker)
{
	char longest[DELAYED_KEY_MOST - 2 * DELAYED_LEVELS + 2];

	gives_none(0, "qq");
	gives_none(-5, "qq");
	gives_none(DELAYED_SECONDS + 1, "qq");
	gives_none(5, "");
	gives_none(5, ONES);
	memset(longest, 'k', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	gives_none(5, longest);
	longest[sizeof(longest) - 2] = '\0';
	ck_assert_uint_eq(strlen(longest), DELAYED_KEY_MOST - 2 * DELAYED_LEVELS);
	char got[DELAYED_KEY_MOST + 1];

	ck_assert(delayed_key(got, 5, longest));
	ck_assert_uint_eq(strlen(got), DELAYED_KEY_MOST);
}
END_TEST

START_TEST(levels_are_named_and_bound_as_kombu_does)
{
	char name[24], key[64];

	delayed_level_name(name, DELAYED_LEVELS - 1);
	ck_assert_str_eq(name, DELAYED_START);
	delayed_level_name(name, 0);
	ck_assert_str_eq(name, "celery_delayed_0");
	delayed_level_key(key, 27, '1');
	ck_assert_str_eq(key, "1.#");
	delayed_level_key(key, 25, '0');
	ck_assert_str_eq(key, "*.*.0.#");
	delayed_level_key(key, 0, '0');
	ck_assert_uint_eq(strlen(key), 27 * 2 + 3);
}
END_TEST
