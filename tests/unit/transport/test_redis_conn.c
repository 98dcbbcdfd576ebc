#include "tests/unit/transport/redis_conn_fixture.h"

struct fixture {
	struct redis_server server;
	uv_loop_t loop;
	char *url;
};

static void set_up(struct fixture *x)
{
	memset(x, 0, sizeof(*x));
	redis_server_init(&x->server);
	redis_server_start(&x->server);
	uv_loop_init(&x->loop);
	x->url = mem_printf("redis://127.0.0.1:%d/0", x->server.port);
}

static void tear_down(struct fixture *x)
{
	ck_assert_int_eq(uv_loop_close(&x->loop), 0);
	redis_server_clear(&x->server);
	free(x->url);
}

static void connect_to(struct fixture *x, struct link *l, const char *url)
{
	struct redis_conn_options options = link_options(&x->loop, l);

	options.url = url;
	link_open(l, &options);
	wait_until(&x->loop, l->is_up, 4000);
}

START_TEST(a_batch_of_thousands_is_one_command)
{
	struct fixture x;
	struct link l = {0};
	struct redis_arg *args = mem_calloc(10001, sizeof(*args));
	char(*fields)[8] = mem_calloc(5000, sizeof(*fields));

	set_up(&x);
	connect_to(&x, &l, x.url);
	args[0] = REDIS_ARG("HSET");
	args[1] = REDIS_ARG("h");
	for (int i = 0; i < 4999; i++) {
		snprintf(fields[i], sizeof(fields[i]), "%d", i);
		args[2 + 2 * i] = args[3 + 2 * i] =
			(struct redis_arg){fields[i], strlen(fields[i])};
	}
	ck_assert_int_eq(redis_conn_command(l.conn, args, 10000, link_on_answer, &l), 0);
	wait_until(&x.loop, l.answers == 1, 4000);
	ck_assert_str_eq(l.answer, "4999");
	args[0] = REDIS_ARG("HDEL");
	for (int i = 0; i < 4999; i++)
		args[2 + i] = (struct redis_arg){fields[i], strlen(fields[i])};
	ck_assert_int_eq(redis_conn_command(l.conn, args, 5001, link_on_answer, &l), 0);
	wait_until(&x.loop, l.answers == 2, 4000);
	ck_assert_str_eq(l.answer, "4999");
	link_close(&x.loop, &l);
	tear_down(&x);
	mem_free_ptr(&args);
	free(fields);
}
END_TEST

static void tell(struct redis_server *s, const char *command)
{
	redisContext *c = redis_server_try(s);

	ck_assert_ptr_nonnull(c);
	freeReplyObject(redisCommand(c, command));
	redisFree(c);
}

/* C-51 C-58 */
START_TEST(the_next_of_a_list_is_tried_at_once_and_a_replica_passed_over)
{
	struct fixture x;
	struct redis_server other;
	struct link l = {0};
	auto_free char *urls = NULL, *replicate = NULL, *other_label = NULL;

	set_up(&x);
	redis_server_init(&other);
	redis_server_start(&other);
	replicate = mem_printf("REPLICAOF 127.0.0.1 %d", other.port);
	tell(&x.server, replicate);
	urls = mem_printf("redis://127.0.0.1:1/0;%s;redis://127.0.0.1:%d/0", x.url, other.port);
	other_label = mem_printf("127.0.0.1:%d/0", other.port);
	connect_to(&x, &l, urls);
	ck_assert_uint_eq(l.downs, 2);
	ck_assert_msg(strstr(l.why.text, "is a replica, not the master") != NULL, "%s", l.why.text);
	ck_assert_str_eq(redis_conn_host(l.conn), other_label);
	link_ask(&x.loop, &l, "SET k v");

	/* Roles change: the list is gone through from its beginning. */
	tell(&x.server, "REPLICAOF NO ONE");
	redis_server_stop(&other, SIGKILL);
	wait_until(&x.loop, l.ups == 2, 4000);
	link_ask(&x.loop, &l, "SET k v");
	ck_assert_str_eq(l.answer, "OK");
	link_close(&x.loop, &l);
	redis_server_clear(&other);
	tear_down(&x);
}
END_TEST

