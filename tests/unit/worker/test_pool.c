/* The pool with real processes and threads: one suite, run for each kind where it applies. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "worker/pool/pool.h"

/* --- a plug-in ------------------------------------------------------------------------------ */

static _Thread_local int starts;

static void plugin_start(void)
{
	starts++;
}

static json_t *run_echo(struct sm_job *job)
{
	return json_incref(sm_json(job, "value"));
}

static json_t *run_starts(struct sm_job *job)
{
	(void)job;
	return json_integer(starts);
}

static json_t *run_pid(struct sm_job *job)
{
	(void)job;
	return json_integer(getpid());
}

static json_t *run_sleep(struct sm_job *job)
{
	if (sm_sleep(job, sm_float(job, "seconds")) != 0)
		return sm_raise(job, "SoftTimeLimitExceeded", "%s", "");
	return json_string("slept");
}

/* As a blocking call of a library would, with no eye on the flag. */
static json_t *run_nanosleep(struct sm_job *job)
{
	double seconds = sm_float(job, "seconds");
	struct timespec t = {.tv_sec = (time_t)seconds};

	t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
	if (nanosleep(&t, NULL) != 0 && sm_expired(job))
		return json_string("interrupted");
	return json_string("slept");
}

static json_t *run_spin(struct sm_job *job)
{
	int64_t until_us = clock_mono_us() + (int64_t)(sm_float(job, "seconds") * 1e6);

	while (clock_mono_us() < until_us)
		continue;
	return json_true();
}

static json_t *run_abort(struct sm_job *job)
{
	(void)job;
	signal(SIGABRT, SIG_DFL);
	abort();
}

static json_t *run_exit(struct sm_job *job)
{
	_exit((int)sm_int(job, "code"));
}

static json_t *run_raise(struct sm_job *job)
{
	return sm_raise(job, sm_str(job, "type"), "%s", "oh no");
}

static json_t *run_big(struct sm_job *job)
{
	size_t size = (size_t)sm_int(job, "size");
	char *text = sm_alloc(job, size + 1);

	memset(text, 'x', size);
	return json_string(text);
}

static json_t *run_length(struct sm_job *job)
{
	return json_integer((json_int_t)strlen(sm_str(job, "value")));
}

static json_t *run_progress(struct sm_job *job)
{
	sm_progress(job, 1, 2);
	sm_progress(job, 2, 2);
	return json_true();
}

#define TASK(NAME, SIGNATURE)                                                                      \
	static const struct sm_task NAME##_task = {                                                \
		.name = "t." #NAME, .signature = SIGNATURE, .run = run_##NAME}
TASK(echo, "value: any = None");
TASK(starts, "");
TASK(pid, "");
TASK(sleep, "seconds: number");
TASK(nanosleep, "seconds: number");
TASK(spin, "seconds: number");
TASK(abort, "");
TASK(exit, "code: int");
TASK(raise, "type: str");
TASK(big, "size: int");
TASK(length, "value: str");
TASK(progress, "");

static const struct sm_plugin test_plugin = {
	.abi = SM_ABI,
	.task_size = sizeof(struct sm_task),
	.name = "test",
	.start = plugin_start,
	.tasks = SM_TASKS(&echo_task, &starts_task, &pid_task, &sleep_task, &nanosleep_task,
			  &spin_task, &abort_task, &exit_task, &raise_task, &big_task, &length_task,
			  &progress_task),
};

/* --- a bench -------------------------------------------------------------------------------- */

struct run {
	struct pool_job job;
	char id[24];
	char *args;
	enum outcome_kind kind;
	char *result, *exc_module, *exc_type, *exc_args, *exc_text, *traceback;
	pid_t pid;
	unsigned accepted, soft, done, states;
	int64_t accepted_us, done_us;
	int order; /* of ending */
};

