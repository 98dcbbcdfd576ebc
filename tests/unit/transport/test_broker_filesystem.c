/* Messages that arrive in a folder. */
#include "tests/unit/transport/filesystem_fixture.h"

/* C-55 */
START_TEST(a_message_that_was_there_is_delivered)
{
	struct fixture x;

	set_up(&x);
	ck_assert_int_eq(folder_make(x.in, NULL), 0);
	put(&x, "5_id.celery.msg", "[1]");
	start(&x, "celery");
	wait_until(&x.loop, x.seen == 1, 1000);
	ck_assert_str_eq(x.bodies[0], "[1]");
	ck_assert(!x.redelivered[0]);
	ck_assert_uint_eq(count(x.in, ".msg"), 0);
	broker_ack(x.broker, 1, x.tags[0]);
	tear_down(&x);
}
END_TEST

static int compare_times(const void *a, const void *b)
{
	const int64_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

/* C-55: the median, for the machine may be busy; written in place as kombu does, and renamed */
START_TEST(a_new_message_arrives_within_ten_milliseconds)
{
	struct fixture x;
	auto_free char *text = envelope("[1]", 3);
	int64_t took_us[21];

	set_up(&x);
	start(&x, "celery");
	for (unsigned i = 0; i < 21; i++) {
		auto_free char *temp = mem_printf("%s/temp", x.in);
		auto_free char *path = mem_printf("%s/%u_id.celery.msg", x.in, i);
		bool is_renamed = i % 2;
		int64_t put_us;

		ck_assert_int_eq(file_write(is_renamed ? temp : path, text, strlen(text), NULL), 0);
		put_us = clock_mono_us();
		if (is_renamed)
			ck_assert_int_eq(rename(temp, path), 0);
		wait_until(&x.loop, x.seen == i + 1, 800);
		took_us[i] = x.seen_us - put_us;
	}
	qsort(took_us, 21, sizeof(*took_us), compare_times);
	ck_assert_int_lt(took_us[10], 10000);
	tear_down(&x);
}
END_TEST

START_TEST(purging_removes_what_waits_in_the_consumed_queues)
{
	struct fixture x;

	set_up(&x);
	x.options.purges = true;
	ck_assert_int_eq(folder_make(x.in, NULL), 0);
	put(&x, "5_a.celery.msg", "[1]");
	put(&x, "6_b.celery.msg", "[2]");
	put(&x, "7_c.other.msg", "[3]");
	start(&x, "celery");
	wait_until(&x.loop, x.ups == 1, 1000);
	ck_assert_str_eq(x.last_notice, "purged: 2 messages");
	ck_assert_uint_eq(count(x.in, ".msg"), 1);
	put(&x, "8_d.celery.msg", "[4]");
	wait_until(&x.loop, x.seen == 1, 1000);
	ck_assert_str_eq(x.bodies[0], "[4]");
	broker_ack(x.broker, 1, x.tags[0]);
	tear_down(&x);
}
END_TEST

/* C-77 */
START_TEST(only_the_part_after_the_first_dot_names_the_queue)
{
	struct fixture x;

	set_up(&x);
	start(&x, "celery");
	put(&x, "1_id.x.celery.msg", "no");
	put(&x, "2_id.celery.x.msg", "no");
	put(&x, "3_id.celery.msg", "yes");
	put(&x, "4_id.celery", "no");
	wait_until(&x.loop, x.seen == 1, 1000);
	ck_assert_str_eq(x.bodies[0], "yes");
	consume(&x, "x.celery");
	wait_until(&x.loop, x.seen == 2, 1000);
	ck_assert_str_eq(x.queue, "q");
	ck_assert_uint_eq(count(x.in, ".msg"), 1);
	tear_down(&x);
}
END_TEST

/* C-55 */
START_TEST(the_order_is_by_number_not_by_text)
{
	struct fixture x;

	set_up(&x);
	ck_assert_int_eq(folder_make(x.in, NULL), 0);
	put(&x, "10_b.celery.msg", "3");
	put(&x, "9_z.celery.msg", "1");
	put(&x, "10_a.celery.msg", "2");
	put(&x, "x_a.celery.msg", "4");
	start(&x, "celery");
	wait_until(&x.loop, x.seen == 4, 1000);
	for (int i = 0; i < 4; i++) {
		auto_free char *expected = mem_printf("%d", i + 1);

		ck_assert_str_eq(x.bodies[i], expected);
	}
	tear_down(&x);
}
END_TEST

/* C-55: kombu makes the name, locks, writes. */
START_TEST(what_one_process_writes_is_read_in_its_order)
{
	struct fixture x;
	char body[16];

	set_up(&x);
	start(&x, "q");
	for (int i = 0; i < 1000; i++) {
		snprintf(body, sizeof(body), "%d", i);
		publish(&x, "", "q", body);
	}
	wait_until(&x.loop, x.seen == 1000, 20000);
	for (int i = 0; i < 1000; i++) {
		snprintf(body, sizeof(body), "%d", i);
		ck_assert_str_eq(x.bodies[i], body);
	}
	tear_down(&x);
}
END_TEST

START_TEST(a_file_is_not_read_before_it_is_whole)
{
	struct fixture x;
	auto_free char *text = envelope("[1]", 3);
	auto_free char *path = NULL;
	int fd;

	set_up(&x);
	start(&x, "celery");
	path = mem_printf("%s/5_id.celery.msg", x.in);
	fd = open(path, O_WRONLY | O_CREAT, 0666);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	ck_assert_int_eq(write(fd, text, 20), 20);
	/* Longer than a file may be unreadable: its writer is at work. Polls find it meanwhile. */
	for (int i = 0; i < 4200; i++) {
		uv_run(&x.loop, UV_RUN_NOWAIT);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	ck_assert_uint_eq(x.seen, 0);
	ck_assert_uint_eq(x.notices, 0);
	ck_assert_int_gt(write(fd, text + 20, strlen(text) - 20), 0);
	close(fd);
	wait_until(&x.loop, x.seen == 1, 100);
	tear_down(&x);
}
END_TEST

START_TEST(what_cannot_be_a_message_is_moved_aside)
{
	struct fixture x;
	auto_free char *rejected = NULL;

	set_up(&x);
	start(&x, "celery");
	rejected = mem_printf("%s/rejected", x.in);
	put_text(&x, "1_bad.celery.msg", "{\"body\": ");
	put_text(&x, "2_empty.celery.msg", "");
	put(&x, "3_good.celery.msg", "[1]");
	wait_until(&x.loop, x.seen == 1, 500);
	ck_assert_uint_eq(count(rejected, ".msg"), 0);
	wait_until(&x.loop, x.notices == 2, 4000);
	ck_assert_uint_eq(count(rejected, ".msg"), 2);
	ck_assert_uint_eq(count(x.in, ".msg"), 0);
	tear_down(&x);
}
END_TEST

START_TEST(a_message_over_the_limit_is_moved_aside)
{
	struct fixture x;
	size_t len = (size_t)6 << 20;
	auto_free char *body = mem_calloc(1, len);
	auto_free char *text = envelope(body, len);
	auto_free char *rejected = NULL;

	set_up(&x);
	start(&x, "celery");
	rejected = mem_printf("%s/rejected", x.in);
	put_text(&x, "1_big.celery.msg", text);
	wait_until(&x.loop, x.notices == 1, 1000);
	ck_assert_uint_eq(count(rejected, ".msg"), 1);
	ck_assert_uint_eq(x.seen, 0);
	tear_down(&x);
}
END_TEST

START_TEST(prefetch_bounds_what_is_unacked)
{
	struct fixture x;

	set_up(&x);
	ck_assert_int_eq(folder_make(x.in, NULL), 0);
	for (int i = 0; i < 10; i++) {
		auto_free char *name = mem_printf("%d_id.celery.msg", i);

		put(&x, name, "[]");
	}
	open_with(&x, "");
	consume(&x, "celery");
	broker_qos(x.broker, 3, 0);
	broker_start(x.broker);
	wait_until(&x.loop, x.seen == 3, 1000);
	uv_run(&x.loop, UV_RUN_ONCE);
	ck_assert_uint_eq(x.seen, 3);
	ck_assert_uint_eq(count(x.in, ".msg"), 7);
	broker_ack(x.broker, 1, x.tags[1]);
	broker_ack(x.broker, 1, x.tags[1]); /* a second time: no one else's */
	wait_until(&x.loop, x.seen == 4, 1000);
	ck_assert_uint_eq(count(x.in, ".msg"), 6);
	broker_qos(x.broker, 0, 0);
	wait_until(&x.loop, x.seen == 10, 1000);
	tear_down(&x);
}
END_TEST

START_TEST(nothing_is_taken_after_pause)
{
	struct fixture x;

	set_up(&x);
	start(&x, "celery");
	broker_pause(x.broker);
	put(&x, "1_id.celery.msg", "[]");
	publish(&x, "", "other", "[]");
	wait_until(&x.loop, x.published == 1, 1000);
	for (int i = 0; i < 50; i++) {
		uv_run(&x.loop, UV_RUN_NOWAIT);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	ck_assert_uint_eq(x.seen, 0);
	ck_assert_uint_eq(count(x.in, ".celery.msg"), 1);
	tear_down(&x);
}
END_TEST

START_TEST(a_rejected_message_is_gone_or_comes_back)
{
	struct fixture x;

	set_up(&x);
	start(&x, "celery");
	put(&x, "1_a.celery.msg", "drop");
	wait_until(&x.loop, x.seen == 1, 1000);
	broker_reject(x.broker, 1, x.tags[0], false);
	put(&x, "2_b.celery.msg", "again");
	wait_until(&x.loop, x.seen == 2, 1000);
	broker_reject(x.broker, 1, x.tags[1], true);
	wait_until(&x.loop, x.seen == 3, 1000);
	ck_assert_str_eq(x.bodies[2], "again");
	ck_assert(x.redelivered[2]);
	broker_ack(x.broker, 1, x.tags[2]);
	stop(&x);
	ck_assert_uint_eq(count(x.in, ".msg"), 0);
	tear_down(&x);
}
END_TEST

/* C-55: a Python writer and our reader, 10,000 files */
START_TEST(ten_thousand_files_arrive_whole) /* timeout 60 */
{
	static const unsigned files = 10000;
	struct fixture *x = mem_calloc(1, sizeof(*x));
	pid_t child;

	set_up(x);
	x->acks_at_once = true;
	start(x, "celery");
	child = fork();
	if (child == 0) {
		auto_free char *text = envelope("[1, 2, 3]", 9);

		for (unsigned i = 0; i < files; i++) {
			auto_free char *path = mem_printf("%s/%u_id.celery.msg", x->in, i);
			int fd = open(path, O_WRONLY | O_CREAT, 0666);

			flock(fd, LOCK_EX);
			for (size_t at = 0; at < strlen(text); at += 50)
				if (write(fd, text + at,
					  strlen(text + at) < 50 ? strlen(text + at) : 50) < 0)
					_exit(1);
			close(fd);
		}
		_exit(0);
	}
	wait_until(&x->loop, x->seen == files, 40000);
	waitpid(child, NULL, 0);
	for (unsigned i = 0; i < files; i++)
		ck_assert_str_eq(x->bodies[i], "[1, 2, 3]");
	ck_assert_uint_eq(x->notices, 0);
	tear_down(x);
	free(x);
}
END_TEST

START_TEST(processed_files_may_be_kept)
{
	struct fixture x;
	auto_free char *processed = NULL, *options = NULL;

	set_up(&x);
	processed = mem_printf("%s/done", x.folder);
	options =
		mem_printf(", \"store_processed\": true, \"processed_folder\": \"%s\"", processed);
	open_with(&x, options);
	consume(&x, "celery");
	broker_start(x.broker);
	put(&x, "1_a.celery.msg", "one");
	wait_until(&x.loop, x.seen == 1, 1000);
	ck_assert_uint_eq(count(processed, ".msg"), 0);
	broker_ack(x.broker, 1, x.tags[0]);
	ck_assert_uint_eq(count(processed, ".msg"), 1);
	tear_down(&x);
}
END_TEST
