#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "tests/unit/support/run_loop.h"
#include "tests/unit/support/temp_folder.h"
#include "transport/broker.h"
#include "transport/envelope.h"

#define MAX_SEEN 11000

struct fixture {
	uv_loop_t loop;
	char folder[64];
	char *in, *out, *control; /* inside */
	struct broker_options options;
	struct broker *broker;
	unsigned ups, notices, seen, published, refused;
	char *bodies[MAX_SEEN];
	char *queue; /* routing key of the last one */
	uint64_t tags[MAX_SEEN];
	bool redelivered[MAX_SEEN];
	bool acks_at_once, is_closed;
	char last_notice[600];
	int64_t seen_us;
};

static void on_up(void *ctx, const char *host)
{
	ck_assert_ptr_nonnull(strstr(host, "filesystem://"));
	((struct fixture *)ctx)->ups++;
}

static void on_delivery(void *ctx, struct message *m, unsigned session, uint64_t tag)
{
	struct fixture *x = ctx;

	ck_assert_uint_lt(x->seen, MAX_SEEN);
	ck_assert_uint_eq(session, 1);
	x->seen_us = clock_mono_us();
	free(x->queue);
	x->queue = mem_strdup(m->routing_key);
	x->bodies[x->seen] = m->body;
	m->body = NULL;
	x->tags[x->seen] = tag;
	x->redelivered[x->seen] = m->is_redelivered;
	x->seen++;
	if (x->acks_at_once)
		broker_ack(x->broker, session, tag);
}

static void on_notice(void *ctx, bool is_error, const char *text)
{
	struct fixture *x = ctx;

	(void)is_error;
	x->notices++;
	snprintf(x->last_notice, sizeof(x->last_notice), "%s", text);
}

static void on_closed(void *ctx)
{
	((struct fixture *)ctx)->is_closed = true;
}

static const struct broker_events events = {
	.on_up = on_up,
	.on_delivery = on_delivery,
	.on_notice = on_notice,
	.on_closed = on_closed,
};

static void on_published(void *ctx, const struct err *err)
{
	struct fixture *x = ctx;

	x->published++;
	x->refused += err != NULL;
}

static void open_with(struct fixture *x, const char *more_options)
{
	auto_free char *text =
		mem_printf("{\"data_folder_in\": \"%s\", \"data_folder_out\": \"%s\", "
			   "\"control_folder\": \"%s\"%s}",
			   x->in, x->out, x->control, more_options);
	struct err err = {0};

	x->options.transport_options = text;
	x->broker = broker_open(&x->options, &err);
	x->options.transport_options = NULL;
	ck_assert_msg(x->broker != NULL, "%s", err.text);
	x->is_closed = false;
}

static void set_up(struct fixture *x)
{
	memset(x, 0, sizeof(*x));
	temp_folder_make(x->folder);
	x->in = mem_printf("%s/data", x->folder);
	x->out = mem_strdup(x->in);
	x->control = mem_printf("%s/control", x->folder);
	uv_loop_init(&x->loop);
	x->options = (struct broker_options){.loop = &x->loop,
					     .url = "filesystem://",
					     .events = &events,
					     .ctx = x,
					     .max_message_bytes = 4 << 20,
					     .max_publish_bytes = 64 << 20,
					     .node_name = "celery@host"};
}

static void consume(struct fixture *x, const char *queue)
{
	struct queue_def def = {
		.name = queue, .exchange = queue, .exchange_type = "direct", .routing_key = queue};
	struct err err = {0};

	ck_assert_msg(broker_consume(x->broker, &def, &err) == 0, "%s", err.text);
}

/* Open, consuming `queue`, up. */
static void start(struct fixture *x, const char *queue)
{
	open_with(x, "");
	consume(x, queue);
	broker_start(x->broker);
	ck_assert_uint_eq(x->ups, 0);
	wait_until(&x->loop, x->ups == 1, 1000);
}

static void stop(struct fixture *x)
{
	broker_close(x->broker, 1);
	wait_until(&x->loop, x->is_closed, 2000);
	x->ups = 0;
}

