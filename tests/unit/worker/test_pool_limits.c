/* Time limits, terminate and kill, in real processes and threads. */
#include <signal.h>

#include <unistd.h>

#include "tests/unit/worker/pool_bench.h"
#include "worker/pool/pool_state.h"

/* T-75 */
static void soft_limit_wakes_the_body(enum pool_kind kind)
{
	struct bench b;
	struct run *aware, *blocked, *next;

	begin(&b, kind, 2);
	aware = prepare_run(&b, "t.sleep", "[5]");
	aware->job.soft_limit_s = 0.2;
	pool_submit(b.pool, &aware->job);
	blocked = prepare_run(&b, "t.nanosleep", "[5]");
	blocked->job.soft_limit_s = 0.2;
	pool_submit(b.pool, &blocked->job);
	turn_until(&b, is_all_done, 4);
	ck_assert_uint_eq(aware->soft, 1);
	ck_assert_int_eq(aware->kind, OUTCOME_FAILURE);
	ck_assert_str_eq(aware->exc_type, "SoftTimeLimitExceeded");
	ck_assert_str_eq(aware->exc_module, "billiard.exceptions");
	ck_assert_str_eq(aware->exc_args, "[]");
	ck_assert_uint_eq(blocked->soft, 1);
	ck_assert_str_eq(blocked->result, "\"interrupted\"");
	/* The flag was that job's alone. */
	next = submit(&b, "t.sleep", "[0.05]");
	turn_until(&b, is_all_done, 4);
	check_ok(next, "\"slept\"");
	end(&b);
}

START_TEST(prefork_soft_limit_wakes_the_body)
{
	soft_limit_wakes_the_body(POOL_PREFORK);
}
END_TEST

START_TEST(threads_soft_limit_wakes_the_body)
{
	soft_limit_wakes_the_body(POOL_THREADS);
}
END_TEST

START_TEST(solo_soft_limit_wakes_the_body)
{
	soft_limit_wakes_the_body(POOL_SOLO);
}
END_TEST

/* A slot that takes jobs ahead has ended `first`, without ringing for it, and runs `second`. The
 * loop has not turned since, so the pool knows of neither. */
