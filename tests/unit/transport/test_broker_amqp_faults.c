/* What happens to the broker's side: connections killed, broker stopped, memory alarm, queues
 * deleted, poison. Needs SMALLAGE_TEST_RABBITMQCTL. */
#include <signal.h>

#include "tests/unit/transport/amqp_poison.h"

static void begin(struct fixture *f, const char *queue)
{
	fixture_init(f, fixture_url());
	f->options.heartbeat_s = 2;
	fixture_open(f);
	fixture_consume(f, queue, NULL);
	fixture_start(f);
}

static void publish_some(struct fixture *f, const char *queue, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		ck_assert_int_eq(fixture_publish(f, queue, "x", 1), 0);
}

static void ack_from(struct fixture *f, unsigned first)
{
	for (unsigned i = first; i < f->seen_count; i++)
		broker_ack(f->broker, f->seen[i].session, f->seen[i].tag);
}

/* C-59 C-60 */
START_TEST(a_killed_connection_is_rebuilt_and_its_messages_come_again) /* timeout 60 */
{
	struct fixture f;
	struct broker_stats stats;
	const char *q = fixture_queue("killed");

	if (!fixture_can_administer())
		return;
	begin(&f, q);
	publish_some(&f, q, 5);
	ck_assert(fixture_wait(&f, &f.confirmed, 5, 5000));
	ck_assert(fixture_wait(&f, &f.seen_count, 5, 5000));
	fixture_run(&f, 100);
	fixture_ctl(&f, "close_all_connections test", NULL, 0);
	publish_some(&f, q, 5); /* kept until there is a connection */
	ck_assert(fixture_wait(&f, &f.downs, 1, 5000));
	ck_assert_ptr_nonnull(strstr(f.last_down.text, "320 CONNECTION_FORCED - test"));
	ack_from(&f, 0); /* tags of a session that is gone */
	ck_assert(fixture_wait(&f, &f.ups, 2, 10000));
	ck_assert(fixture_wait(&f, &f.confirmed, 10, 10000));
	ck_assert(fixture_wait(&f, &f.seen_count, 15, 5000));
	fixture_run(&f, 200);
	ck_assert_uint_eq(f.seen_count, 15);
	ck_assert_uint_ne(f.seen[5].session, f.seen[0].session);
	broker_stats(f.broker, &stats);
	ck_assert_uint_eq(stats.acked, 0);
	ck_assert_uint_eq(stats.late_acks, 5);
	ck_assert_uint_eq(stats.reconnects, 1);
	ack_from(&f, 5);
	fixture_close(&f);
}
END_TEST

/* C-59 */
START_TEST(a_broker_that_stops_and_starts_is_waited_for) /* timeout 120 */
{
	struct fixture f;
	const char *q = fixture_queue("restart");

	if (!fixture_can_administer())
		return;
	begin(&f, q);
	fixture_ctl(&f, "stop_app", NULL, 0);
	ck_assert(fixture_wait(&f, &f.downs, 1, 10000));
	publish_some(&f, q, 5);
	ck_assert(fixture_wait(&f, &f.downs, 2, 10000));
	ck_assert_double_ge(f.last_retry_s, 2);
	fixture_ctl(&f, "start_app", NULL, 0);
	ck_assert(fixture_wait(&f, &f.ups, 2, 40000));
	ck_assert(fixture_wait(&f, &f.confirmed, 5, 40000));
	ck_assert(fixture_wait(&f, &f.seen_count, 5, 5000));
	ack_from(&f, 0);
	fixture_close(&f);
}
END_TEST

/* C-60 */
START_TEST(a_deleted_queue_is_declared_and_consumed_again) /* timeout 60 */
{
	struct fixture f;
	char command[256];
	const char *q = fixture_queue("deleted");

	if (!fixture_can_administer())
		return;
	begin(&f, q);
	snprintf(command, sizeof(command), "delete_queue %s", q);
	fixture_ctl(&f, command, NULL, 0);
	ck_assert(fixture_wait(&f, &f.notices, 1, 5000));
	ck_assert_ptr_nonnull(strstr(f.last_notice, q));
	fixture_run(&f, 300);
	publish_some(&f, q, 1);
	ck_assert(fixture_wait(&f, &f.seen_count, 1, 5000));
	ack_from(&f, 0);
	ck_assert_uint_eq(f.downs, 0);
	/* Again at once: now it waits, so that two who quarrel do not spin. */
	fixture_ctl(&f, command, NULL, 0);
	ck_assert(fixture_wait(&f, &f.notices, 2, 5000));
	ck_assert_ptr_nonnull(strstr(f.last_notice, "seconds"));
	publish_some(&f, q, 1);
	ck_assert(fixture_wait(&f, &f.seen_count, 2, 8000));
	ack_from(&f, 1);
	fixture_close(&f);
}
END_TEST

