#include <check.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "worker/consume/queues.h"
#include "worker/control/control.h"

static char node[] = "w1@h", broker_url[] = "amqp://guest:secret@h//", exchange[] = "celery",
	    type[] = "direct";
static const struct config config = {
	.node_name = node,
	.broker_url = broker_url,
	.broker_read_url = broker_url,
	.broker_write_url = broker_url,
	.task_default_queue = exchange,
	.task_default_exchange = exchange,
	.task_default_exchange_type = type,
	.task_default_routing_key = exchange,
	.task_acks_on_failure = true,
};

static json_t *run(struct sm_job *job)
{
	(void)job;
	return json_null();
}
static const struct sm_task add = {.name = "t.add", .signature = "x, y=1", .run = run};
static const struct sm_task paced = {.name = "t.paced",
				     .signature = "",
				     .run = run,
				     .rate_limit = "10/m",
				     .max_retries = SM_UNLIMITED,
				     .time_limit_s = 7.5};
static const struct sm_task secret = {
	.name = "t.secret", .signature = "token", .run = run, .secrets = SM_NAMES("token")};
static const struct sm_task hidden = {.name = "celery.ping", .signature = "", .run = run};
static const struct sm_plugin plugin = {.abi = SM_ABI,
					.task_size = sizeof(struct sm_task),
					.name = "t",
					.tasks = SM_TASKS(&paced, &secret, &add, &hidden)};

struct world {
	struct registry *registry;
	struct consumer consumer;
	struct control control;
	struct lamport clock;
};

static void world_open(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->registry = registry_new();
	ck_assert_int_eq(registry_add_plugin(w->registry, &plugin, NULL, NULL), 0);
	w->consumer.config = &config;
	w->consumer.registry = w->registry;
	requests_init(&w->consumer.requests);
	limiter_init(&w->consumer.limiter, w->registry);
	revoked_init(&w->consumer.revoked, 0, 0);
	totals_init(&w->consumer.totals, w->registry);
	queues_init(&w->consumer.queues);
	w->control = (struct control){.config = &config,
				      .registry = w->registry,
				      .consumer = &w->consumer,
				      .clock = &w->clock};
}

static void world_close(struct world *w)
{
	requests_clear(&w->consumer.requests);
	limiter_clear(&w->consumer.limiter);
	revoked_clear(&w->consumer.revoked);
	totals_clear(&w->consumer.totals);
	queues_clear(&w->consumer.queues);
	registry_free(w->registry);
}

static struct request *put(struct world *w, const char *task, const char *id, const char *args,
			   enum request_state state)
{
	struct task_message m;

	task_message_init(&m);
	m.protocol = 2;
	m.task = arena_strdup(&m.texts, task);
	m.id = arena_strdup(&m.texts, id);
	m.exchange = "";
	m.routing_key = "celery";
	m.priority = 3;
	m.eta_us = state == REQUEST_WAITING_ETA ? 4102444800000000 : TIME_UNSET;
	m.args = (struct span){args, strlen(args)};
	m.kwargs = (struct span){"{}", 2};
	m.argsrepr = "(shown,)";
	struct request *r =
		request_new(&w->consumer.requests, &m, registry_find(w->registry, task), &config);

	if (state == REQUEST_RUNNING) {
		r->pid = 77;
		r->accepted_wall_us = 1500000000500000;
		r->is_settled = true;
	}
	requests_move(&w->consumer.requests, r, state);
	return r;
}

static void ask(struct world *w, const char *method, const char *arguments, struct str *out)
{
	json_t *name = json_string(method);
	json_t *object = arguments ? pyjson_load(arguments, strlen(arguments), NULL) : NULL;

	ck_assert(control_call(&w->control, name, object, out));
	json_decref(name);
	json_decref(object);
}

static void expect(struct world *w, const char *method, const char *arguments, const char *payload)
{
	auto_str out = STR_INIT(CONTROL_MAX_REPLY);

	ask(w, method, arguments, &out);
	ck_assert_str_eq(out.data, payload);
}

#define RUNNING                                                                                    \
	"\"type\": \"t.add\", \"hostname\": \"w1@h\", \"time_start\": 1500000000.5, "              \
	"\"acknowledged\": true, \"delivery_info\": {\"exchange\": \"\", \"routing_key\": "        \
	"\"celery\", \"priority\": 3, \"redelivered\": false}, \"worker_pid\": 77}"
#define WAITING                                                                                    \
	"\"type\": \"t.add\", \"hostname\": \"w1@h\", \"time_start\": null, "                      \
	"\"acknowledged\": false, \"delivery_info\": {\"exchange\": \"\", \"routing_key\": "       \
	"\"celery\", \"priority\": 3, \"redelivered\": false}, \"worker_pid\": null}"
#define INFO(id, args) "{\"id\": \"" id "\", \"name\": \"t.add\", \"args\": " args ", \"kwargs\": "

