/* Mailboxes in a folder, and what is posted there. */
#include <poll.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/unit/transport/filesystem_fixture.h"

struct mails {
	struct fixture *x;
	unsigned count;
	char last[512];
	const char *leaves; /* this mailbox, when a message comes */
};

static void take_mail(void *ctx, struct message *m)
{
	struct mails *mails = ctx;

	mails->count++;
	snprintf(mails->last, sizeof(mails->last), "%.*s", (int)m->body_len, m->body);
	if (mails->leaves)
		broker_unlisten(mails->x->broker, mails->leaves);
}

/* As a worker's control queue. */
static void listen_as(struct fixture *x, struct mails *mails, const char *queue)
{
	struct mailbox_def def = {.queue = queue,
				  .exchange = "celery.pidbox",
				  .exchange_type = "fanout",
				  .binding_key = "",
				  .is_exclusive = true,
				  .ttl_s = 300,
				  .expires_s = 10};
	struct err err = {0};

	mails->x = x;
	ck_assert_msg(broker_listen(x->broker, &def, take_mail, mails, &err) == 0, "%s", err.text);
}

static struct publication publication_to(const char *exchange, const char *key, const char *body)
{
	return (struct publication){.exchange = exchange,
				    .routing_key = key,
				    .content_type = "application/json",
				    .content_encoding = "utf-8",
				    .delivery_mode = 1,
				    .body = body,
				    .body_len = strlen(body)};
}

static void post(struct fixture *x, const char *exchange, const char *key, const char *body)
{
	struct publication p = publication_to(exchange, key, body);

	broker_post(x->broker, &p);
}

static void begin(struct fixture *x)
{
	open_with(x, "");
	broker_start(x->broker);
	wait_until(&x->loop, x->ups == 1, 1000);
}

static char *table_of(struct fixture *x, const char *exchange)
{
	auto_free char *path = mem_printf("%s/%s.exchange", x->control, exchange);
	auto_str text;

	str_init(&text, 4096);
	ck_assert_int_eq(file_read(&text, path, NULL), 1);
	return str_detach(&text);
}

/* Another program in the same folders. */
static void set_up_beside(struct fixture *y, const struct fixture *x)
{
	set_up(y);
	free(y->in);
	free(y->out);
	free(y->control);
	y->in = mem_strdup(x->in);
	y->out = mem_strdup(x->out);
	y->control = mem_strdup(x->control);
}

START_TEST(a_broadcast_reaches_every_mailbox_whatever_the_tasks_do)
{
	struct fixture x;
	struct mails one = {0}, two = {0};

	set_up(&x);
	open_with(&x, "");
	consume(&x, "celery");
	broker_qos(x.broker, 1, 0);
	listen_as(&x, &one, "w1@h.celery.pidbox");
	broker_start(x.broker);
	wait_until(&x.loop, x.ups == 1, 1000);
	put(&x, "1_a.celery.msg", "task");
	put(&x, "2_a.celery.msg", "task");
	wait_until(&x.loop, x.seen == 1, 1000);
	listen_as(&x, &two, "w2@h.celery.pidbox");
	ck_assert_int_eq(broker_listen(x.broker,
				       &(struct mailbox_def){.queue = "w2@h.celery.pidbox",
							     .exchange = "celery.pidbox"},
				       take_mail, &two, NULL),
			 -1);
	wait_until(&x.loop, !two.count, 100);
	post(&x, "celery.pidbox", "", "ping"); /* the slot is taken */
	wait_until(&x.loop, one.count == 1 && two.count == 1, 1000);
	broker_pause(x.broker);
	post(&x, "celery.pidbox", "", "paused");
	wait_until(&x.loop, one.count == 2 && two.count == 2, 1000);
	ck_assert_str_eq(one.last, "paused");
	ck_assert_uint_eq(x.seen, 1);
	ck_assert_uint_eq(count(x.in, ".pidbox.msg"), 0);
	tear_down(&x);
}
END_TEST

