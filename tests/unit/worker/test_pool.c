/* The pool with real processes and threads: one suite, run for each kind where it applies. */
#include "tests/unit/worker/pool_bench.h"

static void runs_and_answers(enum pool_kind kind)
{
	struct bench b;
	struct run *echo, *raise, *wrong;

	begin(&b, kind, 2);
	echo = submit(&b, "t.echo", "[[1, \"\\u00e9\", {\"a\": null}]]");
	raise = submit(&b, "t.raise", "[\"ValueError\"]");
	wrong = submit(&b, "t.raise", "[]");
	turn_until(&b, is_all_done, 5);
	check_ok(echo, "[1, \"\\u00e9\", {\"a\": null}]");
	ck_assert_int_gt(echo->pid, 0);
	ck_assert_int_eq(raise->kind, OUTCOME_FAILURE);
	ck_assert_str_eq(raise->exc_type, "ValueError");
	ck_assert_str_eq(raise->exc_args, "[\"oh no\"]");
	ck_assert_str_eq(raise->traceback, "Traceback (most recent call last):\n"
					   "  Task t.raise, in smallage\nValueError: oh no\n");
	ck_assert_str_eq(wrong->exc_type, "TypeError");
	ck_assert_ptr_nonnull(strstr(wrong->exc_text, "missing 1 required positional argument"));
	end(&b);
}

START_TEST(prefork_runs_and_answers)
{
	runs_and_answers(POOL_PREFORK);
}
END_TEST

START_TEST(threads_run_and_answer)
{
	runs_and_answers(POOL_THREADS);
}
END_TEST

START_TEST(solo_runs_and_answers)
{
	runs_and_answers(POOL_SOLO);
}
END_TEST

/* Small outcomes and large ones take different ways to the master, and keep their order. */
static void mixes_small_and_large(enum pool_kind kind)
{
	static const char *const sizes[] = {"[1]", "[20000]", "[3]", "[200000]", "[7000]"};
	struct bench b;

	begin(&b, kind, 1);
	for (int i = 0; i < 50; i++) {
		submit(&b, "t.echo", "[7]");
		turn_until(&b, is_all_done, 5);
	}
	for (int i = 0; i < 300; i++) {
		submit(&b, "t.big", sizes[i % 5]);
		submit(&b, "t.progress", "[]");
	}
	turn_until(&b, is_all_done, 20);
	for (unsigned i = 50; i < b.run_count; i += 2) {
		size_t size = strtoul(sizes[(i - 50) / 2 % 5] + 1, NULL, 10);

		ck_assert_int_eq(b.runs[i].kind, OUTCOME_SUCCESS);
		ck_assert_uint_eq(strlen(b.runs[i].result), size + 2);
		ck_assert_uint_eq(b.runs[i + 1].states, 2);
		ck_assert_int_eq(b.runs[i + 1].order, (int)i + 1);
	}
	end(&b);
}

START_TEST(prefork_keeps_the_order_of_small_and_large) /* timeout 30 */
{
	mixes_small_and_large(POOL_PREFORK);
}
END_TEST

START_TEST(threads_keep_the_order_of_small_and_large) /* timeout 30 */
{
	mixes_small_and_large(POOL_THREADS);
}
END_TEST

/* Many short ones: all end once, and once learned, the pool takes several per slot. */
static void takes_many_short_ones(enum pool_kind kind)
{
	struct bench b;
	unsigned best_room = 0;

	begin(&b, kind, 2);
	for (int round = 0; round < 400; round++) {
		unsigned room = pool_room(b.pool);

		best_room = room > best_room ? room : best_room;
		while (pool_room(b.pool) > 0)
			submit(&b, "t.echo", "[7]");
		turn_until(&b, is_all_done, 5);
	}
	ck_assert_uint_ge(best_room, 16);
	for (unsigned i = 0; i < b.run_count; i++)
		check_ok(&b.runs[i], "7");
	turn_for(&b, 0.01);
	ck_assert_uint_gt(b.room_calls, 0);
	end(&b);
}

START_TEST(prefork_takes_many_short_ones) /* timeout 30 */
{
	takes_many_short_ones(POOL_PREFORK);
}
END_TEST

START_TEST(threads_take_many_short_ones) /* timeout 30 */
{
	takes_many_short_ones(POOL_THREADS);
}
END_TEST

START_TEST(solo_takes_many_short_ones) /* timeout 30 */
{
	takes_many_short_ones(POOL_SOLO);
}
END_TEST

