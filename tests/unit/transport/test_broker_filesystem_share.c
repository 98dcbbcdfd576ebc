/* What others find in the folder: messages sent, put back, left by the dead. */
#include "tests/unit/transport/filesystem_fixture.h"

START_TEST(a_clean_stop_puts_unacked_messages_back)
{
	struct fixture x;

	set_up(&x);
	start(&x, "celery");
	put(&x, "1_a.celery.msg", "one");
	put(&x, "2_b.celery.msg", "two");
	wait_until(&x.loop, x.seen == 2, 1000);
	broker_ack(x.broker, 1, x.tags[0]);
	stop(&x);
	ck_assert_uint_eq(count(x.in, ".msg"), 1);
	ck_assert_uint_eq(count_hidden(x.in), 0);
	start(&x, "celery");
	wait_until(&x.loop, x.seen == 3, 1000);
	ck_assert_str_eq(x.bodies[2], "two");
	ck_assert(x.redelivered[2]);
	tear_down(&x);
}
END_TEST

START_TEST(messages_of_a_killed_worker_come_back)
{
	struct fixture x;
	int status;
	pid_t child;

	set_up(&x);
	ck_assert_int_eq(folder_make(x.in, NULL), 0);
	put(&x, "1_a.celery.msg", "one");
	put(&x, "2_b.celery.msg", "two");
	uv_loop_close(&x.loop);
	child = fork();
	if (child == 0) {
		uv_loop_init(&x.loop);
		start(&x, "celery");
		wait_until(&x.loop, x.seen == 2, 1000);
		broker_ack(x.broker, 1, x.tags[0]);
		kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	ck_assert_uint_eq(count(x.in, ".msg"), 0);
	uv_loop_init(&x.loop);
	start(&x, "celery");
	wait_until(&x.loop, x.seen == 1, 1000);
	ck_assert_str_eq(x.bodies[0], "two");
	ck_assert(x.redelivered[0]);
	ck_assert_ptr_nonnull(strstr(x.last_notice, "1 message"));
	tear_down(&x);
}
END_TEST

START_TEST(messages_of_a_living_worker_are_left_alone)
{
	struct fixture x, y;

	set_up(&x);
	start(&x, "celery");
	put(&x, "1_a.celery.msg", "one");
	wait_until(&x.loop, x.seen == 1, 1000);
	y = x;
	y.bodies[0] = NULL;
	y.queue = NULL;
	y.seen = y.ups = 0;
	uv_loop_init(&y.loop);
	y.options.loop = &y.loop;
	y.options.ctx = &y;
	start(&y, "celery");
	for (int i = 0; i < 50; i++)
		uv_run(&y.loop, UV_RUN_NOWAIT);
	ck_assert_uint_eq(y.seen, 0);
	stop(&y);
	uv_loop_close(&y.loop);
	tear_down(&x);
}
END_TEST

/* C-55 */
START_TEST(each_message_goes_to_one_of_two_workers)
{
	struct fixture x, y;

	set_up(&x);
	x.acks_at_once = true;
	start(&x, "celery");
	y = x;
	y.ups = 0;
	uv_loop_init(&y.loop);
	y.options.loop = &y.loop;
	y.options.ctx = &y;
	start(&y, "celery");
	for (int i = 0; i < 500; i++) {
		auto_free char *name = mem_printf("%d_id.celery.msg", i);

		put(&x, name, "[]");
		uv_run(i % 2 ? &x.loop : &y.loop, UV_RUN_NOWAIT);
		uv_run(i % 2 ? &y.loop : &x.loop, UV_RUN_NOWAIT);
	}
	for (int i = 0; i < 200; i++) {
		uv_run(&x.loop, UV_RUN_NOWAIT);
		uv_run(&y.loop, UV_RUN_NOWAIT);
	}
	ck_assert_uint_eq(x.seen + y.seen, 500);
	ck_assert_uint_gt(x.seen, 0);
	ck_assert_uint_gt(y.seen, 0);
	ck_assert_uint_eq(count(x.in, ".msg"), 0);
	stop(&y);
	uv_loop_close(&y.loop);
	free(y.queue);
	for (unsigned i = 0; i < y.seen; i++)
		free(y.bodies[i]);
	tear_down(&x);
}
END_TEST

START_TEST(the_default_exchange_leads_to_the_queue_of_that_name)
{
	struct fixture x;

	set_up(&x);
	start(&x, "celery");
	publish(&x, "", "celery", "[1]");
	ck_assert_uint_eq(x.published, 0);
	wait_until(&x.loop, x.published == 1 && x.seen == 1, 1000);
	ck_assert_uint_eq(x.refused, 0);
	ck_assert_str_eq(x.bodies[0], "[1]");
	ck_assert_str_eq(x.queue, "celery");
	publish(&x, "", "../evil", "[1]");
	wait_until(&x.loop, x.published == 2, 1000);
	ck_assert_uint_eq(x.refused, 1);
	tear_down(&x);
}
END_TEST

START_TEST(binding_tables_are_those_of_kombu)
{
	struct fixture x;
	struct queue_def events_queue = {.name = "celeryev.id",
					 .exchange = "celeryev",
					 .exchange_type = "topic",
					 .routing_key = "#"};
	auto_free char *direct = NULL, *topic = NULL;
	auto_str text;

	set_up(&x);
	str_init(&text, 4096);
	start(&x, "celery");
	consume(&x, "celery");
	ck_assert_int_eq(broker_consume(x.broker, &events_queue, NULL), 0);
	direct = mem_printf("%s/celery.exchange", x.control);
	topic = mem_printf("%s/celeryev.exchange", x.control);
	ck_assert_int_eq(file_read(&text, direct, NULL), 1);
	ck_assert_str_eq(text.data, "[[\"celery\", \"\", \"celery\"]]");
	str_reset(&text);
	ck_assert_int_eq(file_read(&text, topic, NULL), 1);
	ck_assert_str_eq(text.data, "[[\"#\", \"^.*?$\", \"celeryev.id\"]]");
	tear_down(&x);
}
END_TEST

START_TEST(named_exchanges_route_by_their_tables)
{
	struct fixture x;
	auto_free char *table = NULL, *fanout = NULL;
	static const char rows[] = "[[\"a\", \"\", \"q1\"], [\"task.*\", \"^task\\\\.[^\\\\.]+$\", "
				   "\"q2\"], [\"a\", \"\", \"q1\"]]";
	static const char boxes[] = "[[\"\", \"\", \"b1\"], [\"\", \"\", \"b2\"]]";

	set_up(&x);
	start(&x, "celery");
	table = mem_printf("%s/ex.exchange", x.control);
	fanout = mem_printf("%s/celery.pidbox.exchange", x.control);
	ck_assert_int_eq(file_write(table, rows, strlen(rows), NULL), 0);
	ck_assert_int_eq(file_write(fanout, boxes, strlen(boxes), NULL), 0);
	publish(&x, "ex", "a", "1");
	publish(&x, "ex", "task.done", "2");
	publish(&x, "ex", "task.done.late", "3");
	publish(&x, "celery.pidbox", "", "4");
	publish(&x, "nowhere", "k", "5");
	wait_until(&x.loop, x.published == 5, 1000);
	ck_assert_uint_eq(x.refused, 0);
	ck_assert_uint_eq(count(x.in, ".q1.msg"), 1);
	ck_assert_uint_eq(count(x.in, ".q2.msg"), 1);
	ck_assert_uint_eq(count(x.in, ".b1.msg"), 1);
	ck_assert_uint_eq(count(x.in, ".b2.msg"), 1);
	publish(&x, "we:b", "k", "6");
	wait_until(&x.loop, x.published == 6, 1000);
	ck_assert_uint_eq(x.refused, 1);
	tear_down(&x);
}
END_TEST

START_TEST(a_folder_that_goes_away_comes_again)
{
	struct fixture x;

	set_up(&x);
	start(&x, "celery");
	temp_folder_remove(x.in);
	wait_until(&x.loop, x.notices == 1, 3000);
	put(&x, "1_a.celery.msg", "one");
	wait_until(&x.loop, x.seen == 1, 500);
	broker_ack(x.broker, 1, x.tags[0]);
	tear_down(&x);
}
END_TEST

START_TEST(what_cannot_be_written_waits)
{
	struct fixture x;
	auto_free char *away = NULL;

	set_up(&x);
	free(x.out);
	x.out = mem_printf("%s/out", x.folder);
	away = mem_printf("%s/away", x.folder);
	start(&x, "celery");
	ck_assert_int_eq(rename(x.out, away), 0);
	publish(&x, "", "q", "1");
	wait_until(&x.loop, x.notices == 1, 1000);
	ck_assert_uint_eq(x.published, 0);
	ck_assert_int_eq(rename(away, x.out), 0);
	wait_until(&x.loop, x.published == 1, 2000);
	ck_assert_uint_eq(x.refused, 0);
	ck_assert_uint_eq(count(x.out, ".q.msg"), 1);
	tear_down(&x);
}
END_TEST

START_TEST(a_producer_needs_no_start)
{
	struct fixture x;

	set_up(&x);
	open_with(&x, "");
	publish(&x, "", "q", "1");
	stop(&x);
	ck_assert_uint_eq(x.published, 1);
	ck_assert_uint_eq(count(x.in, ".q.msg"), 1);
	ck_assert_uint_eq(count_hidden(x.in), 0);
	tear_down(&x);
}
END_TEST
