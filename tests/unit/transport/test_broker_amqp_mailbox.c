/* Mailboxes: broadcast messages, on channels whose failures touch nothing else. */
#include "tests/unit/transport/amqp_mail.h"
#include "tests/unit/transport/amqp_poison.h"

static void begin(struct fixture *f)
{
	fixture_init(f, fixture_url());
	fixture_open(f);
}

static void end(struct fixture *f, struct mails *m)
{
	fixture_close(f);
	if (m)
		mails_clear(m);
}

START_TEST(a_mailbox_is_what_kombu_declares_and_gets_what_is_broadcast) /* timeout 60 */
{
	struct fixture f;
	struct mails m = {0};
	char command[256], out[4096] = "", *line;
	const char *q = fixture_queue("w1@h.celery.pidbox"), *ex = fixture_queue("celery.pidbox");

	if (!fixture_can_administer())
		return;
	begin(&f);
	mails_listen(&m, &f, q, ex);
	fixture_start(&f); /* nothing is consumed; the mailbox is there when on_up comes */
	mail_post(&f, ex, "", "{\"method\": \"ping\"}");
	ck_assert(fixture_wait(&f, &m.count, 1, 5000));
	ck_assert_str_eq(m.bodies[0], "{\"method\": \"ping\"}");
	ck_assert_str_eq(m.last_exchange, ex);
	ck_assert_str_eq(m.last_content_type, "application/json");
	ck_assert_uint_eq(f.seen_count, 0);
	snprintf(command, sizeof(command),
		 "list_queues name durable auto_delete exclusive arguments | grep %s", q);
	fixture_ctl(&f, command, out, sizeof(out));
	line = strstr(out, q);
	ck_assert_ptr_nonnull(line);
	line[strcspn(line, "\n")] = '\0';
	ck_assert_ptr_nonnull(strstr(line, "\tfalse\ttrue\ttrue\t"));
	ck_assert_ptr_nonnull(strstr(line, "\"x-expires\",10000"));
	ck_assert_ptr_nonnull(strstr(line, "\"x-message-ttl\",300000"));
	end(&f, &m);
}
END_TEST

START_TEST(several_mailboxes_of_different_kinds_live_together) /* timeout 60 */
{
	struct fixture f;
	struct mails box = {0}, events = {0}, replies = {0};
	const char *fan = fixture_queue("fan"), *topic = fixture_queue("topic"),
		   *direct = fixture_queue("direct");
	struct mailbox_def gossip = {
		.queue = fixture_queue("gossip"),
		.exchange = topic,
		.exchange_type = "topic",
		.is_exchange_durable = true,
		.binding_key = "worker.#",
		.is_exclusive = true,
		.ttl_s = 5,
		.expires_s = 60,
	};
	struct mailbox_def reply = {
		.queue = fixture_queue("reply"),
		.exchange = direct,
		.exchange_type = "direct",
		.binding_key = "me",
		.is_exclusive = true,
		.ttl_s = -1,
		.expires_s = -1,
	};

	if (!fixture_url())
		return;
	begin(&f);
	mails_listen(&box, &f, fixture_queue("box"), fan);
	ck_assert_int_eq(broker_listen(f.broker, &gossip, mails_take, &events, NULL), 0);
	ck_assert_int_eq(broker_listen(f.broker, &reply, mails_take, &replies, NULL), 0);
	fixture_start(&f);
	mail_post(&f, topic, "task.sent", "t");
	mail_post(&f, topic, "worker.heartbeat", "w");
	mail_post(&f, direct, "you", "y");
	mail_post(&f, direct, "me", "m");
	mail_post(&f, fan, "", "f");
	ck_assert(fixture_wait(&f, &box.count, 1, 5000));
	ck_assert(fixture_wait(&f, &events.count, 1, 5000));
	ck_assert(fixture_wait(&f, &replies.count, 1, 5000));
	fixture_run(&f, 100);
	ck_assert_uint_eq(box.count + events.count + replies.count, 3);
	ck_assert_str_eq(events.bodies[0], "w");
	ck_assert_str_eq(replies.bodies[0], "m");
	mails_clear(&events);
	mails_clear(&replies);
	end(&f, &box);
}
END_TEST

