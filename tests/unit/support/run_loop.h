/* Runs a loop until something is true: `wait_until(&loop, count == 3, 2000)` fails the test after
 * 2000 ms. */
#ifndef TESTS_UNIT_SUPPORT_RUN_LOOP_H
#define TESTS_UNIT_SUPPORT_RUN_LOOP_H

#include <check.h>
#include <uv.h>

#include "base/clock.h"

static inline void run_loop_tick(uv_timer_t *timer)
{
	(void)timer; /* ends a turn of the loop, that is all */
}

#define wait_until(loop, condition, ms)                                                            \
	do {                                                                                       \
		int64_t wait_deadline_ = clock_mono_us() + (int64_t)(ms)*1000;                     \
		uv_timer_t wait_timer_;                                                            \
		uv_timer_init((loop), &wait_timer_);                                               \
		uv_timer_start(&wait_timer_, run_loop_tick, 1, 1);                                 \
		while (!(condition) && clock_mono_us() < wait_deadline_)                           \
			uv_run((loop), UV_RUN_ONCE);                                               \
		uv_timer_stop(&wait_timer_);                                                       \
		uv_close((uv_handle_t *)&wait_timer_, NULL);                                       \
		uv_run((loop), UV_RUN_NOWAIT);                                                     \
		ck_assert_msg((condition), "not within %d ms: %s", (int)(ms), #condition);         \
	} while (0)

#endif
