/* The autoscaler with real processes: up with the work, down when there is none. */
#include <signal.h>

#include "tests/unit/worker/pool_bench.h"
#include "worker/pool/autoscale.h"

static size_t count_undone(void *ctx)
{
	const struct bench *b = ctx;

	return b->run_count - b->done;
}

static void begin_scaled(struct bench *b, struct autoscale *a, unsigned max, unsigned min,
			 double keepalive_s)
{
	struct pool_options options = {
		.kind = POOL_PREFORK, .concurrency = min, .max_concurrency = max + 8};

	begin_with(b, &options);
	*a = (struct autoscale){.pool = b->pool,
				.max = max,
				.min = min,
				.keepalive_s = keepalive_s,
				.quantity = count_undone,
				.ctx = b};
	autoscale_start(a, &b->loop);
}

static void end_scaled(struct bench *b, struct autoscale *a)
{
	autoscale_close(a);
	autoscale_close(a);
	end(b);
}

static void receive(struct bench *b, struct autoscale *a, const char *seconds)
{
	submit(b, "t.sleep", seconds);
	autoscale_received(a);
	autoscale_grow(a);
}

static void turn_to_size(struct bench *b, unsigned size, double seconds)
{
	int64_t until_us = clock_mono_us() + (int64_t)(seconds * 1e6);

	while (pool_size(b->pool) != size) {
		ck_assert_msg(clock_mono_us() < until_us, "the size stays %u, not %u",
			      pool_size(b->pool), size);
		uv_run(&b->loop, UV_RUN_ONCE);
	}
}

START_TEST(it_grows_with_the_work_and_shrinks_when_idle) /* timeout 30 */
{
	struct autoscale a;
	struct bench b;

	begin_scaled(&b, &a, 4, 1, 2);
	for (unsigned i = 0; i < 6; i++) {
		receive(&b, &a, "[0.2]");
		ck_assert_uint_eq(pool_size(b.pool), i < 4 ? i + 1 : 4);
	}
	turn_until(&b, is_all_done, 5);
	ck_assert_uint_eq(pool_size(b.pool), 4);
	turn_to_size(&b, 1, 10);
	ck_assert_ptr_nonnull(strstr(b.notices.data, "INFO Scaling up 1 processes."));
	ck_assert_ptr_nonnull(strstr(b.notices.data, "INFO Scaling down 3 processes."));
	receive(&b, &a, "[0.01]");
	turn_until(&b, is_all_done, 5);
	end_scaled(&b, &a);
}
END_TEST

START_TEST(it_spares_processes_that_work) /* timeout 30 */
{
	struct autoscale a;
	struct bench b;

	begin_scaled(&b, &a, 4, 0, 0.1);
	ck_assert_uint_eq(pool_size(b.pool), 0);
	receive(&b, &a, "[3]");
	receive(&b, &a, "[0.1]");
	receive(&b, &a, "[0.1]");
	turn_to_size(&b, 1, 2.5);
	ck_assert_uint_eq(b.done, 2);
	turn_until(&b, is_all_done, 8);
	turn_to_size(&b, 0, 5);
	for (unsigned i = 0; i < b.run_count; i++)
		check_ok(&b.runs[i], "\"slept\"");
	end_scaled(&b, &a);
}
END_TEST

START_TEST(new_work_keeps_it_large)
{
	struct autoscale a;
	struct bench b;

	begin_scaled(&b, &a, 2, 1, 0.4);
	receive(&b, &a, "[0.01]");
	receive(&b, &a, "[0.01]");
	for (int i = 0; i < 12; i++) {
		turn_for(&b, 0.1);
		receive(&b, &a, "[0.01]");
		ck_assert_uint_eq(pool_size(b.pool), 2);
	}
	end_scaled(&b, &a);
}
END_TEST

/* C-27 */
START_TEST(its_bounds_can_be_changed) /* timeout 30 */
{
	unsigned one = 1, two = 2, five = 5, many = 1000;
	struct err err = {0};
	struct autoscale a;
	struct bench b;

	begin_scaled(&b, &a, 3, 1, 60);
	ck_assert_int_eq(autoscale_set(&a, &five, &two, NULL), 0);
	ck_assert_uint_eq(pool_size(b.pool), 2);
	for (int i = 0; i < 8; i++)
		receive(&b, &a, "[0.05]");
	ck_assert_uint_eq(pool_size(b.pool), 5);
	turn_until(&b, is_all_done, 5);
	ck_assert_int_eq(autoscale_set(&a, &two, NULL, NULL), 0);
	ck_assert_uint_eq(pool_size(b.pool), 2);
	ck_assert_uint_eq(a.max, 2);
	ck_assert_uint_eq(a.min, 2);
	ck_assert_int_eq(autoscale_set(&a, NULL, &one, NULL), 0);
	ck_assert_uint_eq(pool_size(b.pool), 2);
	ck_assert_int_eq(autoscale_set(&a, &many, NULL, &err), -1);
	ck_assert_str_eq(err.text, "at most 11 processes");
	ck_assert_uint_eq(a.max, 2);
	end_scaled(&b, &a);
}
END_TEST

/* A maximum below the least counts, as in Celery; and busy processes end when they are done. */
START_TEST(a_lower_maximum_waits_for_busy_processes) /* timeout 30 */
{
	unsigned one = 1;
	struct autoscale a;
	struct bench b;

	begin_scaled(&b, &a, 3, 2, 0.1);
	for (int i = 0; i < 3; i++)
		receive(&b, &a, "[0.5]");
	turn_for(&b, 0.2);
	ck_assert_int_eq(autoscale_set(&a, &one, NULL, NULL), 0);
	ck_assert_uint_eq(pool_size(b.pool), 3);
	ck_assert_ptr_nonnull(strstr(b.notices.data, "DEBUG Autoscaler won't scale down"));
	turn_until(&b, is_all_done, 5);
	turn_to_size(&b, 1, 5);
	for (unsigned i = 0; i < b.run_count; i++)
		check_ok(&b.runs[i], "\"slept\"");
	end_scaled(&b, &a);
}
END_TEST

START_TEST(killed_processes_are_replaced_at_any_size) /* timeout 30 */
{
	struct pool_stats stats;
	struct autoscale a;
	struct bench b;

	begin_scaled(&b, &a, 3, 1, 0.2);
	for (int i = 0; i < 3; i++)
		receive(&b, &a, "[0.3]");
	turn_for(&b, 0.15);
	pool_stats(b.pool, &stats);
	for (unsigned i = 0; i < stats.pid_count; i++)
		kill(stats.pids[i], SIGKILL);
	turn_until(&b, is_all_done, 8);
	turn_to_size(&b, 1, 8);
	receive(&b, &a, "[0.01]");
	turn_until(&b, is_all_done, 8);
	ck_assert_int_eq(b.runs[3].kind, OUTCOME_SUCCESS);
	end_scaled(&b, &a);
}
END_TEST
