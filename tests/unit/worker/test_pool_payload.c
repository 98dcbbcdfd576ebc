/* Large payloads, what waits behind slow jobs, and memory. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/worker/pool_bench.h"

/* 64 MiB both ways; the loop goes on turning. */
static void passes_large_payloads(enum pool_kind kind)
{
	const size_t size = (size_t)64 << 20;
	char *args = malloc(size + 8);
	struct bench b;
	struct run *in, *out, *small;

	begin(&b, kind, 2);
	args[0] = '[';
	args[1] = '"';
	memset(args + 2, 'y', size);
	memcpy(args + 2 + size, "\"]", 3);
	in = prepare_run(&b, "t.length", "[]");
	in->job.args = (struct span){args, size + 4};
	turn_for(&b, 0.02);
	b.worst_gap_us = b.worst_cpu_us = 0;
	pool_submit(b.pool, &in->job);
	turn_until(&b, is_all_done, 20);
	check_ok(in, "67108864");
	out = submit(&b, "t.big", "[67108864]");
	turn_until(&b, is_all_done, 20);
	ck_assert_int_eq(out->kind, OUTCOME_SUCCESS);
	ck_assert_uint_eq(strlen(out->result), size + 2);
	ck_assert_int_eq(out->result[size], 'x');
	ck_assert_int_lt(b.worst_cpu_us, 30000);
	ck_assert_int_lt(b.worst_gap_us, 500000);
	small = submit(&b, "t.echo", "[1]");
	turn_until(&b, is_all_done, 4);
	check_ok(small, "1");
	end(&b);
	free(args);
}

START_TEST(prefork_passes_large_payloads) /* timeout 60 */
{
	passes_large_payloads(POOL_PREFORK);
}
END_TEST

START_TEST(threads_pass_large_payloads) /* timeout 60 */
{
	passes_large_payloads(POOL_THREADS);
}
END_TEST

START_TEST(solo_passes_large_payloads) /* timeout 60 */
{
	passes_large_payloads(POOL_SOLO);
}
END_TEST

START_TEST(a_result_over_the_limit_fails_with_the_setting_named)
{
	struct pool_options options = {
		.kind = POOL_PREFORK, .concurrency = 1, .max_payload_bytes = 1000};
	struct bench b;
	struct run *r;

	begin_with(&b, &options);
	r = submit(&b, "t.big", "[2000]");
	turn_until(&b, is_all_done, 4);
	ck_assert_int_eq(r->kind, OUTCOME_FAILURE);
	ck_assert_str_eq(r->exc_type, "ValueError");
	ck_assert_ptr_nonnull(strstr(r->exc_text, "worker_max_message_bytes"));
	end(&b);
}
END_TEST

/* A job behind a slow one moves to a slot that is free, and order is kept among the moved. */
static void moves_jobs_from_behind_a_slow_one(enum pool_kind kind)
{
	struct bench b;
	struct run *slow, *last = NULL;

	begin(&b, kind, 2);
	for (int i = 0; i < 100; i++) {
		submit(&b, "t.echo", "[1]");
		turn_until(&b, is_all_done, 4);
	}
	ck_assert_uint_gt(pool_room(b.pool), 10);
	slow = submit(&b, "t.sleep", "[0.6]");
	for (int i = 0; i < 20; i++)
		last = submit(&b, "t.echo", "[2]");
	turn_until(&b, is_all_done, 4);
	ck_assert_int_eq(slow->order, (int)b.run_count - 1);
	ck_assert_int_lt(last->done_us - slow->accepted_us, 200000);
	for (unsigned i = 0; i < b.run_count; i++)
		ck_assert_uint_eq(b.runs[i].done, 1);
	end(&b);
}

START_TEST(prefork_moves_jobs_from_behind_a_slow_one)
{
	moves_jobs_from_behind_a_slow_one(POOL_PREFORK);
}
END_TEST

START_TEST(threads_move_jobs_from_behind_a_slow_one)
{
	moves_jobs_from_behind_a_slow_one(POOL_THREADS);
}
END_TEST

/* What the whole pool costs while it waits. */
START_TEST(prefork_processes_are_small)
{
	struct pool_stats stats;
	struct bench b;
	long total = 0;

	begin(&b, POOL_PREFORK, 2);
	submit(&b, "t.echo", "[1]");
	submit(&b, "t.big", "[8000000]");
	turn_until(&b, is_all_done, 4);
	turn_for(&b, 0.1);
	pool_stats(b.pool, &stats);
	ck_assert_uint_eq(stats.pid_count, 2);
	for (unsigned i = 0; i < stats.pid_count; i++) {
		auto_free char *path = mem_printf("/proc/%d/smaps_rollup", stats.pids[i]);
		FILE *file = fopen(path, "r");
		char line[256];
		long kib;

		ck_assert_ptr_nonnull(file);
		while (fgets(line, sizeof(line), file))
			if (sscanf(line, "Private_Dirty: %ld kB", &kib) == 1)
				total += kib;
		fclose(file);
	}
	/* A sanitizer's shadow memory counts as well. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	ck_assert_int_lt(total, 1024);
#endif
	ck_assert_int_gt(total, 0);
	end(&b);
}
END_TEST

/* An id that fits into no frame ends its job, and harms no other. */
START_TEST(a_job_with_an_endless_id_fails)
{
	size_t len = (size_t)2 << 20;
	char *id = malloc(len + 1);
	struct bench b;
	struct run *r, *next;

	memset(id, 'i', len);
	id[len] = '\0';
	begin(&b, POOL_PREFORK, 1);
	r = prepare_run(&b, "t.echo", "[1]");
	r->job.id = id;
	pool_submit(b.pool, &r->job);
	ck_assert_uint_eq(r->done, 0);
	next = submit(&b, "t.echo", "[2]");
	turn_until(&b, is_all_done, 4);
	ck_assert_int_eq(r->kind, OUTCOME_FAILURE);
	ck_assert_str_eq(r->exc_type, "ValueError");
	check_ok(next, "2");
	end(&b);
	free(id);
}
END_TEST
