/* Processes that die, are replaced, and what they inherit. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/worker/pool_bench.h"

/* T-59 */
START_TEST(prefork_a_killed_process_loses_its_job_alone)
{
	struct bench b;
	struct run *victim, *other, *next;
	auto_free char *text = NULL;
	auto_free char *notice = NULL;

	begin(&b, POOL_PREFORK, 2);
	victim = submit(&b, "t.sleep", "[5]");
	other = submit(&b, "t.sleep", "[0.4]");
	turn_for(&b, 0.1);
	ck_assert_int_gt(victim->pid, 0);
	kill(victim->pid, SIGKILL);
	turn_until(&b, is_all_done, 4);
	ck_assert_int_eq(victim->kind, OUTCOME_LOST);
	ck_assert_str_eq(victim->exc_module, "billiard.exceptions");
	ck_assert_str_eq(victim->exc_type, "WorkerLostError");
	text = mem_printf("Worker exited prematurely: signal 9 (SIGKILL) Job: %llu.",
			  (unsigned long long)victim->job.serial);
	ck_assert_str_eq(victim->exc_text, text);
	ck_assert_ptr_null(victim->traceback);
	notice = mem_printf("ERROR Process 'PoolWorker-1' pid:%d exited with 'signal 9 (SIGKILL)'",
			    victim->pid);
	if (!strstr(b.notices.data, notice))
		memcpy(strstr(notice, "er-1"), "er-2", 4);
	ck_assert_ptr_nonnull(strstr(b.notices.data, notice));
	check_ok(other, "\"slept\"");
	next = submit(&b, "t.echo", "[1]");
	turn_until(&b, is_all_done, 4);
	check_ok(next, "1");
	end(&b);
}
END_TEST

/* T-59 */
START_TEST(prefork_a_task_that_exits_or_aborts_is_lost)
{
	struct bench b;
	struct run *exits, *aborts;

	begin(&b, POOL_PREFORK, 1);
	exits = submit(&b, "t.exit", "[3]");
	aborts = submit(&b, "t.abort", "[]");
	turn_until(&b, is_all_done, 8);
	ck_assert_int_eq(exits->kind, OUTCOME_LOST);
	ck_assert_str_eq(exits->exc_text, "Worker exited prematurely: exitcode 3 Job: 1.");
	ck_assert_int_eq(aborts->kind, OUTCOME_LOST);
	ck_assert_str_eq(aborts->exc_text, "Worker exited prematurely: signal 6 (SIGABRT) Job: 2.");
	ck_assert_ptr_nonnull(strstr(b.notices.data, "exited with 'exitcode 3'"));
	end(&b);
}
END_TEST

/* What was queued behind a job that killed its process runs elsewhere. */
START_TEST(prefork_jobs_queued_at_a_dead_process_still_run)
{
	struct bench b;

	begin(&b, POOL_PREFORK, 1);
	for (int i = 0; i < 100; i++) {
		submit(&b, "t.echo", "[1]");
		turn_until(&b, is_all_done, 4);
	}
	submit(&b, "t.exit", "[1]");
	for (int i = 0; i < 10; i++)
		submit(&b, "t.echo", "[2]");
	turn_until(&b, is_all_done, 4);
	ck_assert_int_eq(b.runs[100].kind, OUTCOME_LOST);
	for (unsigned i = 101; i < b.run_count; i++)
		check_ok(&b.runs[i], "2");
	end(&b);
}
END_TEST

/* What ended before the death is known, though nobody was woken for it. */
START_TEST(prefork_outcomes_outlive_the_process_that_wrote_them)
{
	struct bench b;

	begin(&b, POOL_PREFORK, 1);
	for (int i = 0; i < 100; i++) {
		submit(&b, "t.echo", "[1]");
		turn_until(&b, is_all_done, 4);
	}
	for (int i = 0; i < 5; i++)
		submit(&b, "t.echo", "[2]");
	submit(&b, "t.exit", "[1]");
	turn_until(&b, is_all_done, 4);
	for (unsigned i = 100; i < 105; i++) {
		check_ok(&b.runs[i], "2");
		ck_assert_int_eq(b.runs[i].pid, b.runs[100].pid);
	}
	ck_assert_int_eq(b.runs[105].kind, OUTCOME_LOST);
	ck_assert_int_eq(b.runs[105].pid, b.runs[100].pid);
	end(&b);
}
END_TEST

START_TEST(threads_a_dying_process_loses_all_running_jobs)
{
	struct bench b;
	struct run *a, *c, *next;

	begin(&b, POOL_THREADS, 2);
	a = submit(&b, "t.sleep", "[5]");
	c = submit(&b, "t.sleep", "[5]");
	next = submit(&b, "t.echo", "[3]");
	turn_for(&b, 0.1);
	kill(a->pid, SIGKILL);
	turn_until(&b, is_all_done, 4);
	ck_assert_int_eq(a->kind, OUTCOME_LOST);
	ck_assert_int_eq(c->kind, OUTCOME_LOST);
	check_ok(next, "3");
	end(&b);
}
END_TEST

