#include <check.h>

#include "transport/backoff.h"

/* C-59 */
START_TEST(delays_grow_by_two_up_to_thirty_two_seconds)
{
	struct backoff b;

	backoff_init(&b, 1, -1);
	for (int i = 1; i <= 40; i++)
		ck_assert_double_eq(backoff_next(&b), i < 16 ? i * 2 : 32);
	backoff_reset(&b);
	ck_assert_double_eq(backoff_next(&b), 2);
}
END_TEST

/* C-58 */
START_TEST(the_other_urls_are_tried_before_the_delay)
{
	struct backoff b;

	backoff_init(&b, 3, -1);
	ck_assert_double_eq(backoff_next(&b), 0);
	ck_assert_uint_eq(b.url_index, 1);
	ck_assert_double_eq(backoff_next(&b), 0);
	ck_assert_uint_eq(b.url_index, 2);
	ck_assert_double_eq(backoff_next(&b), 2);
	ck_assert_uint_eq(b.url_index, 0);
	backoff_next(&b);
	backoff_reset(&b);
	ck_assert_uint_eq(b.url_index, 0);
}
END_TEST

START_TEST(attempts_end_after_the_last_round)
{
	struct backoff b;

	backoff_init(&b, 1, 2);
	ck_assert_double_eq(backoff_next(&b), 2);
	ck_assert_double_eq(backoff_next(&b), 4);
	ck_assert_double_lt(backoff_next(&b), 0);
	backoff_init(&b, 2, 0);
	ck_assert_double_eq(backoff_next(&b), 0);
	ck_assert_double_lt(backoff_next(&b), 0);
}
END_TEST
