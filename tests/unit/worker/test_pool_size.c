/* Growing, shrinking and replacing the processes of a prefork pool. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/worker/pool_bench.h"

static void begin_size(struct bench *b, unsigned concurrency, unsigned most)
{
	struct pool_options options = {
		.kind = POOL_PREFORK, .concurrency = concurrency, .max_concurrency = most};

	begin_with(b, &options);
}

static unsigned count_processes(const struct bench *b)
{
	struct pool_process process;
	unsigned count = 0;

	for (unsigned i = 0; pool_process_at(b->pool, i, &process); i++)
		count += process.pid > 0 && kill(process.pid, 0) == 0;
	return count;
}

static void wait_for_size(struct bench *b, unsigned size)
{
	int64_t until_us = clock_mono_us() + 30000000;

	ck_assert_uint_eq(pool_size(b->pool), size);
	while (count_processes(b) != size) {
		ck_assert_msg(clock_mono_us() < until_us, "%u processes, not %u",
			      count_processes(b), size);
		uv_run(&b->loop, UV_RUN_ONCE);
	}
}

static unsigned count_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* A number of /proc/<pid>/status, in KiB. */
static unsigned long read_status(pid_t pid, const char *name)
{
	auto_free char *path = mem_printf("/proc/%d/status", pid);
	FILE *file = fopen(path, "r");
	size_t len = strlen(name);
	unsigned long value = 0;
	char line[256];

	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, name, len) == 0)
			value = strtoul(line + len + 1, NULL, 10);
	fclose(file);
	return value;
}

/* C-27 */
START_TEST(a_pool_grows_and_the_new_processes_work)
{
	struct bench b;

	begin_size(&b, 1, 4);
	wait_for_size(&b, 1);
	ck_assert_int_eq(pool_grow(b.pool, 3, NULL), 0);
	for (int i = 0; i < 4; i++)
		submit(&b, "t.sleep", "[0.3]");
	turn_for(&b, 0.15);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_uint_eq(b.runs[i].accepted, 1);
		for (unsigned k = 0; k < i; k++)
			ck_assert_int_ne(b.runs[i].pid, b.runs[k].pid);
	}
	wait_for_size(&b, 4);
	turn_until(&b, is_all_done, 4);
	end(&b);
}
END_TEST

START_TEST(a_pool_does_not_grow_above_its_most)
{
	struct err err = {0};
	struct bench b;

	begin_size(&b, 1, 3);
	ck_assert_int_eq(pool_grow(b.pool, 3, &err), -1);
	ck_assert_str_eq(err.text, "a pool of 1 cannot grow by 3: at most 3");
	ck_assert_int_eq(pool_grow(b.pool, UINT32_MAX, NULL), -1);
	ck_assert_int_eq(pool_grow(b.pool, 2, NULL), 0);
	wait_for_size(&b, 3);
	ck_assert_int_eq(pool_grow(b.pool, 1, NULL), -1);
	end(&b);
}
END_TEST

/* C-27 */
START_TEST(shrinking_ends_idle_processes_and_spares_the_busy)
{
	struct bench b;
	struct run *a, *c;

	begin_size(&b, 4, 4);
	a = submit(&b, "t.sleep", "[0.6]");
	c = submit(&b, "t.sleep", "[0.6]");
	turn_for(&b, 0.1);
	ck_assert_int_eq(pool_shrink(b.pool, 2, NULL), 0);
	wait_for_size(&b, 2);
	ck_assert_uint_eq(b.done, 0);
	ck_assert_int_eq(kill(a->pid, 0), 0);
	ck_assert_int_eq(kill(c->pid, 0), 0);
	turn_until(&b, is_all_done, 4);
	check_ok(a, "\"slept\"");
	check_ok(c, "\"slept\"");
	wait_for_size(&b, 2);
	ck_assert_ptr_null(strstr(b.notices.data ? b.notices.data : "", "ERROR"));
	end(&b);
}
END_TEST