/* T-96 */
START_TEST(prefork_processes_are_replaced_after_so_many_tasks)
{
	struct pool_options options = {
		.kind = POOL_PREFORK, .concurrency = 2, .max_tasks_per_child = 5};
	struct pool_stats stats;
	unsigned most = 0;
	struct bench b;

	begin_with(&b, &options);
	for (int i = 0; i < 101; i++)
		submit(&b, "t.pid", "[]");
	turn_until(&b, is_all_done, 8);
	for (unsigned i = 0; i < b.run_count; i++) {
		unsigned same = 0;

		ck_assert_int_eq(b.runs[i].kind, OUTCOME_SUCCESS);
		for (unsigned k = 0; k < b.run_count; k++)
			same += strcmp(b.runs[k].result, b.runs[i].result) == 0;
		most = same > most ? same : most;
	}
	ck_assert_uint_eq(most, 5);
	pool_stats(b.pool, &stats);
	ck_assert_uint_ge(stats.recycled, 19);
	ck_assert_ptr_null(strstr(b.notices.data, "ERROR"));
	ck_assert_ptr_nonnull(strstr(b.notices.data, "exitcode 155"));
	end(&b);
}
END_TEST

/* T-96 */
START_TEST(prefork_processes_over_the_memory_limit_are_replaced)
{
	struct pool_options options = {
		.kind = POOL_PREFORK, .concurrency = 1, .max_memory_per_child_kib = 100};
	struct bench b;

	begin_with(&b, &options);
	for (int i = 0; i < 10; i++)
		submit(&b, "t.pid", "[]");
	turn_until(&b, is_all_done, 8);
	for (unsigned i = 0; i < b.run_count; i++)
		ck_assert_int_eq(b.runs[i].kind, OUTCOME_SUCCESS);
	ck_assert_str_ne(b.runs[0].result, b.runs[9].result);
	ck_assert_ptr_nonnull(strstr(b.notices.data,
				     "WARNING child process exiting after exceeding "
				     "memory limit ("));
	ck_assert_ptr_nonnull(strstr(b.notices.data, "KiB / 100KiB)"));
	end(&b);
}
END_TEST

/* A ^C on the terminal reaches the whole group; it is the master's to act on. */
START_TEST(prefork_signals_to_the_group_leave_processes_alone)
{
	struct bench b;
	struct run *r;

	setpgid(0, 0);
	begin(&b, POOL_PREFORK, 2);
	r = submit(&b, "t.sleep", "[0.4]");
	turn_for(&b, 0.1);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	kill(0, SIGINT);
	kill(0, SIGTERM);
	kill(0, SIGHUP);
	turn_until(&b, is_all_done, 4);
	check_ok(r, "\"slept\"");
	end(&b);
}
END_TEST

