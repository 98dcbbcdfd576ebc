/* Tasks that a task sends. */
#include "tests/unit/worker/pool_bench.h"

static void sends(enum pool_kind kind)
{
	struct bench b;
	struct run *r;

	begin(&b, kind, 1);
	r = submit(&b, "t.send", "[3]");
	turn_until(&b, is_all_done, 4);
	check_ok(r, "3");
	ck_assert_uint_eq(r->sends, 3);
	ck_assert_ptr_nonnull(
		strstr(b.sent.data, "0 {\"task\": \"t.echo\", \"args\": [\"\"], \"kwargs\": {}"));
	end(&b);
}

START_TEST(a_task_sends_tasks_from_a_process)
{
	sends(POOL_PREFORK);
}
END_TEST

START_TEST(a_task_sends_tasks_from_a_thread)
{
	sends(POOL_THREADS);
}
END_TEST

START_TEST(a_task_sends_tasks_from_the_only_thread)
{
	sends(POOL_SOLO);
}
END_TEST

static bool has_sent_a_window(const struct bench *b)
{
	return b->runs[0].sends >= 5;
}

/* Each counts for 200 KiB and a bit: five are on their way, then the body waits. */
START_TEST(a_task_waits_while_too_much_is_on_its_way)
{
	struct bench b;
	struct run *r;

	begin(&b, POOL_PREFORK, 1);
	b.keeps_sends = true;
	r = submit(&b, "t.send", "[7, 200000]");
	turn_until(&b, has_sent_a_window, 4);
	turn_for(&b, 0.05);
	ck_assert_uint_eq(r->sends, 5);
	ck_assert_uint_eq(r->done, 0);
	b.keeps_sends = false;
	for (int i = 0; i < 5; i++)
		pool_sent(b.pool, &r->job, 200000);
	turn_until(&b, is_all_done, 4);
	check_ok(r, "7");
	ck_assert_uint_eq(r->sends, 7);
	pool_sent(b.pool, &r->job, 200000); /* late: it runs no more */
	end(&b);
}
END_TEST

START_TEST(the_soft_limit_ends_that_wait)
{
	struct bench b;
	struct run *r;

	begin(&b, POOL_PREFORK, 1);
	b.keeps_sends = true;
	r = prepare_run(&b, "t.send", "[7, 200000]");
	r->job.soft_limit_s = 0.1;
	pool_submit(b.pool, &r->job);
	turn_until(&b, is_all_done, 4);
	ck_assert_int_eq(r->kind, OUTCOME_FAILURE);
	ck_assert_str_eq(r->exc_type, "SoftTimeLimitExceeded");
	end(&b);
}
END_TEST

START_TEST(a_signature_over_the_limit_is_refused_with_the_setting_named)
{
	struct pool_options options = {
		.kind = POOL_PREFORK, .concurrency = 1, .max_payload_bytes = 1000};
	struct bench b;
	struct run *r;

	begin_with(&b, &options);
	r = submit(&b, "t.send", "[1, 2000]");
	turn_until(&b, is_all_done, 4);
	ck_assert_str_eq(r->exc_type, "ValueError");
	ck_assert_ptr_nonnull(strstr(r->exc_text, "worker_max_message_bytes"));
	ck_assert_uint_eq(r->sends, 0);
	end(&b);
}
END_TEST