/* C-27: as many as are idle end, then it fails. */
START_TEST(shrinking_a_busy_pool_fails_with_celerys_words)
{
	struct err err = {0};
	struct bench b;

	begin_size(&b, 3, 3);
	submit(&b, "t.sleep", "[0.4]");
	submit(&b, "t.sleep", "[0.4]");
	turn_for(&b, 0.1);
	ck_assert_int_eq(pool_shrink(b.pool, 2, &err), -1);
	ck_assert_str_eq(err.text, "Can't shrink pool. All processes busy!");
	wait_for_size(&b, 2);
	turn_until(&b, is_all_done, 4);
	ck_assert_int_eq(pool_shrink(b.pool, 1, NULL), 0);
	wait_for_size(&b, 1);
	end(&b);
}
END_TEST

START_TEST(a_pool_of_nothing_waits_and_grows_again)
{
	struct bench b;
	struct run *r;

	begin_size(&b, 2, 2);
	turn_for(&b, 0.1);
	ck_assert_int_eq(pool_shrink(b.pool, 2, NULL), 0);
	wait_for_size(&b, 0);
	ck_assert_uint_eq(pool_room(b.pool), 0);
	ck_assert_int_eq(pool_shrink(b.pool, 1, NULL), -1);
	r = submit(&b, "t.echo", "[1]");
	turn_for(&b, 0.1);
	ck_assert_uint_eq(r->accepted, 0);
	ck_assert_int_eq(pool_grow(b.pool, 1, NULL), 0);
	turn_until(&b, is_all_done, 4);
	check_ok(r, "1");
	end(&b);
}
END_TEST

START_TEST(a_pool_may_begin_empty)
{
	struct bench b;
	struct run *r;

	begin_size(&b, 0, 2);
	turn_for(&b, 0.1);
	ck_assert_uint_eq(pool_size(b.pool), 0);
	ck_assert_uint_eq(count_processes(&b), 0);
	ck_assert_int_eq(pool_grow(b.pool, 2, NULL), 0);
	r = submit(&b, "t.echo", "[1]");
	turn_until(&b, is_all_done, 4);
	check_ok(r, "1");
	end(&b);
	begin_size(&b, 0, 2);
	end(&b);
}
END_TEST

/* A process that is killed while it is told to end is not replaced; one that is wanted is. */
START_TEST(kills_while_the_pool_changes_its_size_do_not_change_it)
{
	struct pool_stats stats;
	struct bench b;

	begin_size(&b, 3, 8);
	for (int i = 0; i < 30; i++) {
		turn_for(&b, 0.01);
		pool_stats(b.pool, &stats);
		ck_assert_int_eq(i % 2 ? pool_grow(b.pool, 2, NULL) : pool_shrink(b.pool, 2, NULL),
				 0);
		for (unsigned k = 0; k < stats.pid_count; k++)
			if (rand() % 2)
				kill(stats.pids[k], SIGKILL);
		/* Deaths before the first task would slow the next ones down. */
		submit(&b, "t.echo", "[1]");
		turn_until(&b, is_all_done, 4);
	}
	wait_for_size(&b, 3);
	turn_for(&b, 0.1);
	wait_for_size(&b, 3);
	end(&b);
}
END_TEST

/* Sized at random under load, with kills: every job ends once, and only what ran is lost. */
START_TEST(jobs_survive_growing_shrinking_and_kills) /* timeout 60 */
{
	unsigned kills = 0, lost = 0;
	struct pool_stats stats;
	struct bench b;

	begin_size(&b, 4, 12);
	srand(2);
	for (int turn = 0; turn < 4000; turn++) {
		while (pool_room(b.pool) > 0 && b.run_count < 19000)
			submit(&b, rand() % 50 ? "t.echo" : "t.sleep",
			       rand() % 2 ? "[0.004]" : "[0.001]");
		uv_run(&b.loop, UV_RUN_ONCE);
		if (rand() % 4 == 0)
			(void)(rand() % 2 ? pool_grow(b.pool, 1 + (unsigned)rand() % 4, NULL)
					  : pool_shrink(b.pool, 1 + (unsigned)rand() % 4, NULL));
		if (rand() % 200 == 0)
			pool_restart(b.pool);
		if (pool_size(b.pool) == 0)
			ck_assert_int_eq(pool_grow(b.pool, 2, NULL), 0);
		pool_stats(b.pool, &stats);
		if (rand() % 100 || stats.pid_count == 0)
			continue;
		kill(stats.pids[(unsigned)rand() % stats.pid_count], SIGKILL);
		kills++;
	}
	turn_until(&b, is_all_done, 30);
	for (unsigned i = 0; i < b.run_count; i++) {
		const struct run *r = &b.runs[i];

		ck_assert_uint_eq(r->done, 1);
		ck_assert_uint_eq(r->accepted, 1);
		ck_assert(r->kind == OUTCOME_SUCCESS || r->kind == OUTCOME_LOST);
		lost += r->kind == OUTCOME_LOST;
	}
	ck_assert_uint_le(lost, kills);
	turn_for(&b, 0.1);
	wait_for_size(&b, pool_size(b.pool));
	end(&b);
}
END_TEST