START_TEST(requests_of_yesterday_are_not_obeyed)
{
	struct fixture x;
	struct mails m = {0};
	struct timespec old[2] = {{.tv_sec = time(NULL) - 400}, {.tv_sec = time(NULL) - 400}};

	set_up(&x);
	ck_assert_int_eq(folder_make(x.in, NULL), 0);
	put(&x, "1_a.w1@h.celery.pidbox.msg", "shutdown");
	put(&x, "2_a.w2@h.celery.pidbox.msg", "not ours");
	open_with(&x, "");
	listen_as(&x, &m, "w1@h.celery.pidbox");
	broker_start(x.broker);
	wait_until(&x.loop, x.ups == 1, 1000);
	ck_assert_uint_eq(count(x.in, ".w1@h.celery.pidbox.msg"), 0);
	auto_free char *text = envelope("old", 3);
	auto_free char *path = mem_printf("%s/3_a.w1@h.celery.pidbox.tmp", x.in);
	auto_free char *name = mem_printf("%s/3_a.w1@h.celery.pidbox.msg", x.in);
	ck_assert_int_eq(file_write(path, text, strlen(text), NULL), 0);
	ck_assert_int_eq(utimensat(AT_FDCWD, path, old, 0), 0);
	ck_assert_int_eq(rename(path, name), 0);
	post(&x, "celery.pidbox", "", "new");
	wait_until(&x.loop, m.count == 1, 1000);
	ck_assert_str_eq(m.last, "new");
	ck_assert_uint_eq(count(x.in, ".w1@h.celery.pidbox.msg"), 0);
	ck_assert_uint_eq(count(x.in, ".w2@h.celery.pidbox.msg"), 1);
	tear_down(&x);
}
END_TEST

START_TEST(the_binding_goes_with_the_program_and_comes_back_to_who_still_runs)
{
	struct fixture x, y;
	struct mails m = {0}, n = {0};

	set_up(&x);
	begin(&x);
	listen_as(&x, &m, "w1@h.celery.pidbox");
	listen_as(&x, &m, "w2@h.celery.pidbox");
	wait_until(&x.loop, m.count == 0, 50);
	set_up_beside(&y, &x);
	begin(&y);
	listen_as(&y, &n, "w1@h.celery.pidbox");
	wait_until(&y.loop, n.count == 0, 50);
	auto_free char *both = table_of(&x, "celery.pidbox");
	ck_assert_str_eq(both, "[[\"\", \"\", \"w2@h.celery.pidbox\"], "
			       "[\"\", \"\", \"w1@h.celery.pidbox\"]]");
	tear_down(&y);
	auto_free char *left = table_of(&x, "celery.pidbox");
	ck_assert_ptr_null(strstr(left, "w1@h"));
	for (int i = 0; i < 300 && m.count < 2; i++) {
		if (i % 20 == 0 && m.count == 0)
			wait_until(&x.loop, m.count == 0, 20);
		auto_free char *now = table_of(&x, "celery.pidbox");
		if (strstr(now, "w1@h") && m.count == 0)
			post(&x, "celery.pidbox", "", "both again");
		uv_run(&x.loop, UV_RUN_ONCE);
	}
	ck_assert_uint_eq(m.count, 2);
	broker_unlisten(x.broker, "w2@h.celery.pidbox");
	auto_free char *one = table_of(&x, "celery.pidbox");
	ck_assert_str_eq(one, "[[\"\", \"\", \"w1@h.celery.pidbox\"]]");
	stop(&x);
	auto_free char *none = table_of(&x, "celery.pidbox");
	ck_assert_str_eq(none, "[]");
	tear_down(&x);
}
END_TEST

