#include "tests/unit/transport/amqp_fixture.h"

/* Exchanges, bindings and queues that are more than a direct exchange of the queue's own name. */

static void consume_def(struct fixture *f, const struct queue_def *def)
{
	struct err err = {0};

	ck_assert_msg(broker_consume(f->broker, def, &err) == 0, "%s", err.text);
}

static void publish_to(struct fixture *f, const char *exchange, const char *key,
		       const json_t *headers, const char *body)
{
	struct publication p = {.exchange = exchange,
				.routing_key = key,
				.content_type = "application/json",
				.content_encoding = "utf-8",
				.priority = -1,
				.headers = headers,
				.body = body,
				.body_len = strlen(body)};

	ck_assert_int_eq(broker_publish(f->broker, &p, fixture_published, f, NULL), 0);
}

static void begin(struct fixture *f)
{
	fixture_init(f, fixture_url());
	f->acks_at_once = true;
	fixture_open(f);
}

/* Which of the digits came, as bits. */
static unsigned digits_seen(struct fixture *f)
{
	unsigned bits = 0;

	fixture_run(f, 200);
	for (unsigned i = 0; i < f->seen_count; i++)
		bits |= 1u << (f->seen[i].body[0] - '0');
	return bits;
}

START_TEST(a_queue_may_have_several_bindings_of_all_types)
{
	struct fixture f;

	if (!fixture_url())
		return;
	begin(&f);
	const char *q = fixture_queue("bound"), *topic = fixture_queue("topic");
	const char *headers = fixture_queue("headers"), *fanout = fixture_queue("fanout");
	struct binding_def more[] = {
		{.exchange = topic, .exchange_type = "topic", .routing_key = "a.*"},
		{.exchange = headers,
		 .exchange_type = "headers",
		 .arguments = "{\"x-match\": \"all\", \"kind\": \"urgent\"}"},
		{.exchange = fanout,
		 .exchange_type = "fanout",
		 .is_exchange_transient = true,
		 .is_exchange_auto_delete = true},
		{.exchange = "amq.topic", .exchange_type = "topic", .routing_key = q},
	};
	struct queue_def def = {.name = q,
				.exchange = q,
				.routing_key = "k",
				.bindings = more,
				.binding_count = 4,
				.consumer_arguments = "{\"x-priority\": 3}"};
	json_t *urgent = json_pack("{s:s}", "kind", "urgent");
	json_t *dull = json_pack("{s:s}", "kind", "dull");

	ck_assert_uint_eq(queue_def_binding_count(&def), 5);
	consume_def(&f, &def);
	fixture_start(&f);
	publish_to(&f, q, "k", NULL, "0");
	publish_to(&f, q, "other", NULL, "9");
	publish_to(&f, topic, "a.b", NULL, "1");
	publish_to(&f, topic, "a.b.c", NULL, "9");
	publish_to(&f, headers, "", urgent, "2");
	publish_to(&f, headers, "", dull, "9");
	publish_to(&f, fanout, "whatever", NULL, "3");
	publish_to(&f, "amq.topic", q, NULL, "4");
	ck_assert(fixture_wait(&f, &f.seen_count, 5, 5000));
	ck_assert_uint_eq(digits_seen(&f), 0x1f);
	ck_assert_uint_eq(f.seen_count, 5);
	ck_assert_uint_eq(f.errors, 0);
	json_decref(urgent);
	json_decref(dull);
	fixture_close(&f);
}
END_TEST

START_TEST(a_private_queue_goes_with_its_consumer)
{
	struct fixture f, g;
	char list[65536];

	if (!fixture_url() || !fixture_can_administer())
		return;
	begin(&f);
	begin(&g);
	const char *exchange = fixture_queue("news");
	const char *names[] = {fixture_queue("bcast.1"), fixture_queue("bcast.2")};
	struct queue_def def = {.exchange = exchange,
				.exchange_type = "fanout",
				.is_auto_delete = true,
				.is_private = true};

	def.name = names[0];
	consume_def(&f, &def);
	def.name = names[1];
	consume_def(&g, &def);
	fixture_start(&f);
	fixture_start(&g);
	publish_to(&f, exchange, "", NULL, "7");
	ck_assert(fixture_wait(&f, &f.seen_count, 1, 5000));
	ck_assert(fixture_wait(&g, &g.seen_count, 1, 5000));
	fixture_close(&g);
	fixture_ctl(&f, "list_queues name auto_delete", list, sizeof(list));
	ck_assert_ptr_nonnull(strstr(list, names[0]));
	ck_assert_ptr_null(strstr(list, names[1]));
	fixture_close(&f);
}
END_TEST

START_TEST(a_given_queue_is_looked_for_and_not_made)
{
	struct fixture f, g;

	if (!fixture_url())
		return;
	begin(&f);
	begin(&g);
	struct queue_def def = {.name = fixture_queue("given"), .exchange = "", .is_given = true};

	consume_def(&f, &def);
	broker_start(f.broker);
	ck_assert(fixture_wait(&f, &f.errors, 1, 5000));
	ck_assert_msg(strstr(f.last_notice, "404") != NULL, "%s", f.last_notice);
	fixture_consume(&g, def.name, NULL);
	fixture_start(&g);
	broker_cancel(g.broker, def.name);
	fixture_run(&g, 100);
	ck_assert(fixture_wait(&f, &f.ups, 1, 8000));
	publish_to(&f, "", def.name, NULL, "1");
	ck_assert(fixture_wait(&f, &f.seen_count, 1, 5000));
	fixture_close(&g);
	fixture_close(&f);
}
END_TEST

START_TEST(an_exchange_of_another_type_is_named_and_tried_again)
{
	struct fixture f;

	if (!fixture_url())
		return;
	begin(&f);
	struct queue_def def = {.name = fixture_queue("clash"),
				.exchange = "amq.direct",
				.exchange_type = "direct",
				.routing_key = "k"};

	consume_def(&f, &def);
	def.name = fixture_queue("clash2");
	def.exchange = fixture_queue("clash");
	consume_def(&f, &def);
	def.name = fixture_queue("clash3");
	def.exchange_type = "topic";
	consume_def(&f, &def);
	fixture_start(&f);
	ck_assert(fixture_wait(&f, &f.errors, 1, 5000));
	ck_assert_msg(strstr(f.last_notice, "406") != NULL, "%s", f.last_notice);
	ck_assert_msg(strstr(f.last_notice, "clash3") != NULL, "%s", f.last_notice);
	fixture_close(&f);
}
END_TEST