struct bench {
	uv_loop_t loop;
	struct registry *registry;
	struct pool *pool;
	struct run *runs;
	unsigned run_count, done, room_calls;
	struct str notices;
	size_t notices_before_stop;
	char last_state[64], last_meta[256];
	bool is_stopped, is_fatal;
	uv_timer_t tick;
	int64_t last_tick_us, worst_gap_us; /* between two turns of the loop */
	int64_t last_cpu_us, worst_cpu_us;  /* computed in between, whatever else the machine did */
};

static void on_accepted(void *ctx, struct pool_job *job, pid_t pid)
{
	struct run *r = list_entry(job, struct run, job);

	(void)ctx;
	ck_assert_uint_eq(r->done, 0);
	r->accepted++;
	r->accepted_us = clock_mono_us();
	r->pid = pid;
}

static void on_state(void *ctx, struct pool_job *job, const char *state, const char *meta,
		     size_t len)
{
	struct bench *b = ctx;
	struct run *r = list_entry(job, struct run, job);

	r->states++;
	snprintf(b->last_state, sizeof(b->last_state), "%s", state);
	snprintf(b->last_meta, sizeof(b->last_meta), "%.*s", (int)len, meta);
}

static void on_soft_limit(void *ctx, struct pool_job *job)
{
	(void)ctx;
	list_entry(job, struct run, job)->soft++;
}

static void on_done(void *ctx, struct pool_job *job, struct outcome *o)
{
	struct bench *b = ctx;
	struct run *r = list_entry(job, struct run, job);

	ck_assert_uint_eq(r->done, 0);
	r->done++;
	r->done_us = clock_mono_us();
	r->order = (int)b->done++;
	r->kind = o->kind;
	r->result = o->result;
	o->result = NULL;
	r->exc_module = mem_strdup(o->exc_module);
	r->exc_type = mem_strdup(o->exc_type);
	r->exc_args = mem_strdup(o->exc_args);
	r->exc_text = mem_strdup(o->exc_text);
	r->traceback = mem_strdup(o->traceback);
}

static void on_room(void *ctx)
{
	((struct bench *)ctx)->room_calls++;
}

static void on_notice(void *ctx, int level, const char *text)
{
	struct bench *b = ctx;

	str_addf(&b->notices, "%s %s\n", log_level_name((enum log_level)level), text);
}

static void on_fatal(void *ctx, const char *text)
{
	(void)text;
	((struct bench *)ctx)->is_fatal = true;
}

static const struct pool_events events = {.on_accepted = on_accepted,
					  .on_state = on_state,
					  .on_soft_limit = on_soft_limit,
					  .on_done = on_done,
					  .on_room = on_room,
					  .on_notice = on_notice,
					  .on_fatal = on_fatal};

static void on_tick(uv_timer_t *timer)
{
	struct bench *b = timer->data;
	int64_t now_us = clock_mono_us();

	int64_t cpu_us;
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	cpu_us = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
	if (b->last_tick_us && now_us - b->last_tick_us > b->worst_gap_us)
		b->worst_gap_us = now_us - b->last_tick_us;
	if (b->last_tick_us && cpu_us - b->last_cpu_us > b->worst_cpu_us)
		b->worst_cpu_us = cpu_us - b->last_cpu_us;
	b->last_tick_us = now_us;
	b->last_cpu_us = cpu_us;
}

static void begin_with(struct bench *b, struct pool_options *options)
{
	memset(b, 0, sizeof(*b));
	str_init(&b->notices, 1 << 16);
	b->registry = registry_new();
	b->runs = calloc(20000, sizeof(struct run));
	ck_assert_int_eq(registry_add_plugin(b->registry, &test_plugin, NULL, NULL), 0);
	options->registry = b->registry;
	options->events = &events;
	options->ctx = b;
	if (!options->max_payload_bytes)
		options->max_payload_bytes = 70 << 20;
	ck_assert_int_eq(pool_prepare(&b->pool, options, NULL), 0);
	uv_loop_init(&b->loop);
	uv_timer_init(&b->loop, &b->tick);
	b->tick.data = b;
	uv_timer_start(&b->tick, on_tick, 2, 2);
	ck_assert_int_eq(pool_start(b->pool, &b->loop, NULL), 0);
}