START_TEST(replies_and_events_find_their_mailboxes)
{
	struct fixture x;
	struct mails reply = {0}, events_box = {0};
	struct mailbox_def reply_def = {.queue = "1-2.reply.celery.pidbox",
					.exchange = "reply.celery.pidbox",
					.exchange_type = "direct",
					.binding_key = "1-2",
					.ttl_s = 300,
					.expires_s = 10};
	struct mailbox_def events_def = {.queue = "celeryev.3-4",
					 .exchange = "celeryev",
					 .exchange_type = "topic",
					 .is_exchange_durable = true,
					 .binding_key = "worker.#",
					 .ttl_s = 5,
					 .expires_s = 60};
	struct exchange_def direct = {.name = "reply.celery.pidbox", .type = "direct"};
	struct exchange_def topic = {.name = "celeryev", .type = "topic", .is_durable = true};
	struct publication p;
	struct broker_stats stats;

	set_up(&x);
	open_with(&x, "");
	ck_assert_int_eq(broker_listen(x.broker, &reply_def, take_mail, &reply, NULL), 0);
	ck_assert_int_eq(broker_listen(x.broker, &events_def, take_mail, &events_box, NULL), 0);
	broker_start(x.broker);
	wait_until(&x.loop, x.ups == 1, 1000);
	p = publication_to("reply.celery.pidbox", "other", "y");
	p.declare_exchange = &direct;
	broker_post(x.broker, &p);
	p.routing_key = "1-2";
	broker_post(x.broker, &p);
	p = publication_to("celeryev", "task.sent", "t");
	p.declare_exchange = &topic;
	ck_assert_int_eq(broker_publish(x.broker, &p, on_published, &x, NULL), 0);
	p.routing_key = "worker.heartbeat";
	p.body = "w";
	ck_assert_int_eq(broker_publish(x.broker, &p, on_published, &x, NULL), 0);
	p.exchange = "no such/exchange";
	p.declare_exchange = NULL;
	broker_post(x.broker, &p);
	wait_until(&x.loop, x.published == 2 && reply.count == 1 && events_box.count == 1, 2000);
	ck_assert_str_eq(events_box.last, "w");
	ck_assert_uint_eq(x.refused, 0);
	broker_stats(x.broker, &stats);
	ck_assert_uint_eq(stats.mails, 2);
	ck_assert_uint_eq(stats.posts, 2);
	ck_assert_uint_eq(stats.posts_dropped, 1);
	ck_assert_uint_eq(count(x.in, ".msg"), 0);
	tear_down(&x);
}
END_TEST

START_TEST(a_file_that_is_no_message_is_moved_aside_and_the_next_is_read)
{
	struct fixture x;
	struct mails m = {0};

	set_up(&x);
	begin(&x);
	listen_as(&x, &m, "w1@h.celery.pidbox");
	wait_until(&x.loop, m.count == 0, 50);
	put_text(&x, "1_a.w1@h.celery.pidbox.msg", "{{{");
	put(&x, "2_a.w1@h.celery.pidbox.msg", "good");
	wait_until(&x.loop, m.count == 1, 1000);
	wait_until(&x.loop, x.notices == 1, 4000);
	ck_assert_ptr_nonnull(strstr(x.last_notice, "rejected"));
	tear_down(&x);
}
END_TEST

START_TEST(a_mailbox_in_a_folder_can_be_left_in_its_own_call)
{
	struct fixture x;
	struct mails m = {.leaves = "w1@h.celery.pidbox"};

	set_up(&x);
	begin(&x);
	listen_as(&x, &m, "w1@h.celery.pidbox");
	wait_until(&x.loop, m.count == 0, 50);
	for (int i = 0; i < 5; i++)
		put(&x, i % 2 ? "2_a.w1@h.celery.pidbox.msg" : "1_a.w1@h.celery.pidbox.msg", "x");
	wait_until(&x.loop, m.count == 1, 1000);
	ck_assert_uint_eq(count(x.in, ".msg"), 0);
	auto_free char *none = table_of(&x, "celery.pidbox");
	ck_assert_str_eq(none, "[]");
	tear_down(&x);
}
END_TEST