/* C-16 */
START_TEST(each_request_is_on_the_list_of_its_state)
{
	struct world w;

	world_open(&w);
	expect(&w, "active", NULL, "[]");
	expect(&w, "reserved", NULL, "[]");
	expect(&w, "dump_schedule", NULL, "[]");
	put(&w, "t.add", "run", "[1, {\"a\": NaN}]", REQUEST_RUNNING);
	put(&w, "t.add", "ready", "[2]", REQUEST_READY);
	put(&w, "t.add", "sent", "[3]", REQUEST_SUBMITTED);
	put(&w, "t.add", "eta", "[4]", REQUEST_WAITING_ETA);
	put(&w, "t.add", "rate", "[5]", REQUEST_WAITING_RATE);
	put(&w, "t.add", "expired", "[6]", REQUEST_FINISHING);
	expect(&w, "active", NULL, "[" INFO("run", "[1, {\"a\": NaN}]") "{}, " RUNNING "]");
	expect(&w, "reserved", NULL,
	       "[" INFO("sent", "[3]") "{}, " WAITING ", " INFO("ready", "[2]") "{}, " WAITING "]");
	expect(&w, "scheduled", NULL,
	       "[{\"eta\": \"2100-01-01T00:00:00+00:00\", \"priority\": 6, \"request\": " INFO(
		       "eta", "[4]") "{}, " WAITING "}]");
	expect(&w, "active", "{\"safe\": 1}", "[" INFO("run", "\"(shown,)\"") "\"\", " RUNNING "]");
	world_close(&w);
}
END_TEST

/* C-16 */
START_TEST(tasks_are_found_by_id)
{
	struct world w;

	world_open(&w);
	put(&w, "t.add", "run", "[1]", REQUEST_RUNNING);
	put(&w, "t.add", "eta", "[2]", REQUEST_WAITING_ETA);
	put(&w, "t.add", "rate", "[5]", REQUEST_WAITING_RATE);
	expect(&w, "query_task", "{\"ids\": [\"eta\", \"nosuch\", 5, \"rate\", \"run\"]}",
	       "{\"eta\": [\"scheduled\", " INFO("eta", "[2]") "{}, " WAITING
							       "], \"run\": [\"active\", " INFO(
								       "run", "[1]") "{}, " RUNNING
										     "]}");
	expect(&w, "query_task", "{\"ids\": \"nosuch\"}", "{}");
	expect(&w, "query_task", "{\"ids\": null}",
	       "{\"error\": \"TypeError(\\\"'NoneType' object is not iterable\\\")\"}");
	expect(&w, "query_task", "{\"ids\": [[]]}",
	       "{\"error\": \"TypeError(\\\"unhashable type: 'list'\\\")\"}");
	expect(&w, "query_task", NULL,
	       "{\"error\": \"TypeError(\\\"query_task() missing 1 required positional argument: "
	       "'ids'\\\")\"}");
	world_close(&w);
}
END_TEST

START_TEST(secret_arguments_are_not_shown)
{
	struct world w;
	auto_str out = STR_INIT(CONTROL_MAX_REPLY);

	world_open(&w);
	put(&w, "t.secret", "s", "[\"hunter2\"]", REQUEST_READY);
	ask(&w, "reserved", NULL, &out);
	ck_assert_ptr_null(strstr(out.data, "hunter2"));
	ck_assert_ptr_nonnull(strstr(out.data, "\"args\": [\"***\"], \"kwargs\": {}"));
	world_close(&w);
}
END_TEST

START_TEST(large_arguments_are_told_by_their_size)
{
	struct world w;
	auto_str out = STR_INIT(CONTROL_MAX_REPLY);
	auto_str args = STR_INIT(1 << 20);

	world_open(&w);
	str_puts(&args, "[\"");
	for (int i = 0; i < 300000; i++)
		str_addc(&args, 'x');
	str_puts(&args, "\"]");
	put(&w, "t.add", "large", args.data, REQUEST_READY);
	expect(&w, "reserved", NULL, "[" INFO("large", "[\"300004 bytes\"]") "{}, " WAITING "]");
	/* Together too much, each of them is told by its size. */
	memcpy(args.data + 200000, "\"]", 3);
	for (int i = 0; i < 60; i++)
		put(&w, "t.add", "medium", args.data, REQUEST_READY);
	ask(&w, "reserved", NULL, &out);
	ck_assert_ptr_nonnull(strstr(out.data, "\"args\": [\"200002 bytes\"], \"kwargs\": {}"));
	ask(&w, "query_task", "{\"ids\": [\"medium\"]}", &out);
	ck_assert_ptr_nonnull(strstr(out.data, "[\"xxxx"));
	world_close(&w);
}
END_TEST