static void run_two_unseen(struct bench *b, struct run *first, struct run *second)
{
	const struct share_slot *share = b->pool->units[0]->slots[0].share;

	pool_submit(b->pool, &first->job);
	pool_submit(b->pool, &second->job);
	uv_run(&b->loop, UV_RUN_NOWAIT);
	for (int i = 0; i < 1000; i++) {
		if (atomic_load(&share->places[second->job.place].state) == SHARE_STARTED)
			break;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	ck_assert_uint_eq(first->done + second->accepted, 0);
}

static void make_short(struct bench *b)
{
	for (int i = 0; i < 50; i++) {
		submit(b, "t.echo", "[1]");
		turn_until(b, is_all_done, 4);
	}
}

/* The first one's outcome may come right after the look into the ring by which the first one is
 * found to be slow. Nobody rings for it while the second one runs, whose limit must hold. */
START_TEST(prefork_hard_limit_holds_behind_an_outcome_that_came_after_the_look)
{
	struct bench b;
	struct run *first, *second;
	struct pool_slot *slot;

	begin(&b, POOL_PREFORK, 1);
	make_short(&b);
	slot = b.pool->units[0]->slots;
	first = prepare_run(&b, "t.echo", "[2]");
	second = prepare_run(&b, "t.sleep", "[8]");
	second->job.hard_limit_s = 0.3;
	run_two_unseen(&b, first, second);
	slot->link->is_visiting = true; /* it found nothing */
	slot_tick(slot, clock_mono_us());
	slot->link->is_visiting = false;
	slot_schedule(slot);
	pool_arm(b.pool);
	turn_until(&b, is_all_done, 4);
	check_ok(first, "2");
	ck_assert_int_eq(second->kind, OUTCOME_TIMEOUT);
	end(&b);
}
END_TEST

/* The second one had begun as well: it must not run again. */
START_TEST(prefork_nothing_that_began_runs_again_when_its_process_spoke_nonsense)
{
	struct bench b;
	struct run *first, *second, *third;
	struct pool_slot *slot;

	begin(&b, POOL_PREFORK, 1);
	make_short(&b);
	slot = b.pool->units[0]->slots;
	first = prepare_run(&b, "t.echo", "[2]");
	second = prepare_run(&b, "t.sleep", "[1]");
	run_two_unseen(&b, first, second);
	slot->share->ring.bytes[slot->link->ring_at % RING_BYTES] = 99;
	third = submit(&b, "t.echo", "[3]");
	turn_until(&b, is_all_done, 4);
	ck_assert_int_eq(first->kind, OUTCOME_LOST);
	ck_assert_int_eq(second->kind, OUTCOME_LOST);
	check_ok(third, "3");
	end(&b);
}
END_TEST

START_TEST(solo_kill_interrupts_what_runs_and_not_what_has_ended_unseen)
{
	struct bench b;
	struct run *first, *second;

	begin(&b, POOL_SOLO, 1);
	make_short(&b);
	first = prepare_run(&b, "t.echo", "[2]");
	second = prepare_run(&b, "t.sleep", "[8]");
	run_two_unseen(&b, first, second);
	pool_kill(b.pool);
	turn_until(&b, is_all_done, 4);
	check_ok(first, "2");
	ck_assert_int_eq(second->kind, OUTCOME_TERMINATED);
	end(&b);
}
END_TEST

/* T-76 T-78 */
START_TEST(prefork_hard_limit_kills_the_process)
{
	struct bench b;
	struct run *spin, *other, *next;

	begin(&b, POOL_PREFORK, 2);
	spin = prepare_run(&b, "t.spin", "[8]");
	spin->job.hard_limit_s = 1;
	spin->job.soft_limit_s = 0.3;
	pool_submit(b.pool, &spin->job);
	other = submit(&b, "t.sleep", "[1.5]");
	turn_until(&b, is_all_done, 6);
	ck_assert_int_eq(spin->kind, OUTCOME_TIMEOUT);
	ck_assert_uint_eq(spin->soft, 1);
	ck_assert_str_eq(spin->exc_module, "billiard.exceptions");
	ck_assert_str_eq(spin->exc_type, "TimeLimitExceeded");
	ck_assert_str_eq(spin->exc_args, "[1]");
	ck_assert_ptr_null(spin->traceback);
	ck_assert_int_lt(spin->done_us - spin->accepted_us, 1400000);
	ck_assert_int_ge(spin->done_us - spin->accepted_us, 980000);
	check_ok(other, "\"slept\"");
	next = submit(&b, "t.pid", "[]");
	turn_until(&b, is_all_done, 4);
	ck_assert_int_eq(next->kind, OUTCOME_SUCCESS);
	ck_assert_int_ne(atoi(next->result), spin->pid);
	end(&b);
}
END_TEST

/* T-76 */
START_TEST(prefork_a_fractional_limit_is_printed_as_python_does)
{
	struct bench b;
	struct run *r;

	begin(&b, POOL_PREFORK, 1);
	r = prepare_run(&b, "t.sleep", "[8]");
	r->job.hard_limit_s = 0.5;
	pool_submit(b.pool, &r->job);
	turn_until(&b, is_all_done, 4);
	ck_assert_str_eq(r->exc_args, "[0.5]");
	ck_assert_str_eq(r->exc_text, "TimeLimitExceeded(0.5,)");
	end(&b);
}
END_TEST

START_TEST(threads_only_note_a_hard_limit)
{
	struct bench b;
	struct run *r;
	char *first;

	begin(&b, POOL_THREADS, 2);
	r = prepare_run(&b, "t.nanosleep", "[0.5]");
	r->job.hard_limit_s = 0.1;
	pool_submit(b.pool, &r->job);
	turn_until(&b, is_all_done, 4);
	check_ok(r, "\"slept\"");
	first = strstr(b.notices.data, "time limits cannot be enforced");
	ck_assert_ptr_nonnull(first);
	ck_assert_ptr_null(strstr(first + 1, "time limits cannot be enforced"));
	end(&b);
}
END_TEST

/* The part of the pool in revoking a running task. */
START_TEST(prefork_terminate_kills_the_running_and_drops_the_waiting)
{
	struct bench b;
	struct run *running, *waiting, *other;

	begin(&b, POOL_PREFORK, 1);
	running = submit(&b, "t.sleep", "[5]");
	waiting = submit(&b, "t.echo", "[1]");
	other = submit(&b, "t.echo", "[2]");
	turn_for(&b, 0.1);
	pool_terminate(b.pool, &waiting->job, SIGTERM);
	ck_assert_uint_eq(waiting->done, 0);
	pool_terminate(b.pool, &running->job, SIGTERM);
	turn_until(&b, is_all_done, 4);
	ck_assert_int_eq(running->kind, OUTCOME_TERMINATED);
	ck_assert_uint_eq(running->accepted, 1);
	ck_assert_int_eq(waiting->kind, OUTCOME_TERMINATED);
	ck_assert_uint_eq(waiting->accepted, 0);
	check_ok(other, "2");
	ck_assert_ptr_null(strstr(b.notices.data, "ERROR"));
	end(&b);
}
END_TEST

START_TEST(threads_terminate_raises_the_soft_flag)
{
	struct bench b;
	struct run *r;

	begin(&b, POOL_THREADS, 1);
	r = submit(&b, "t.sleep", "[5]");
	turn_for(&b, 0.1);
	pool_terminate(b.pool, &r->job, SIGTERM);
	turn_until(&b, is_all_done, 4);
	ck_assert_int_eq(r->kind, OUTCOME_TERMINATED);
	end(&b);
}
END_TEST

static void kill_ends_everything(enum pool_kind kind)
{
	struct bench b;

	begin(&b, kind, 2);
	for (int i = 0; i < 4; i++)
		submit(&b, "t.sleep", "[5]");
	turn_for(&b, 0.1);
	pool_kill(b.pool);
	stop(&b);
	turn_until(&b, is_bench_stopped, 4);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(b.runs[i].kind, OUTCOME_TERMINATED);
	finish_bench(&b);
}

START_TEST(prefork_kill_ends_everything)
{
	kill_ends_everything(POOL_PREFORK);
}
END_TEST

START_TEST(threads_kill_ends_everything)
{
	kill_ends_everything(POOL_THREADS);
}
END_TEST

START_TEST(solo_kill_ends_everything)
{
	kill_ends_everything(POOL_SOLO);
}
END_TEST