/* C-62 */
START_TEST(under_a_memory_alarm_publishes_wait_and_acks_go_on) /* timeout 60 */
{
	struct fixture f, g;
	struct broker_stats stats;
	const char *q = fixture_queue("alarm");

	if (!fixture_can_administer())
		return;
	begin(&f, q);
	publish_some(&f, q, 5);
	ck_assert(fixture_wait(&f, &f.seen_count, 5, 5000));
	ck_assert(fixture_wait(&f, &f.confirmed, 5, 5000));
	fixture_ctl(&f, "set_vm_memory_high_watermark 0.00001", NULL, 0);
	fixture_run(&f, 300);
	publish_some(&f, q, 1); /* the first one brings connection.blocked */
	ck_assert(fixture_wait(&f, &f.errors, 1, 5000));
	ck_assert_ptr_nonnull(strstr(f.last_notice, "memory"));
	broker_stats(f.broker, &stats);
	ck_assert(stats.is_blocked);
	publish_some(&f, q, 10);
	ack_from(&f, 0);
	fixture_run(&f, 6000); /* three heartbeats and more */
	ck_assert_uint_eq(f.downs, 0);
	ck_assert_uint_eq(f.confirmed, 5);

	/* Seen from outside: the five acks arrived although the alarm lasts. */
	char command[256], out[4096] = "";
	snprintf(command, sizeof(command), "list_queues name messages_unacknowledged | grep %s", q);
	fixture_ctl(&f, command, out, sizeof(out));
	char *line = strstr(out, q);
	ck_assert_ptr_nonnull(line);
	ck_assert_int_eq(atoi(line + strlen(q)), 0);

	fixture_ctl(&f, "set_vm_memory_high_watermark 0.8", NULL, 0);
	ck_assert(fixture_wait(&f, &f.confirmed, 16, 10000));
	ck_assert(fixture_wait(&f, &f.seen_count, 16, 5000));
	ack_from(&f, 5);
	fixture_close(&f);
	begin(&g, q);
	fixture_run(&g, 200);
	ck_assert_uint_eq(g.seen_count, 0);
	fixture_close(&g);
}
END_TEST

/* C-64 */
START_TEST(a_broker_that_hangs_is_noticed_within_two_heartbeats) /* timeout 60 */
{
	struct fixture f;
	char out[4096] = "";
	const char *q = fixture_queue("hangs");

	if (!fixture_can_administer())
		return;
	begin(&f, q);
	fixture_run(&f, 5000); /* quiet, but alive: heartbeats go both ways */
	ck_assert_uint_eq(f.downs, 0);
	fixture_ctl(&f, "eval 'os:getpid().'", out, sizeof(out));
	int pid = atoi(out + strspn(out, "\""));
	ck_assert_int_gt(pid, 1);
	ck_assert_int_eq(kill(pid, SIGSTOP), 0);
	bool is_noticed = fixture_wait(&f, &f.downs, 1, 4800);
	kill(pid, SIGCONT);
	ck_assert(is_noticed);
	ck_assert_int_eq(f.last_down.code, ERR_TIMEOUT);
	ck_assert_ptr_nonnull(strstr(f.last_down.text, "no heartbeat"));
	ck_assert(fixture_wait(&f, &f.ups, 2, 30000));
	fixture_close(&f);
}
END_TEST

START_TEST(deeply_nested_headers_are_rejected_and_nothing_else_suffers) /* timeout 60 */
{
	struct fixture f;
	struct poisoner poisoner;
	char *queue;

	if (!fixture_url())
		return;
	queue = strdup(fixture_queue("poison"));
	begin(&f, queue);
	f.acks_at_once = true;
	poisoner_begin(&poisoner, &f);
	poison_send(&poisoner, "", queue, 40); /* unusual, but good */
	ck_assert(fixture_wait(&f, &f.seen_count, 1, 5000));
	poison_send(&poisoner, "", queue, 100);
	poison_send(&poisoner, "", queue, 18000);
	ck_assert(fixture_wait(&f, &f.errors, 2, 5000));
	ck_assert_ptr_nonnull(strstr(f.last_notice, "nested deeper"));
	publish_some(&f, queue, 3);
	ck_assert(fixture_wait(&f, &f.seen_count, 4, 5000));
	ck_assert_uint_eq(f.downs, 0);
	poisoner_end(&poisoner, &f);
	fixture_close(&f);
	begin(&f, queue);
	fixture_run(&f, 200);
	ck_assert_uint_eq(f.seen_count, 0); /* rejected, not requeued */
	fixture_close(&f);
	free(queue);
}
END_TEST
