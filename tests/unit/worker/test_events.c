#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "worker/report/events.h"

static const struct sm_task plain = {.name = "t.plain"};
static const struct sm_task secret = {
	.name = "t.secret",
	.signature = "token: str",
	.secrets = SM_NAMES("token"),
};
static const struct task_entry plain_entry = {.decl = &plain};
static const struct task_entry secret_entry = {.decl = &secret};

/* Each test runs in a process of its own. */
static uv_loop_t loop;
static struct lamport lamport;
static struct requests all;
static struct config config = {.node_name = (char[]){"w1@h"}, .event_exchange = (char[]){"ev"}};
static struct events events;

static struct events *begin(void)
{
	uv_loop_init(&loop);
	requests_init(&all);
	events_init(&events, &loop, &config, &lamport);
	return &events;
}

static void end(void)
{
	events_close(&events);
	uv_run(&loop, UV_RUN_DEFAULT);
	events_clear(&events);
	requests_clear(&all);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static struct request *make(const struct task_entry *task, const char *args)
{
	struct task_message m;

	task_message_init(&m);
	m.task = arena_strdup(&m.texts, task->decl->name);
	m.id = arena_strdup(&m.texts, "an-id");
	m.argsrepr = arena_strdup(&m.texts, args);
	m.kwargsrepr = arena_strdup(&m.texts, "{}");
	m.eta_us = m.expires_us = TIME_UNSET;
	m.args = (struct span){"[1]", 3};
	m.kwargs = (struct span){"{}", 2};
	return request_new(&all, &m, task, &config);
}

/* C-26 */
START_TEST(without_a_wish_only_worker_events_are_sent_and_tasks_can_be_asked_for)
{
	struct events *e = begin();

	ck_assert(e->is_enabled && !events_has_tasks(e) && !events_disable(e));
	ck_assert(events_enable(e) && events_has_tasks(e));
	ck_assert(!events_enable(e));
	ck_assert(events_disable(e) && !events_has_tasks(e));
	end();
	ck_assert(!events_has_tasks(NULL));
}
END_TEST

/* C-26 */
START_TEST(with_e_there_is_no_filter_to_change)
{
	config.worker_send_task_events = true;
	struct events *e = begin();

	ck_assert(events_has_tasks(e));
	ck_assert(!events_enable(e) && !events_disable(e));
	ck_assert(events_has_tasks(e));
	end();
}
END_TEST

START_TEST(with_nothing_to_send_asking_changes_nothing)
{
	config.without_gossip = config.without_heartbeat = true;
	struct events *e = begin();

	ck_assert(!e->is_enabled && events_enable(e) && !events_has_tasks(e));
	events_node(e, "worker-online", &(struct event_node){.sw_ident = "x"});
	ck_assert_uint_eq(lamport.value, 0);
	end();
}
END_TEST

START_TEST(events_of_a_turn_go_together)
{
	config.worker_send_task_events = true;
	struct events *e = begin();
	struct request *r = make(&plain_entry, "(1,)");

	events_received(e, r);
	events_started(e, r);
	ck_assert_uint_eq(e->batch_count, 2);
	ck_assert_ptr_nonnull(strstr(e->batch.data, "[{\"hostname\": \"w1@h\""));
	ck_assert_ptr_nonnull(strstr(e->batch.data, "\"args\": \"(1,)\""));
	ck_assert_ptr_nonnull(strstr(e->batch.data, "\"type\": \"task-received\"}, {"));
	uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_uint_eq(e->batch_count, 0);
	ck_assert_uint_gt(e->waiting_bytes, 0); /* held: there is no connection */
	ck_assert_uint_eq(lamport.value, 2);
	end();
}
END_TEST

START_TEST(what_an_author_calls_secret_is_not_told)
{
	config.worker_send_task_events = true;
	struct events *e = begin();

	events_received(e, make(&secret_entry, "('s3cret',)"));
	ck_assert_ptr_null(strstr(e->batch.data, "s3cret"));
	ck_assert_ptr_nonnull(strstr(e->batch.data, "\"args\": \"***\", \"kwargs\": \"***\""));
	end();
}
END_TEST

START_TEST(what_waits_is_bounded_and_the_rest_counted)
{
	config.worker_send_task_events = true;
	struct events *e = begin();
	char *large = mem_alloc(100001);

	memset(large, 'x', 100000);
	large[100000] = '\0';
	struct request *r = make(&plain_entry, large);

	for (int i = 0; i < 300; i++)
		events_received(e, r);
	ck_assert_uint_le(e->waiting_bytes, EVENTS_WAITING_MAX);
	ck_assert_uint_gt(e->waiting_bytes, EVENTS_WAITING_MAX - 200000);
	ck_assert_uint_gt(e->dropped, 100);
	ck_assert_uint_lt(e->dropped, 200);
	events_started(e, r); /* a small one still fits or is counted: nothing breaks */
	events_flush(e);
	free(large);
	end();
}
END_TEST

START_TEST(one_that_is_too_large_leaves_the_others_whole)
{
	config.worker_send_task_events = true;
	struct events *e = begin();
	size_t len = EVENTS_WAITING_MAX / 6 + 1;
	char *large = mem_alloc(len + 1);

	memset(large, '"', len);
	large[len] = '\0';
	events_started(e, make(&plain_entry, "()"));
	events_received(e, make(&plain_entry, large));
	events_started(e, make(&plain_entry, "()"));
	ck_assert_uint_eq(e->dropped, 1);
	ck_assert_uint_eq(e->batch_count, 2);
	str_addc(&e->batch, ']');
	json_t *batch = json_loads(e->batch.data, 0, NULL);

	ck_assert_uint_eq(json_array_size(batch), 2);
	json_decref(batch);
	free(large);
	end();
}
END_TEST