/* C-11 */
START_TEST(a_name_in_use_is_taken_over_when_it_is_free_and_tasks_go_on_meanwhile) /* timeout 60 */
{
	struct fixture f, g;
	struct mails first = {0}, second = {0};
	const char *q = fixture_queue("twin"), *ex = fixture_queue("twins"),
		   *tasks = fixture_queue("tasks");

	if (!fixture_url())
		return;
	begin(&f);
	mails_listen(&first, &f, q, ex);
	fixture_start(&f);
	begin(&g);
	g.acks_at_once = true;
	fixture_consume(&g, tasks, NULL);
	mails_listen(&second, &g, q, ex);
	fixture_start(&g);
	ck_assert_uint_eq(g.errors, 1);
	ck_assert_ptr_nonnull(strstr(g.last_notice, "405 RESOURCE_LOCKED"));
	ck_assert_ptr_nonnull(strstr(g.last_notice, "another worker of this name"));
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(fixture_publish(&g, tasks, "x", 1), 0);
		fixture_run(&g, 150); /* over some further attempts */
	}
	ck_assert(fixture_wait(&g, &g.seen_count, 10, 5000));
	ck_assert_uint_eq(g.downs, 0);
	ck_assert_uint_eq(g.notices, 1);
	mail_post(&g, ex, "", "one");
	ck_assert(fixture_wait(&g, &g.confirmed, 10, 5000));
	ck_assert(fixture_wait(&f, &first.count, 1, 5000));
	ck_assert_uint_eq(second.count, 0);
	end(&f, &first);
	ck_assert(fixture_wait(&g, &g.notices, 2, 10000));
	ck_assert_uint_eq(g.errors, 1);
	mail_post(&g, ex, "", "two");
	ck_assert(fixture_wait(&g, &second.count, 1, 5000));
	ck_assert_str_eq(second.bodies[0], "two");
	ck_assert_uint_eq(g.ups, 1);
	end(&g, &second);
}
END_TEST

/* A program that only listens is up when its answers would come, or will not. */
START_TEST(on_up_waits_for_the_first_try_of_a_mailbox) /* timeout 60 */
{
	struct fixture f, g;
	struct mails first = {0}, second = {0};
	const char *q = fixture_queue("up"), *ex = fixture_queue("ups");

	if (!fixture_url())
		return;
	begin(&f);
	mails_listen(&first, &f, q, ex);
	fixture_start(&f);
	ck_assert_uint_eq(f.errors_at_up, 0);
	begin(&g);
	mails_listen(&second, &g, q, ex);
	fixture_start(&g);
	ck_assert_uint_eq(g.errors_at_up, 1);
	end(&g, &second);
	end(&f, &first);
}
END_TEST

START_TEST(an_exchange_declared_otherwise_costs_only_the_mailbox) /* timeout 60 */
{
	struct fixture f;
	struct mails m = {0}, other = {0};
	const char *ex = fixture_queue("differs"), *tasks = fixture_queue("tasks406");
	struct mailbox_def def = {
		.queue = fixture_queue("topic-box"),
		.exchange = ex,
		.exchange_type = "topic",
		.is_exchange_durable = true,
		.binding_key = "#",
		.ttl_s = -1,
		.expires_s = -1,
	};
	char command[512];

	if (!fixture_can_administer())
		return;
	begin(&f);
	f.acks_at_once = true;
	fixture_consume(&f, tasks, NULL);
	mails_listen(&m, &f, fixture_queue("fan-box"), ex);
	fixture_start(&f);
	ck_assert_int_eq(broker_listen(f.broker, &def, mails_take, &other, NULL), 0);
	ck_assert(fixture_wait(&f, &f.errors, 1, 5000));
	ck_assert_ptr_nonnull(strstr(f.last_notice, "406 PRECONDITION_FAILED"));
	mail_post(&f, ex, "", "still here");
	ck_assert_int_eq(fixture_publish(&f, tasks, "x", 1), 0);
	ck_assert(fixture_wait(&f, &m.count, 1, 5000));
	ck_assert(fixture_wait(&f, &f.seen_count, 1, 5000));
	broker_unlisten(f.broker, m.queue);
	snprintf(command, sizeof(command),
		 "eval 'rabbit_exchange:delete(rabbit_misc:r(<<\"/\">>, exchange, <<\"%s\">>), "
		 "false, <<\"test\">>).'",
		 ex);
	fixture_ctl(&f, command, NULL, 0);
	ck_assert(fixture_wait(&f, &f.notices, 2, 10000));
	mail_post(&f, ex, "a.b", "now there");
	ck_assert(fixture_wait(&f, &other.count, 1, 5000));
	ck_assert_uint_eq(f.downs, 0);
	ck_assert_uint_eq(f.ups, 1);
	mails_clear(&other);
	end(&f, &m);
}
END_TEST

