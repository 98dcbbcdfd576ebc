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
