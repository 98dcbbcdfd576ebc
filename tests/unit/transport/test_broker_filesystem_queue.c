#include "tests/unit/transport/filesystem_fixture.h"

static void consume_def(struct fixture *x, const struct queue_def *def)
{
	struct err err = {0};

	ck_assert_msg(broker_consume(x->broker, def, &err) == 0, "%s", err.text);
}

static void table_is(const struct fixture *x, const char *exchange, const char *want)
{
	auto_free char *path = mem_printf("%s/%s.exchange", x->control, exchange);
	auto_str text;

	str_init(&text, 4096);
	ck_assert_int_eq(file_read(&text, path, NULL), 1);
	ck_assert_str_eq(text.data, want);
}

START_TEST(a_queue_may_have_several_bindings)
{
	struct fixture x;
	struct binding_def more[] = {
		{.exchange = "t", .exchange_type = "topic", .routing_key = "a.#"},
		{.exchange = "f", .exchange_type = "fanout"},
	};
	struct queue_def def = {.name = "q",
				.exchange = "d",
				.routing_key = "k",
				.bindings = more,
				.binding_count = 2};

	set_up(&x);
	start(&x, "celery");
	consume_def(&x, &def);
	table_is(&x, "d", "[[\"k\", \"\", \"q\"]]");
	table_is(&x, "t", "[[\"a.#\", \"^a\\\\..*?$\", \"q\"]]");
	table_is(&x, "f", "[[\"\", \"\", \"q\"]]");
	publish(&x, "d", "k", "1");
	publish(&x, "d", "q", "2");
	publish(&x, "t", "a.b", "3");
	publish(&x, "f", "anything", "4");
	wait_until(&x.loop, x.published == 4 && x.seen == 3, 1000);
	ck_assert_uint_eq(count(x.in, ".msg"), 0);
	tear_down(&x);
}
END_TEST

START_TEST(a_private_queue_leaves_nothing)
{
	struct fixture x;
	struct queue_def def = {.name = "bcast.1",
				.exchange = "news",
				.exchange_type = "fanout",
				.is_auto_delete = true,
				.routing_key = "",
				.is_private = true};

	set_up(&x);
	start(&x, "celery");
	consume_def(&x, &def);
	def.name = "bcast.2";
	consume_def(&x, &def);
	table_is(&x, "news", "[[\"\", \"\", \"bcast.2\"], [\"\", \"\", \"bcast.1\"]]");
	publish(&x, "news", "k", "1");
	wait_until(&x.loop, x.seen == 2, 1000);
	broker_cancel(x.broker, "bcast.1");
	table_is(&x, "news", "[[\"\", \"\", \"bcast.2\"]]");
	publish(&x, "news", "k", "2"); /* not acked when it closes */
	wait_until(&x.loop, x.seen == 3, 1000);
	stop(&x);
	table_is(&x, "news", "[]");
	ck_assert_uint_eq(count(x.in, ".msg"), 0);
	tear_down(&x);
}
END_TEST

START_TEST(a_headers_exchange_is_refused_with_a_reason)
{
	struct fixture x;
	struct queue_def def = {.name = "q", .exchange = "h", .exchange_type = "headers"};
	struct err err = {0};

	set_up(&x);
	open_with(&x, "");
	ck_assert_int_lt(broker_consume(x.broker, &def, &err), 0);
	ck_assert_msg(strstr(err.text, "only RabbitMQ has headers exchanges") != NULL, "%s",
		      err.text);
	def.is_given = true; /* bound by others */
	err_clear(&err);
	ck_assert_int_eq(broker_consume(x.broker, &def, &err), 0);
	tear_down(&x);
}
END_TEST