START_TEST(many_thousand_requests_are_told_in_time_or_refused)
{
	struct world w;
	auto_str out = STR_INIT(CONTROL_MAX_REPLY);
	struct timespec from, to;
	char id[40];

	world_open(&w);
	for (int i = 0; i < 65000; i++) {
		snprintf(id, sizeof(id), "00000000-0000-4000-8000-%012d", i);
		put(&w, "t.add", id, "[1, 2]", i < 15000 ? REQUEST_READY : REQUEST_WAITING_ETA);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	ask(&w, "reserved", NULL, &out);
	ck_assert_int_eq(out.data[0], '[');
	ask(&w, "scheduled", NULL, &out);
	ck_assert_str_eq(out.data, "{\"error\": \"OverflowError('the answer is larger than 8323072 "
				   "bytes')\"}");
	ask(&w, "query_task", "{\"ids\": [\"x\"]}", &out);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	double ms =
		(double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;

	printf("three commands over 65,000 requests: %.1f ms\n", ms);
	ck_assert_double_lt(ms, 1000);
	world_close(&w);
}
END_TEST

/* C-17 C-68 */
START_TEST(tasks_are_listed_with_the_attributes_asked_for)
{
	struct world w;

	world_open(&w);
	expect(&w, "registered", NULL, "[\"t.add\", \"t.paced [rate_limit=10/m]\", \"t.secret\"]");
	expect(&w, "dump_tasks", "{\"taskinfoitems\": [], \"builtins\": true}",
	       "[\"celery.ping\", \"t.add\", \"t.paced [rate_limit=10/m]\", \"t.secret\"]");
	expect(&w, "registered",
	       "{\"taskinfoitems\": [\"_app\", \"__class__\", 5, \"max_retries\", \"nosuch\", "
	       "\"time_limit\", \"max_retries\"]}",
	       "[\"t.add [max_retries=3]\", \"t.paced [time_limit=7.5]\", "
	       "\"t.secret [max_retries=3]\"]");
	expect(&w, "registered", "{\"taskinfoitems\": 5}",
	       "{\"error\": \"TypeError(\\\"'int' object is not iterable\\\")\"}");
	limiter_set(&w.consumer.limiter, registry_find(w.registry, "t.add"), 2, "2/s");
	expect(&w, "registered", "{\"taskinfoitems\": [\"rate_limit\", \"acks_late\"]}",
	       "[\"t.add [rate_limit=2/s acks_late=False]\", "
	       "\"t.paced [rate_limit=10/m acks_late=False]\", \"t.secret [acks_late=False]\"]");
	world_close(&w);
}
END_TEST

/* C-15 */
START_TEST(the_clock_is_told_as_a_number)
{
	struct world w;

	world_open(&w);
	w.clock.value = 41;
	expect(&w, "clock", NULL, "{\"clock\": 41}");
	world_close(&w);
}
END_TEST

/* C-32 C-65 */
START_TEST(hello_exchanges_what_was_revoked)
{
	struct world w;

	world_open(&w);
	expect(&w, "hello", "{\"from_node\": \"w1@h\", \"revoked\": [\"own\"]}", "null");
	expect(&w, "hello", "{\"from_node\": \"w2@h\", \"revoked\": [\"a\"]}",
	       "{\"revoked\": [\"a\"], \"clock\": 1}");
	expect(&w, "hello",
	       "{\"from_node\": \"w3@h\", \"revoked\": {\"b\": 12, \"c\": [1.5, \"c\"]}}",
	       "{\"revoked\": [\"a\", \"b\", \"c\"], \"clock\": 2}");
	expect(&w, "revoked", NULL, "[\"a\", \"b\", \"c\"]");
	expect(&w, "hello", NULL,
	       "{\"error\": \"TypeError(\\\"hello() missing 1 required positional argument: "
	       "'from_node'\\\")\"}");
	world_close(&w);
}
END_TEST

START_TEST(unwanted_arguments_are_refused_where_python_does)
{
	struct world w;

	world_open(&w);
	expect(&w, "active_queues", "{\"bogus\": 1}",
	       "{\"error\": \"TypeError(\\\"active_queues() got an unexpected keyword argument "
	       "'bogus'\\\")\"}");
	expect(&w, "objgraph", "{\"num\": 1}",
	       "{\"error\": \"ImportError('Requires the objgraph library')\"}");
	expect(&w, "active_queues", NULL, "[]");
	world_close(&w);
}
END_TEST

START_TEST(memory_samples_are_dumped_once)
{
	struct world w;
	auto_str out = STR_INIT(4096);

	world_open(&w);
	ask(&w, "memsample", NULL, &out);
	ck_assert(strstr(out.data, "MB\"") || strstr(out.data, "KB\""));
	ask(&w, "memdump", NULL, &out);
	ck_assert_ptr_nonnull(strstr(out.data, "- rss (sample):\\n-    > "));
	ask(&w, "memdump", NULL, &out);
	ck_assert_ptr_eq(strstr(out.data, "- rss (end): "), out.data + 1);
	world_close(&w);
}
END_TEST
