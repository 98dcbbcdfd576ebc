/* What the pool said about each job that a test gave it. */
#ifndef TESTS_UNIT_WORKER_POOL_RECORD_H
#define TESTS_UNIT_WORKER_POOL_RECORD_H

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "worker/pool/pool.h"

struct run {
	struct pool_job job;
	char id[24];
	char *args;
	enum outcome_kind kind;
	char *result, *exc_module, *exc_type, *exc_args, *exc_text, *traceback;
	pid_t pid;
	unsigned accepted, soft, done, states, sends;
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
	bool keeps_sends; /* what is sent stays on its way */
	struct str sent;  /* lines */
	bool is_stopped, is_fatal;
	uv_timer_t tick;
	int64_t last_tick_us, worst_gap_us; /* between two turns of the loop */
	int64_t last_cpu_us, worst_cpu_us;  /* computed in between, whatever else the machine did */
};

static inline void on_accepted(void *ctx, struct pool_job *job, pid_t pid)
{
	struct run *r = list_entry(job, struct run, job);

	(void)ctx;
	ck_assert_uint_eq(r->done, 0);
	r->accepted++;
	r->accepted_us = clock_mono_us();
	r->pid = pid;
}

static inline void on_state(void *ctx, struct pool_job *job, const char *state, const char *meta,
			    size_t len)
{
	struct bench *b = ctx;
	struct run *r = list_entry(job, struct run, job);

	r->states++;
	snprintf(b->last_state, sizeof(b->last_state), "%s", state);
	snprintf(b->last_meta, sizeof(b->last_meta), "%.*s", (int)len, meta);
}

static inline void on_send(void *ctx, struct pool_job *job, enum job_send how,
			   const char *signature, size_t len)
{
	struct bench *b = ctx;

	list_entry(job, struct run, job)->sends++;
	if (b->sent.max == 0)
		str_init(&b->sent, STR_MAX_DEFAULT);
	str_addf(&b->sent, "%d %.*s\n", (int)how, len < 200 ? (int)len : 200, signature);
	if (!b->keeps_sends)
		pool_sent(b->pool, job, len);
}

static inline void on_soft_limit(void *ctx, struct pool_job *job)
{
	(void)ctx;
	list_entry(job, struct run, job)->soft++;
}

static inline void on_done(void *ctx, struct pool_job *job, struct outcome *o)
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

static inline void on_room(void *ctx)
{
	((struct bench *)ctx)->room_calls++;
}

static inline void on_notice(void *ctx, int level, const char *text)
{
	struct bench *b = ctx;

	str_addf(&b->notices, "%s %s\n", log_level_name((enum log_level)level), text);
}

static inline void on_fatal(void *ctx, const char *text)
{
	(void)text;
	((struct bench *)ctx)->is_fatal = true;
}

static const struct pool_events events = {.on_accepted = on_accepted,
					  .on_state = on_state,
					  .on_send = on_send,
					  .on_soft_limit = on_soft_limit,
					  .on_done = on_done,
					  .on_room = on_room,
					  .on_notice = on_notice,
					  .on_fatal = on_fatal};

#endif
