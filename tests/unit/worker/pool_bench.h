/* A pool on a loop of its own, started, turned and stopped for one test. */
#ifndef TESTS_UNIT_WORKER_POOL_BENCH_H
#define TESTS_UNIT_WORKER_POOL_BENCH_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <uv.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "tests/unit/worker/pool_record.h"
#include "tests/unit/worker/pool_tasks.h"
#include "worker/pool/pool.h"

static inline void on_tick(uv_timer_t *timer)
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

static inline void begin_plugin(struct bench *b, struct pool_options *options,
				const struct sm_plugin *plugin)
{
	memset(b, 0, sizeof(*b));
	str_init(&b->notices, 1 << 16);
	b->registry = registry_new();
	b->runs = calloc(20000, sizeof(struct run));
	ck_assert_int_eq(registry_add_plugin(b->registry, plugin, NULL, NULL), 0);
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

static inline void begin_with(struct bench *b, struct pool_options *options)
{
	begin_plugin(b, options, &test_plugin);
}

static inline void begin(struct bench *b, enum pool_kind kind, unsigned concurrency)
{
	struct pool_options options = {.kind = kind, .concurrency = concurrency};

	begin_with(b, &options);
}

static inline void on_stopped(void *ctx)
{
	((struct bench *)ctx)->is_stopped = true;
}

static inline void stop(struct bench *b)
{
	b->notices_before_stop = b->notices.len;
	pool_stop(b->pool, on_stopped, b);
}

static inline void turn_until(struct bench *b, bool (*is_met)(const struct bench *), double seconds)
{
	int64_t until_us = clock_mono_us() + (int64_t)(seconds * 1e6);

	while (!is_met(b)) {
		ck_assert_msg(clock_mono_us() < until_us, "still waiting; %u of %u done; %s",
			      b->done, b->run_count, b->notices.data ? b->notices.data : "");
		uv_run(&b->loop, UV_RUN_ONCE);
	}
}

static inline bool is_all_done(const struct bench *b)
{
	return b->done == b->run_count;
}

static inline bool is_bench_stopped(const struct bench *b)
{
	return b->is_stopped;
}

static inline void turn_for(struct bench *b, double seconds)
{
	int64_t until_us = clock_mono_us() + (int64_t)(seconds * 1e6);

	while (clock_mono_us() < until_us)
		uv_run(&b->loop, UV_RUN_ONCE);
}

static inline void finish_bench(struct bench *b)
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
	str_clear(&b->sent);
	free(b->runs);
	/* The spawner was waited for, and its children with it. */
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}

static inline void end(struct bench *b)
{
	stop(b);
	turn_until(b, is_bench_stopped, 10);
	finish_bench(b);
}

static inline struct run *prepare_run(struct bench *b, const char *task, const char *args)
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

static inline struct run *submit(struct bench *b, const char *task, const char *args)
{
	struct run *r = prepare_run(b, task, args);

	pool_submit(b->pool, &r->job);
	return r;
}

static inline void check_ok(const struct run *r, const char *result)
{
	ck_assert_uint_eq(r->accepted, 1);
	ck_assert_uint_eq(r->done, 1);
	ck_assert_msg(r->kind == OUTCOME_SUCCESS, "%s: %s", r->exc_type, r->exc_text);
	ck_assert_str_eq(r->result, result);
}

#endif