static void wait_gone(pid_t pid)
{
	int64_t until_us = clock_mono_us() + 3000000;
	char path[64], state = 'R';

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	while (clock_mono_us() < until_us) {
		FILE *file = fopen(path, "r");

		if (!file)
			return;
		/* An orphan may stay a zombie where nobody reaps. */
		if (fscanf(file, "%*d (%*[^)]) %c", &state) == 1 && state == 'Z')
			until_us = 0;
		fclose(file);
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	ck_assert_msg(state == 'Z', "process %d lives on in state %c", pid, state);
}

START_TEST(prefork_everything_dies_with_the_master)
{
	int pipe_fds[2];
	pid_t pids[2] = {0, 0};
	pid_t master;

	ck_assert_int_eq(pipe(pipe_fds), 0);
	master = fork();
	if (master == 0) {
		struct bench b;
		struct run *r;

		begin(&b, POOL_PREFORK, 1);
		r = submit(&b, "t.sleep", "[60]");
		turn_for(&b, 0.2);
		pids[0] = r->pid;
		ck_assert_int_eq(write(pipe_fds[1], pids, sizeof(pids)), sizeof(pids));
		pause();
	}
	ck_assert_int_eq(read(pipe_fds[0], pids, sizeof(pids)), sizeof(pids));
	ck_assert_int_gt(pids[0], 0);
	kill(master, SIGKILL);
	waitpid(master, NULL, 0);
	wait_gone(pids[0]);
}
END_TEST

static void check_no_sockets_but_one(pid_t pid)
{
	auto_free char *folder = mem_printf("/proc/%d/fd", pid);
	unsigned sockets = 0;

	for (int fd = 3; fd < 200; fd++) {
		auto_free char *path = mem_printf("%s/%d", folder, fd);
		struct stat st;

		sockets += stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
	}
	ck_assert_uint_eq(sockets, 1);
}

START_TEST(prefork_processes_hold_one_socket)
{
	struct bench b;
	struct run *a, *c;

	begin(&b, POOL_PREFORK, 2);
	a = submit(&b, "t.sleep", "[0.2]");
	c = submit(&b, "t.sleep", "[0.2]");
	turn_for(&b, 0.1);
	check_no_sockets_but_one(a->pid);
	check_no_sockets_but_one(c->pid);
	turn_until(&b, is_all_done, 4);
	end(&b);
}
END_TEST

/* Processes that die before they run anything are not started in a storm. */
START_TEST(prefork_early_deaths_slow_the_respawn_down) /* timeout 20 */
{
	struct bench b;
	struct run *r;
	struct pool_stats stats;

	begin(&b, POOL_PREFORK, 1);
	for (int i = 0; i < 10; i++) {
		turn_for(&b, 0.05);
		pool_stats(b.pool, &stats);
		ck_assert_uint_eq(stats.pid_count, 1);
		kill(stats.pids[0], SIGKILL);
	}
	turn_for(&b, 0.2);
	pool_stats(b.pool, &stats);
	ck_assert_uint_eq(stats.pid_count, 0);
	ck_assert_ptr_nonnull(strstr(b.notices.data, "a second apart"));
	r = submit(&b, "t.echo", "[1]");
	turn_until(&b, is_all_done, 4);
	check_ok(r, "1");
	end(&b);
}
END_TEST

START_TEST(prefork_a_dead_spawner_is_fatal)
{
	struct bench b;
	struct pool_stats stats;
	char path[64], text[256];
	int parent = 0;
	FILE *file;

	begin(&b, POOL_PREFORK, 1);
	turn_for(&b, 0.1);
	pool_stats(b.pool, &stats);
	snprintf(path, sizeof(path), "/proc/%d/stat", stats.pids[0]);
	file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
	fclose(file);
	ck_assert_int_eq(sscanf(strrchr(text, ')') + 4, "%d", &parent), 1);
	ck_assert_int_gt(parent, 1);
	kill(parent, SIGKILL);
	turn_for(&b, 0.1);
	ck_assert(b.is_fatal);
	wait_gone(stats.pids[0]);
	finish_bench(&b);
}
END_TEST

/* Killed at random under load: every job ends once; only what had begun is lost, at most one job
 * per kill. */
START_TEST(prefork_random_kills_lose_only_what_had_begun) /* timeout 60 */
{
	unsigned kills = 0, lost = 0;
	struct pool_stats stats;
	struct bench b;

	begin(&b, POOL_PREFORK, 4);
	srand(1);
	while (kills < 100) {
		while (pool_room(b.pool) > 0 && b.run_count < 19000)
			submit(&b, rand() % 50 ? "t.echo" : "t.sleep",
			       rand() % 2 ? "[0.004]" : "[0.001]");
		uv_run(&b.loop, UV_RUN_ONCE);
		pool_stats(b.pool, &stats);
		if (rand() % 20 || stats.pid_count == 0)
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
	/* The last of the killed may have been idle: its end is no part of the stop. */
	turn_for(&b, 0.1);
	ck_assert_uint_gt(lost, 0);
	ck_assert_uint_le(lost, kills);
	end(&b);
}
END_TEST

START_TEST(prefork_a_process_killed_while_it_answers_is_lost) /* timeout 30 */
{
	struct pool_stats stats;
	struct bench b;
	struct run *r, *next;

	begin(&b, POOL_PREFORK, 1);
	r = submit(&b, "t.big", "[67108864]");
	/* On a busy machine it may not have been forked by then. */
	do {
		turn_for(&b, 0.02);
		pool_stats(b.pool, &stats);
	} while (stats.pid_count == 0);
	/* The socket fills up while nobody reads here, so the answer is cut in the middle. */
	nanosleep(&(struct timespec){.tv_nsec = 400000000}, NULL);
	kill(stats.pids[0], SIGKILL);
	next = submit(&b, "t.echo", "[1]");
	turn_until(&b, is_all_done, 10);
	ck_assert_int_eq(r->kind, OUTCOME_LOST);
	check_ok(next, "1");
	end(&b);
}
END_TEST

static void hang(void)
{
	for (;;)
		pause();
}

/* A stop hook that hangs holds neither the slot nor the end of the worker. */
START_TEST(prefork_a_hanging_stop_hook_is_killed) /* timeout 30 */
{
	struct sm_plugin plugin = test_plugin;
	struct bench b;
	int64_t begin_us;

	plugin.stop = hang;
	begin_plugin(&b, &(struct pool_options){.kind = POOL_PREFORK, .concurrency = 1}, &plugin);
	begin_us = clock_mono_us();
	submit(&b, "t.echo", "[1]");
	turn_until(&b, is_all_done, 4);
	pool_stop(b.pool, on_stopped, &b);
	turn_until(&b, is_bench_stopped, 15);
	ck_assert_int_gt(clock_mono_us() - begin_us, 9000000);
	ck_assert_ptr_nonnull(strstr(b.notices.data, "exited with 'signal 9 (SIGKILL)'"));
	b.notices_before_stop = b.notices.len;
	finish_bench(&b);
}
END_TEST