/* T-55: accepted when the body begins, at once, and not when it is handed to the pool. */
static void accepts_when_the_body_begins(enum pool_kind kind)
{
	struct bench b;
	struct run *first, *second;
	int64_t begin_us;

	begin(&b, kind, 1);
	submit(&b, "t.echo", "[1]");
	turn_until(&b, is_all_done, 5);
	begin_us = clock_mono_us();
	first = submit(&b, "t.sleep", "[0.3]");
	second = submit(&b, "t.sleep", "[0.01]");
	turn_for(&b, 0.1);
	ck_assert_uint_eq(first->accepted, 1);
	ck_assert_int_lt(first->accepted_us - begin_us, 50000);
	ck_assert_uint_eq(second->accepted, 0);
	turn_until(&b, is_all_done, 5);
	ck_assert_int_ge(second->accepted_us, first->done_us - 1000);
	check_ok(second, "\"slept\"");
	end(&b);
}

START_TEST(prefork_accepts_when_the_body_begins)
{
	accepts_when_the_body_begins(POOL_PREFORK);
}
END_TEST

START_TEST(threads_accept_when_the_body_begins)
{
	accepts_when_the_body_begins(POOL_THREADS);
}
END_TEST

START_TEST(solo_accepts_when_the_body_begins)
{
	accepts_when_the_body_begins(POOL_SOLO);
}
END_TEST

static void sends_states(enum pool_kind kind)
{
	struct bench b;
	struct run *r;

	begin(&b, kind, 1);
	r = submit(&b, "t.progress", "[]");
	turn_until(&b, is_all_done, 4);
	ck_assert_uint_eq(r->states, 2);
	ck_assert_str_eq(b.last_state, "PROGRESS");
	ck_assert_str_eq(b.last_meta, "{\"current\": 2, \"total\": 2}");
	end(&b);
}

START_TEST(prefork_sends_states)
{
	sends_states(POOL_PREFORK);
}
END_TEST

START_TEST(threads_send_states)
{
	sends_states(POOL_THREADS);
}
END_TEST

START_TEST(solo_sends_states)
{
	sends_states(POOL_SOLO);
}
END_TEST

static void takes_back_what_did_not_begin(enum pool_kind kind)
{
	struct bench b;
	struct run *running, *waiting;

	begin(&b, kind, 1);
	running = submit(&b, "t.sleep", "[0.2]");
	waiting = submit(&b, "t.echo", "[1]");
	turn_for(&b, 0.05);
	ck_assert(!pool_take_back(b.pool, &running->job));
	ck_assert(pool_take_back(b.pool, &waiting->job));
	b.done++;
	turn_until(&b, is_all_done, 4);
	turn_for(&b, 0.05);
	ck_assert_uint_eq(waiting->accepted + waiting->done, 0);
	end(&b);
}

START_TEST(prefork_takes_back_what_did_not_begin)
{
	takes_back_what_did_not_begin(POOL_PREFORK);
}
END_TEST

START_TEST(threads_take_back_what_did_not_begin)
{
	takes_back_what_did_not_begin(POOL_THREADS);
}
END_TEST

START_TEST(solo_takes_back_what_did_not_begin)
{
	takes_back_what_did_not_begin(POOL_SOLO);
}
END_TEST

/* Warm stop: what runs may finish. */
static void stops_when_the_running_are_done(enum pool_kind kind)
{
	struct bench b;
	struct run *r;

	begin(&b, kind, 2);
	r = submit(&b, "t.sleep", "[0.3]");
	turn_for(&b, 0.1);
	ck_assert_uint_eq(r->done, 0);
	stop(&b);
	turn_until(&b, is_bench_stopped, 5);
	check_ok(r, "\"slept\"");
	ck_assert(b.notices.len == 0 || !strstr(b.notices.data, "ERROR"));
	finish_bench(&b);
}

START_TEST(prefork_stops_when_the_running_are_done)
{
	stops_when_the_running_are_done(POOL_PREFORK);
}
END_TEST

START_TEST(threads_stop_when_the_running_are_done)
{
	stops_when_the_running_are_done(POOL_THREADS);
}
END_TEST

START_TEST(solo_stops_when_the_running_are_done)
{
	stops_when_the_running_are_done(POOL_SOLO);
}
END_TEST

static void plugins_start_once_per_slot(enum pool_kind kind)
{
	struct bench b;

	begin(&b, kind, 2);
	for (int i = 0; i < 10; i++)
		submit(&b, "t.starts", "[]");
	turn_until(&b, is_all_done, 4);
	for (int i = 0; i < 10; i++)
		check_ok(&b.runs[i], "1");
	end(&b);
}

START_TEST(prefork_plugins_start_once_per_slot)
{
	plugins_start_once_per_slot(POOL_PREFORK);
}
END_TEST

START_TEST(threads_plugins_start_once_per_slot)
{
	plugins_start_once_per_slot(POOL_THREADS);
}
END_TEST

START_TEST(solo_plugins_start_once_per_slot)
{
	plugins_start_once_per_slot(POOL_SOLO);
}
END_TEST
