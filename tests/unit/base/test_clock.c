#include "base/clock.h"

#include <check.h>
#include <time.h>

START_TEST(monotonic_time_passes_in_microseconds)
{
	const struct timespec pause = {0, 20 * 1000 * 1000};
	int64_t before = clock_mono_us(), passed;

	(void)nanosleep(&pause, NULL);
	passed = clock_mono_us() - before;
	ck_assert_int_ge(passed, 20 * 1000);
	ck_assert_int_lt(passed, 5 * 1000 * 1000);
}
END_TEST

START_TEST(wall_time_is_unix_time)
{
	int64_t seconds = clock_wall_us() / 1000000;
	time_t now = time(NULL);

	ck_assert_int_ge(seconds, now - 2);
	ck_assert_int_le(seconds, now + 2);
}
END_TEST