/* What a Python program prints while the loop runs. */
static void run_python(struct fixture *x, const char *program, char *out, size_t size)
{
	auto_free char *command = mem_printf(
		"cd %s && %s -c '"
		"import celery, sys\n"
		"app = celery.Celery(broker=\"filesystem://\")\n"
		"app.conf.broker_transport_options = dict(data_folder_in=\"%s\", "
		"data_folder_out=\"%s\", control_folder=\"%s\")\n"
		"%s' 2>&1",
		x->folder, getenv("SMALLAGE_TEST_PYTHON"), x->in, x->in, x->control, program);
	FILE *pipe = popen(command, "r");
	size_t len = 0;
	ssize_t n = 1;

	ck_assert_ptr_nonnull(pipe);
	struct pollfd wait = {.fd = fileno(pipe), .events = POLLIN};
	while (n > 0) {
		uv_run(&x->loop, UV_RUN_NOWAIT);
		if (poll(&wait, 1, 5) == 0)
			continue;
		n = read(wait.fd, out + len, size - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	out[len] = '\0';
	ck_assert_msg(pclose(pipe) == 0, "%s", out);
}

/* Answers as a node of kombu.pidbox does. */
static void pong(void *ctx, struct message *message)
{
	struct fixture *x = ctx;
	json_t *request = json_loadb(message->body, message->body_len, 0, NULL);
	json_t *to = json_object_get(request, "reply_to");
	json_t *headers = json_pack("{s:O}", "ticket", json_object_get(request, "ticket"));
	struct exchange_def def = {.name = json_string_value(json_object_get(to, "exchange")),
				   .type = "direct"};
	struct publication p =
		publication_to(def.name, json_string_value(json_object_get(to, "routing_key")),
			       "{\"w1@h\": {\"ok\": \"pong\"}}");

	p.declare_exchange = &def;
	p.headers = headers;
	broker_post(x->broker, &p);
	json_decref(headers);
	json_decref(request);
}

START_TEST(celerys_own_client_gets_an_answer_over_folders) /* timeout 60 */
{
	struct fixture x;
	struct mailbox_def def = {.queue = "w1@h.celery.pidbox",
				  .exchange = "celery.pidbox",
				  .exchange_type = "fanout",
				  .ttl_s = 300,
				  .expires_s = 10};
	char out[4096];

	if (!getenv("SMALLAGE_TEST_PYTHON"))
		return;
	set_up(&x);
	begin(&x);
	ck_assert_int_eq(broker_listen(x.broker, &def, pong, &x, NULL), 0);
	run_python(&x,
		   "print(app.control.ping(destination=[\"w1@h\"], timeout=20))\n"
		   "print(app.control.inspect([\"w1@h\"], timeout=20).ping())",
		   out, sizeof(out));
	ck_assert_str_eq(out, "[{'w1@h': {'ok': 'pong'}}]\n{'w1@h': {'ok': 'pong'}}\n");
	tear_down(&x);
}
END_TEST

struct heart {
	struct fixture *x;
	uv_timer_t timer;
};

static void beat(uv_timer_t *timer)
{
	struct heart *heart = timer->data;
	struct exchange_def topic = {.name = "celeryev", .type = "topic", .is_durable = true};
	struct publication p =
		publication_to("celeryev", "worker.heartbeat",
			       "{\"type\": \"worker-heartbeat\", \"hostname\": \"w1@h\", "
			       "\"timestamp\": 1.5, \"clock\": 7}");

	p.declare_exchange = &topic;
	ck_assert_int_eq(broker_publish(heart->x->broker, &p, NULL, NULL, NULL), 0);
}

START_TEST(celerys_own_monitor_sees_events_over_folders) /* timeout 60 */
{
	struct fixture x;
	struct heart heart = {.x = &x};
	char out[4096];

	if (!getenv("SMALLAGE_TEST_PYTHON"))
		return;
	set_up(&x);
	begin(&x);
	uv_timer_init(&x.loop, &heart.timer);
	heart.timer.data = &heart;
	uv_timer_start(&heart.timer, beat, 100, 100);
	run_python(&x,
		   "def seen(event):\n"
		   "    print(event[\"type\"], event[\"hostname\"], event[\"clock\"] >= 7)\n"
		   "    sys.stdout.flush()\n"
		   "    import os; os._exit(0)\n"
		   "with app.connection() as c:\n"
		   "    app.events.Receiver(c, handlers={\"*\": seen}).capture(timeout=30)",
		   out, sizeof(out));
	ck_assert_str_eq(out, "worker-heartbeat w1@h True\n");
	uv_close((uv_handle_t *)&heart.timer, NULL);
	tear_down(&x);
}
END_TEST