/* The sanitizer looks for leaks in each process that ends, for longer than the pool waits when so
 * many do it at once. */
#ifdef __SANITIZE_ADDRESS__
#define MANY 40
#else
#define MANY 200
#endif

START_TEST(a_pool_grows_to_200_and_back) /* timeout 60 */
{
	unsigned long small, large;
	struct bench b;

	begin_size(&b, 1, MANY);
	wait_for_size(&b, 1);
	small = read_status(getpid(), "RssShmem:");
	ck_assert_int_eq(pool_grow(b.pool, MANY - 1, NULL), 0);
	for (int i = 0; i < MANY; i++)
		submit(&b, "t.sleep", "[0.2]");
	turn_until(&b, is_all_done, 20);
	for (unsigned i = 0; i < b.run_count; i++)
		check_ok(&b.runs[i], "\"slept\"");
	wait_for_size(&b, MANY);
	large = read_status(getpid(), "RssShmem:");
	ck_assert_int_eq(pool_shrink(b.pool, MANY - 1, NULL), 0);
	wait_for_size(&b, 1);
	/* The last ends may be known to the system only. */
	while (read_status(getpid(), "RssShmem:") > small + (large - small) / 10)
		uv_run(&b.loop, UV_RUN_ONCE);
	end(&b);
}
END_TEST

/* Neither files nor memory nor processes are left over, here or in the spawner. */
START_TEST(a_thousand_changes_of_size_leave_nothing_behind) /* timeout 90 */
{
	unsigned files = 0;
	unsigned long shared = 0, heap = 0;
	struct bench b;

	begin_size(&b, 2, 64);
	for (int i = 0; i < 1000; i++) {
		if (i == 100) {
			/* Those that are still starting are not counted. */
			turn_for(&b, 0.2);
			wait_for_size(&b, 2);
			files = count_files();
			shared = read_status(getpid(), "RssShmem:");
			heap = read_status(getpid(), "RssAnon:");
		}
		ck_assert_int_eq(pool_grow(b.pool, 3, NULL), 0);
		if (i % 3)
			wait_for_size(&b, 5);
		ck_assert_int_eq(pool_shrink(b.pool, 3, NULL), 0);
		if (i % 5)
			wait_for_size(&b, 2);
	}
	turn_for(&b, 0.2);
	wait_for_size(&b, 2);
	ck_assert_uint_eq(count_files(), files);
	ck_assert_uint_le(read_status(getpid(), "RssShmem:"), shared + 128);
#ifndef __SANITIZE_ADDRESS__
	ck_assert_uint_le(read_status(getpid(), "RssAnon:"), heap + 256);
#endif
	(void)heap;
	end(&b);
}
END_TEST

/* Room for slots that do not exist costs no memory. */
START_TEST(an_idle_pool_touches_only_what_it_uses)
{
	unsigned long small, large;
	struct bench b;

	begin_size(&b, 2, 2);
	wait_for_size(&b, 2);
	small = read_status(getpid(), "RssShmem:");
	end(&b);
	begin_size(&b, 2, 5000);
	wait_for_size(&b, 2);
	large = read_status(getpid(), "RssShmem:");
	end(&b);
	ck_assert_uint_le(large, small);
}
END_TEST