static void begin(struct bench *b, enum pool_kind kind, unsigned concurrency)
{
	struct pool_options options = {.kind = kind, .concurrency = concurrency};

	begin_with(b, &options);
}

static void on_stopped(void *ctx)
{
	((struct bench *)ctx)->is_stopped = true;
}

static void stop(struct bench *b)
{
	b->notices_before_stop = b->notices.len;
	pool_stop(b->pool, on_stopped, b);
}

static void turn_until(struct bench *b, bool (*is_met)(const struct bench *), double seconds)
{
	int64_t until_us = clock_mono_us() + (int64_t)(seconds * 1e6);

	while (!is_met(b)) {
		ck_assert_msg(clock_mono_us() < until_us, "still waiting; %u of %u done; %s",
			      b->done, b->run_count, b->notices.data ? b->notices.data : "");
		uv_run(&b->loop, UV_RUN_ONCE);
	}
}

static bool is_all_done(const struct bench *b)
{
	return b->done == b->run_count;
}

static bool is_bench_stopped(const struct bench *b)
{
	return b->is_stopped;
}

static void turn_for(struct bench *b, double seconds)
{
	int64_t until_us = clock_mono_us() + (int64_t)(seconds * 1e6);

	while (clock_mono_us() < until_us)
		uv_run(&b->loop, UV_RUN_ONCE);
}

static void finish_bench(struct bench *b)
{
	for (unsigned i = 0; i < b->run_count; i++) {
		struct run *r = &b->runs[i];

		free(r->args);
		free(r->result);
		free(r->exc_module);
		free(r->exc_type);
		free(r->exc_args);
		free(r->exc_text);
		free(r->traceback);
	}
	pool_free(b->pool);
	/* A sanitizer gives a process that leaked an exit code, and the pool says so. */
	if (b->notices.len > b->notices_before_stop)
		ck_assert_ptr_null(strstr(b->notices.data + b->notices_before_stop, "ERROR"));
	uv_close((uv_handle_t *)&b->tick, NULL);
	uv_run(&b->loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&b->loop), 0);
	registry_free(b->registry);
	str_clear(&b->notices);
	free(b->runs);
	/* The spawner was waited for, and its children with it. */
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}

static void end(struct bench *b)
{
	stop(b);
	turn_until(b, is_bench_stopped, 10);
	finish_bench(b);
}

static struct run *prepare_run(struct bench *b, const char *task, const char *args)
{
	struct run *r = &b->runs[b->run_count++];

	ck_assert_uint_lt(b->run_count, 20000);
	snprintf(r->id, sizeof(r->id), "id-%u", b->run_count);
	r->args = mem_strdup(args);
	r->job.task = registry_find(b->registry, task);
	ck_assert_ptr_nonnull(r->job.task);
	r->job.id = r->id;
	r->job.max_retries = 3;
	r->job.args = (struct span){r->args, strlen(r->args)};
	r->job.kwargs = (struct span){"{}", 2};
	return r;
}

static struct run *submit(struct bench *b, const char *task, const char *args)
{
	struct run *r = prepare_run(b, task, args);

	pool_submit(b->pool, &r->job);
	return r;
}

static void check_ok(const struct run *r, const char *result)
{
	ck_assert_uint_eq(r->accepted, 1);
	ck_assert_uint_eq(r->done, 1);
	ck_assert_msg(r->kind == OUTCOME_SUCCESS, "%s: %s", r->exc_type, r->exc_text);
	ck_assert_str_eq(r->result, result);
}

/* --- all kinds ------------------------------------------------------------------------------ */

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

/* --- processes ------------------------------------------------------------------------------ */

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

/* T-89, the pool's part */
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
	turn_for(&b, 0.02);
	pool_stats(b.pool, &stats);
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