START_TEST(after_a_lost_connection_mailboxes_come_back_also_while_paused) /* timeout 90 */
{
	struct fixture f;
	struct mails m = {0};
	const char *ex = fixture_queue("back"), *tasks = fixture_queue("back-tasks");

	if (!fixture_can_administer())
		return;
	begin(&f);
	fixture_consume(&f, tasks, NULL);
	mails_listen(&m, &f, fixture_queue("back-box"), ex);
	fixture_start(&f);
	fixture_ctl(&f, "close_all_connections test", NULL, 0);
	ck_assert(fixture_wait(&f, &f.downs, 1, 5000));
	ck_assert(fixture_wait(&f, &f.ups, 2, 10000));
	mail_post(&f, ex, "", "after");
	ck_assert(fixture_wait(&f, &m.count, 1, 5000));
	broker_pause(f.broker);
	mail_post(&f, ex, "", "paused");
	ck_assert(fixture_wait(&f, &m.count, 2, 5000));
	fixture_ctl(&f, "close_all_connections test", NULL, 0);
	ck_assert(fixture_wait(&f, &f.downs, 2, 5000));
	for (int i = 0; i < 50 && m.count < 3; i++) {
		mail_post(&f, ex, "", "paused and lost");
		fixture_run(&f, 200);
	}
	ck_assert_uint_ge(m.count, 3);
	end(&f, &m);
}
END_TEST

START_TEST(a_deleted_mailbox_queue_is_declared_again) /* timeout 60 */
{
	struct fixture f;
	struct mails m = {0};
	char command[256];
	const char *ex = fixture_queue("gone");

	if (!fixture_can_administer())
		return;
	begin(&f);
	m.is_shared = true;
	mails_listen(&m, &f, fixture_queue("gone-box"), ex);
	fixture_start(&f);
	snprintf(command, sizeof(command), "delete_queue %s", m.queue);
	fixture_ctl(&f, command, NULL, 0);
	ck_assert(fixture_wait(&f, &f.notices, 2, 10000));
	ck_assert_uint_eq(f.errors, 1);
	mail_post(&f, ex, "", "again");
	ck_assert(fixture_wait(&f, &m.count, 1, 5000));
	end(&f, &m);
}
END_TEST

START_TEST(a_mailbox_can_be_left_in_its_own_call_and_taken_again) /* timeout 60 */
{
	struct fixture f;
	struct mails m = {0};
	struct err err = {0};
	const char *ex = fixture_queue("leave"), *q = fixture_queue("leave-box");

	if (!fixture_url())
		return;
	begin(&f);
	m.leaves_after = 1;
	mails_listen(&m, &f, q, ex);
	ck_assert_int_eq(
		broker_listen(f.broker, &(struct mailbox_def){.queue = q}, mails_take, &m, &err),
		-1);
	ck_assert_ptr_nonnull(strstr(err.text, "is there already"));
	fixture_start(&f);
	for (int i = 0; i < 5; i++)
		mail_post(&f, ex, "", "x");
	ck_assert(fixture_wait(&f, &m.count, 1, 5000));
	mails_listen(&m, &f, q, ex); /* while the other is still on its way out */
	broker_unlisten(f.broker, q);
	mails_listen(&m, &f, q, ex);
	fixture_run(&f, 300);
	unsigned count = m.count; /* some of the five may have been for the new one */
	m.leaves_after = 0;
	broker_unlisten(f.broker, q);
	fixture_run(&f, 300);
	mails_listen(&m, &f, q, ex);
	fixture_run(&f, 300);
	mail_post(&f, ex, "", "y");
	ck_assert(fixture_wait(&f, &m.count, count + 1, 5000));
	ck_assert_uint_eq(f.notices, 0);
	end(&f, &m);
}
END_TEST