static bool has_pid(const pid_t *pids, unsigned count, pid_t pid)
{
	for (unsigned i = 0; i < count; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

static bool has_two_of(const pid_t *before, const pid_t *after)
{
	return has_pid(before, 3, after[0]) + has_pid(before, 3, after[1]) +
		       has_pid(before, 3, after[2]) >
	       1;
}

static bool has_accepted(const struct bench *b)
{
	return b->runs[b->run_count - 1].accepted > 0;
}

static bool is_restarted(const struct bench *b)
{
	return b->notices.data && strstr(b->notices.data, "pool restarted: 3 processes replaced");
}

/* C-28 */
START_TEST(a_restart_replaces_idle_processes_and_spares_the_running_job)
{
	struct pool_stats before, after;
	struct bench b;
	struct run *r;

	begin_size(&b, 3, 3);
	wait_for_size(&b, 3);
	pool_stats(b.pool, &before);
	r = submit(&b, "t.sleep", "[2]");
	turn_until(&b, has_accepted, 4);
	ck_assert(pool_restart(b.pool));
	do {
		uv_run(&b.loop, UV_RUN_ONCE);
		pool_stats(b.pool, &after);
	} while (b.done == 0 && (after.pid_count < 3 || has_two_of(before.pids, after.pids)));
	ck_assert_uint_eq(b.done, 0);
	ck_assert_uint_eq(after.pid_count, 3);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(has_pid(before.pids, 3, after.pids[i]), after.pids[i] == r->pid);
	ck_assert(!is_restarted(&b));
	turn_until(&b, is_restarted, 4);
	check_ok(r, "\"slept\"");
	pool_stats(b.pool, &after);
	for (unsigned i = 0; i < 3; i++)
		ck_assert(!has_pid(before.pids, 3, after.pids[i]));
	ck_assert_uint_eq(after.recycled, 0);
	end(&b);
}
END_TEST

/* C-28 */
START_TEST(a_restart_under_load_loses_nothing) /* timeout 60 */
{
	struct pool_stats before, after;
	struct bench b;

	begin_size(&b, 3, 3);
	wait_for_size(&b, 3);
	pool_stats(b.pool, &before);
	for (int i = 0; i < 300; i++) {
		while (pool_room(b.pool) > 0 && b.run_count < 19000)
			submit(&b, "t.echo", "[7]");
		if (i == 100)
			ck_assert(pool_restart(b.pool));
		uv_run(&b.loop, UV_RUN_ONCE);
	}
	turn_until(&b, is_all_done, 10);
	turn_until(&b, is_restarted, 10);
	for (unsigned i = 0; i < b.run_count; i++)
		check_ok(&b.runs[i], "7");
	pool_stats(b.pool, &after);
	ck_assert_uint_eq(after.pid_count, 3);
	for (unsigned i = 0; i < 3; i++)
		ck_assert(!has_pid(before.pids, 3, after.pids[i]));
	end(&b);
}
END_TEST

START_TEST(writes_are_counted_by_place)
{
	struct pool_process process;
	uint64_t written = 0;
	struct bench b;

	begin_size(&b, 2, 2);
	for (int i = 0; i < 6; i++) {
		submit(&b, "t.sleep", "[0.01]");
		turn_until(&b, is_all_done, 4);
	}
	for (unsigned i = 0; pool_process_at(b.pool, i, &process); i++) {
		ck_assert_int_gt(process.pid, 0);
		ck_assert(!process.is_writing);
		written += process.written;
	}
	ck_assert_uint_eq(written, 6);
	ck_assert(!pool_process_at(b.pool, 2, &process));
	end(&b);
}
END_TEST

static void has_one_size(enum pool_kind kind, unsigned size)
{
	struct pool_options options = {.kind = kind, .concurrency = 2, .max_concurrency = 8};
	struct bench b;

	begin_with(&b, &options);
	ck_assert_uint_eq(pool_size(b.pool), size);
	ck_assert_int_eq(pool_grow(b.pool, 1, NULL), -1);
	ck_assert_int_eq(pool_shrink(b.pool, 1, NULL), -1);
	ck_assert(!pool_restart(b.pool));
	submit(&b, "t.echo", "[1]");
	turn_until(&b, is_all_done, 4);
	check_ok(&b.runs[0], "1");
	end(&b);
}

START_TEST(threads_and_solo_keep_their_size)
{
	has_one_size(POOL_THREADS, 2);
	has_one_size(POOL_SOLO, 1);
}
END_TEST