/* C-52 */
START_TEST(what_is_refused_is_said_and_tried_less_and_less_often)
{
	static const char *const bad[][3] = {
		{"", "999", "ERR DB index is out of range"},
		{"who:s3cret@", "0", "WRONGPASS"},
		{"who@", "0", "WRONGPASS"},
	};
	struct fixture x;

	set_up(&x);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct link l = {0};
		struct redis_conn_options options = link_options(&x.loop, &l);
		auto_free char *url = mem_printf("redis://%s127.0.0.1:%d/%s", bad[i][0],
						 x.server.port, bad[i][1]);

		options.url = url;
		link_open(&l, &options);
		wait_until(&x.loop, l.downs == 5, 4000);
		ck_assert_uint_eq(l.ups, 0);
		ck_assert_int_eq(l.why.code, ERR_REFUSED);
		ck_assert_msg(strstr(l.why.text, bad[i][2]) != NULL, "%s", l.why.text);
		ck_assert_ptr_null(strstr(l.why.text, "s3cret"));
		/* 0, 0.1, 0.2, 0.4, 0.8 and so on, up to half a minute */
		ck_assert_double_eq(redis_conn_retry_in_s(l.conn), 0.8);
		link_close(&x.loop, &l);
	}
	tear_down(&x);
}
END_TEST

START_TEST(a_user_may_have_no_password)
{
	struct fixture x;
	struct link l = {0};
	auto_free char *url = NULL;

	set_up(&x);
	tell(&x.server, "ACL SETUSER who on nopass +@all");
	url = mem_printf("redis://who@127.0.0.1:%d/0", x.server.port);
	connect_to(&x, &l, url);
	link_ask(&x.loop, &l, "ACL WHOAMI");
	ck_assert_str_eq(l.answer, "who");
	link_close(&x.loop, &l);
	tear_down(&x);
}
END_TEST

/* C-76: the server takes packets and never answers, as behind a firewall that drops them. */
START_TEST(a_connection_that_is_open_at_one_end_only_is_left)
{
	struct fixture x;
	struct link l = {0};
	struct redis_conn_options options = link_options(&x.loop, &l);
	struct redis_settings settings;
	auto_free char *url = NULL;

	set_up(&x);
	redis_settings_init(&settings);
	ck_assert_int_eq(redis_settings_read(&settings, "{\"socket_timeout\": 1}", NULL), 0);
	url = mem_printf("%s?health_check_interval=0.5&client_name=the-name", x.url);
	options.url = url;
	options.settings = &settings;
	link_open(&l, &options);
	wait_until(&x.loop, l.is_up, 4000);
	link_ask(&x.loop, &l, "CLIENT GETNAME");
	ck_assert_str_eq(l.answer, "the-name");
	/* Nothing is asked of it here: it is the idle connection's own question that shows it. */
	kill(x.server.pid, SIGSTOP);
	wait_until(&x.loop, l.downs == 1, 4000);
	ck_assert_int_eq(l.why.code, ERR_TIMEOUT);
	kill(x.server.pid, SIGCONT);
	wait_until(&x.loop, l.ups == 2, 4000);
	link_ask(&x.loop, &l, "PING");
	link_close(&x.loop, &l);
	tear_down(&x);
}
END_TEST

/* C-76: commands that go out all the time, as renewals do, do not hide it. */
START_TEST(a_silent_server_is_left_though_it_is_written_to)
{
	struct fixture x;
	struct link l = {0};
	struct redis_conn_options options = link_options(&x.loop, &l);
	struct redis_settings settings;
	int64_t end;

	set_up(&x);
	redis_settings_init(&settings);
	settings.answer_timeout_s = 1;
	options.url = x.url;
	options.settings = &settings;
	link_open(&l, &options);
	wait_until(&x.loop, l.is_up, 4000);
	kill(x.server.pid, SIGSTOP);
	end = clock_mono_us() + 4000000;
	for (int64_t next = 0; l.downs == 0 && clock_mono_us() < end;) {
		if (clock_mono_us() >= next) {
			next = clock_mono_us() + 100000;
			(void)link_send(&l, "SET k v");
		}
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
		uv_run(&x.loop, UV_RUN_NOWAIT);
	}
	ck_assert_uint_eq(l.downs, 1);
	ck_assert_int_eq(l.why.code, ERR_TIMEOUT);
	ck_assert_uint_gt(l.unanswered, 5);
	kill(x.server.pid, SIGCONT);
	wait_until(&x.loop, l.ups == 2, 4000);
	link_close(&x.loop, &l);
	tear_down(&x);
}
END_TEST