START_TEST(a_message_that_is_too_large_or_malformed_is_ignored_alone) /* timeout 60 */
{
	struct fixture f;
	struct mails m = {0};
	struct poisoner poisoner;
	const char *ex = fixture_queue("poison");
	static char large[5000];

	if (!fixture_url())
		return;
	fixture_init(&f, fixture_url());
	f.options.max_message_bytes = 4096;
	fixture_open(&f);
	mails_listen(&m, &f, fixture_queue("poison-box"), ex);
	fixture_start(&f);
	poisoner_begin(&poisoner, &f);
	poison_send(&poisoner, ex, "", 100);
	ck_assert(fixture_wait(&f, &f.errors, 1, 5000));
	ck_assert_ptr_nonnull(strstr(f.last_notice, "nested deeper"));
	memset(large, 'x', sizeof(large) - 1);
	mail_post(&f, ex, "", large);
	ck_assert(fixture_wait(&f, &f.errors, 2, 5000));
	ck_assert_ptr_nonnull(strstr(f.last_notice, "above the limit"));
	mail_post(&f, ex, "", "small");
	ck_assert(fixture_wait(&f, &m.count, 1, 5000));
	ck_assert_str_eq(m.bodies[0], "small");
	ck_assert_uint_eq(f.downs, 0);
	poisoner_end(&poisoner, &f);
	end(&f, &m);
}
END_TEST

/* Answers as a node of kombu.pidbox does. */
static void pong(void *ctx, struct message *message)
{
	struct fixture *f = ctx;
	json_t *request = json_loadb(message->body, message->body_len, 0, NULL);
	json_t *to = json_object_get(request, "reply_to");
	json_t *headers =
		json_pack("{s:O, s:i}", "ticket", json_object_get(request, "ticket"), "clock", 1);
	const char *exchange = json_string_value(json_object_get(to, "exchange"));
	struct exchange_def def = {.name = exchange, .type = "direct"};
	static const char body[] = "{\"w1@h\": {\"ok\": \"pong\"}}";
	struct publication p = {
		.exchange = exchange,
		.routing_key = json_string_value(json_object_get(to, "routing_key")),
		.declare_exchange = &def,
		.content_type = "application/json",
		.content_encoding = "utf-8",
		.priority = 0,
		.delivery_mode = 1,
		.headers = headers,
		.body = body,
		.body_len = sizeof(body) - 1,
	};

	broker_post(f->broker, &p);
	json_decref(headers);
	json_decref(request);
}

START_TEST(kombus_own_client_reaches_a_mailbox_and_gets_its_answer) /* timeout 60 */
{
	struct fixture f;
	char command[2048], out[4096] = "";
	struct mailbox_def def = {
		.queue = "w1@h.celery.pidbox",
		.exchange = "celery.pidbox",
		.exchange_type = "fanout",
		.binding_key = "",
		.is_exclusive = true,
		.ttl_s = 300,
		.expires_s = 10,
	};
	const char *python = getenv("SMALLAGE_TEST_PYTHON");

	if (!fixture_url() || !python)
		return;
	begin(&f);
	ck_assert_int_eq(broker_listen(f.broker, &def, pong, &f, NULL), 0);
	fixture_start(&f);
	snprintf(command, sizeof(command),
		 "%s -c 'import celery; app = celery.Celery(broker=\"%s\"); "
		 "print(app.control.ping(destination=[\"w1@h\"], timeout=10), "
		 "app.control.inspect([\"w1@h\"], timeout=10).ping())' 2>&1",
		 python, fixture_url());
	fixture_command(&f, command, out, sizeof(out));
	ck_assert_str_eq(out, "[{'w1@h': {'ok': 'pong'}}] {'w1@h': {'ok': 'pong'}}\n");
	end(&f, NULL);
}
END_TEST