static void tear_down(struct fixture *x)
{
	if (!x->is_closed)
		stop(x);
	ck_assert_int_eq(uv_loop_close(&x->loop), 0);
	for (unsigned i = 0; i < x->seen; i++)
		free(x->bodies[i]);
	temp_folder_remove(x->folder);
	free(x->in);
	free(x->out);
	free(x->control);
	free(x->queue);
}

/* Envelope text of a message with this body, to be freed. */
static char *envelope(const char *body, size_t len)
{
	struct publication p = {.routing_key = "q", .body = body, .body_len = len};
	auto_str out;

	str_init(&out, 64 << 20);
	ck_assert_int_eq(envelope_encode(&out, &p, "tag", NULL), 0);
	return str_detach(&out);
}

static void put_text(struct fixture *x, const char *name, const char *text)
{
	auto_free char *path = mem_printf("%s/%s", x->in, name);

	ck_assert_int_eq(file_write(path, text, strlen(text), NULL), 0);
}

static void put(struct fixture *x, const char *name, const char *body)
{
	auto_free char *text = envelope(body, strlen(body));

	put_text(x, name, text);
}

/* How many files in a folder have names that end so. */
static unsigned count(const char *folder, const char *suffix)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	unsigned n = 0;

	if (dir == NULL)
		return 0;
	while ((entry = readdir(dir)) != NULL) {
		size_t len = strlen(entry->d_name);

		n += entry->d_name[0] != '.' && len >= strlen(suffix) &&
		     strcmp(entry->d_name + len - strlen(suffix), suffix) == 0;
	}
	closedir(dir);
	return n;
}

/* Hidden things: spools and temporary files. */
static unsigned count_hidden(const char *folder)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	unsigned n = 0;

	while ((entry = readdir(dir)) != NULL)
		n += entry->d_name[0] == '.' && strcmp(entry->d_name, ".") != 0 &&
		     strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return n;
}

static void publish(struct fixture *x, const char *exchange, const char *key, const char *body)
{
	struct publication p = {.exchange = exchange,
				.routing_key = key,
				.content_type = "application/json",
				.content_encoding = "utf-8",
				.body = body,
				.body_len = strlen(body)};

	ck_assert_int_eq(broker_publish(x->broker, &p, on_published, x, NULL), 0);
}

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

/* C-55 */
START_TEST(a_new_message_arrives_within_ten_milliseconds)
{
	struct fixture x;
	auto_free char *text = envelope("[1]", 3);
	auto_free char *temp = NULL, *path = NULL;
	int64_t put_us;

	set_up(&x);
	start(&x, "celery");
	put_us = clock_mono_us();
	put_text(&x, "5_id.celery.msg", text);
	wait_until(&x.loop, x.seen == 1, 500);
	ck_assert_int_lt(x.seen_us - put_us, 10000);
	temp = mem_printf("%s/temp", x.in);
	path = mem_printf("%s/6_id.celery.msg", x.in);
	ck_assert_int_eq(file_write(temp, text, strlen(text), NULL), 0);
	put_us = clock_mono_us();
	ck_assert_int_eq(rename(temp, path), 0);
	wait_until(&x.loop, x.seen == 2, 500);
	ck_assert_int_lt(x.seen_us - put_us, 10000);
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
	for (int i = 0; i < 2600; i++) {
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
	broker_qos(x.broker, 3);
	broker_start(x.broker);
	wait_until(&x.loop, x.seen == 3, 1000);
	uv_run(&x.loop, UV_RUN_ONCE);
	ck_assert_uint_eq(x.seen, 3);
	ck_assert_uint_eq(count(x.in, ".msg"), 7);
	broker_ack(x.broker, 1, x.tags[1]);
	broker_ack(x.broker, 1, x.tags[1]); /* a second time: no one else's */
	wait_until(&x.loop, x.seen == 4, 1000);
	ck_assert_uint_eq(count(x.in, ".msg"), 6);
	broker_qos(x.broker, 0);
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
	x.queue = NULL;
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
