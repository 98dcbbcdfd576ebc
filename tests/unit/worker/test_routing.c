#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "worker/routing/routing.h"

static struct routing *make_with(struct routing_options o)
{
	struct err err = {0};
	struct routing *r;

	o.default_queue = o.default_queue ? o.default_queue : "celery";
	o.default_exchange = o.default_exchange ? o.default_exchange : o.default_queue;
	o.default_exchange_type = o.default_exchange_type ? o.default_exchange_type : "direct";
	o.default_routing_key = o.default_routing_key ? o.default_routing_key : o.default_queue;
	r = routing_new(&o, &err);
	ck_assert_msg(r != NULL, "%s", err.text);
	return r;
}

static struct routing *make(const char *queues, const char *routes)
{
	return make_with((struct routing_options){
		.queues = queues, .routes = routes, .creates_missing = true});
}

static void refuses(const char *queues, const char *routes, const char *why)
{
	const struct routing_options o = {.queues = queues,
					  .routes = routes,
					  .default_queue = "celery",
					  .default_exchange = "celery",
					  .default_exchange_type = "direct",
					  .default_routing_key = "celery"};
	struct err err = {0};

	ck_assert_ptr_null(routing_new(&o, &err));
	ck_assert_msg(strstr(err.text, why) != NULL, "%s", err.text);
}

/* Where a task goes that is sent with these, as "exchange|routing_key|declared|priority". */
static void goes(const struct routing *r, const char *task, struct route asked, const char *want)
{
	struct destination to;
	struct err err = {0};
	char text[300];

	ck_assert_msg(routing_send(r, task, &asked, &to, &err) == 0, "%s", err.text);
	snprintf(text, sizeof(text), "%s|%s|%s|%d", to.exchange, to.routing_key,
		 to.declare ? to.declare->name : "-", to.priority);
	ck_assert_str_eq(text, want);
}

START_TEST(without_settings_there_is_the_default_queue)
{
	struct routing *r = make(NULL, NULL);

	ck_assert_str_eq(routing_queue_at(r, 0)->name, "celery");
	ck_assert_ptr_null(routing_queue_at(r, 1));
	ck_assert_ptr_nonnull(routing_queue(r, "celery"));
	ck_assert_ptr_null(routing_queue(r, "other"));
	goes(r, "t", ROUTE_NONE, "|celery|celery|-1");
	goes(r, "t", (struct route){.queue = "other", .priority = 3}, "|other|other|3");
	routing_free(r);
	r = make_with((struct routing_options){.default_queue = "dq",
					       .default_exchange_type = "topic",
					       .default_routing_key = "dq.#",
					       .default_queue_type = "quorum",
					       .max_priority = 7,
					       .creates_missing = true});
	goes(r, "t", ROUTE_NONE, "dq|dq.#|dq|-1");
	ck_assert_str_eq(routing_queue(r, "dq")->def.arguments,
			 "{\"x-queue-type\": \"quorum\", \"x-max-priority\": 7}");
	ck_assert_str_eq(routing_missing(r, "n").arguments, "{\"x-max-priority\": 7}");
	routing_free(r);
}
END_TEST

START_TEST(queues_are_given_as_names_mappings_or_both)
{
	struct routing *r = make("[\"a\", {\"name\": \"b\", \"alias\": \"bee\"}]", NULL);

	ck_assert_str_eq(routing_queue_at(r, 0)->def.exchange, "a");
	ck_assert_str_eq(routing_queue_at(r, 1)->def.exchange, "celery");
	ck_assert_ptr_eq(routing_queue(r, "bee"), routing_queue(r, "b"));
	/* The default queue is not among them, so it is one that is missing. */
	goes(r, "t", ROUTE_NONE, "|celery|celery|-1");
	routing_free(r);
	r = make("{\"a\": {\"exchange\": \"x\"}, \"b\": null}", NULL);
	ck_assert_str_eq(routing_queue_at(r, 0)->def.exchange, "x");
	ck_assert_str_eq(routing_queue_at(r, 0)->def.routing_key, "a");
	ck_assert_str_eq(routing_queue_at(r, 1)->def.exchange, "celery");
	routing_free(r);
	refuses("[\"a\", \"a\"]", NULL, "task_queues: queue 'a' is there twice");
	refuses("[{\"exchange\": \"a\"}]", NULL, "mapping with a 'name'");
	refuses("[7]", NULL, "mapping with a 'name'");
	refuses("{\"a\": \"b\"}", NULL, "queue 'a' must be a mapping");
	refuses("{\"a\": {\"name\": \"b\"}}", NULL, "without a 'name'");
	refuses("[\"\"]", NULL, "is empty");
}
END_TEST

/* T-156 */
START_TEST(routes_are_found_as_celery_finds_them)
{
	struct routing *r =
		make("{\"feeds\": {\"exchange\": \"feeds\", \"exchange_type\": \"topic\", "
		     "\"routing_key\": \"feed.#\"}, \"web\": {\"exchange\": \"web\"}}",
		     "{\"feed.*\": {\"queue\": \"feeds\", \"routing_key\": \"feed.import\"}, "
		     "\"feed.one\": \"web\", \"*.slow\": {\"queue\": \"feeds\", \"priority\": 2}, "
		     "\"only.exchange\": {\"exchange\": \"direct.to\", \"routing_key\": \"k\"}, "
		     "\"only.key\": {\"routing_key\": \"k\"}, \"[a]?.x\": \"exact\"}");

	goes(r, "feed.two", ROUTE_NONE, "feeds|feed.import|feeds|-1");
	goes(r, "feed.one", ROUTE_NONE, "|web|web|-1");			/* a name before patterns */
	goes(r, "feed.slow", ROUTE_NONE, "feeds|feed.import|feeds|-1"); /* the first pattern */
	goes(r, "x.slow", ROUTE_NONE, "feeds|feed.#|feeds|2");
	goes(r, "x.slow", (struct route){.queue = "web", .priority = -1}, "|web|web|2");
	goes(r, "x.slow", (struct route){.routing_key = "feed.z", .priority = 9},
	     "feeds|feed.z|feeds|9");
	goes(r, "only.exchange", ROUTE_NONE, "direct.to|k|-|-1");
	goes(r, "only.key", ROUTE_NONE, "|celery|celery|-1");
	goes(r, "[a]?.x", ROUTE_NONE, "|exact|exact|-1"); /* no '*', so no pattern */
	goes(r, "ab.x", ROUTE_NONE, "|celery|celery|-1");
	goes(r, "else", ROUTE_NONE, "|celery|celery|-1");
	goes(r, "else", (struct route){.exchange = "e", .routing_key = "k", .priority = -1},
	     "e|k|celery|-1");
	goes(r, "else", (struct route){.exchange = "e", .priority = -1}, "|celery|celery|-1");
	goes(r, "else", (struct route){.exchange = "e", .exchange_type = "fanout", .priority = -1},
	     "e||celery|-1");
	routing_free(r);
}
END_TEST

START_TEST(a_queue_with_bindings_only_is_reached_by_its_name)
{
	struct routing *r = make_with((struct routing_options){
		.queues = "[{\"name\": \"m\", \"bindings\": [{\"exchange\": \"e\"}]}]",
		.default_exchange_type = "topic",
		.creates_missing = true});
	struct route asked = {.queue = "m", .priority = -1};

	goes(r, "t", asked, "|m|m|-1");
	asked.exchange_type = "topic";
	goes(r, "t", asked, "|m|m|-1");
	asked.exchange = "e";
	asked.routing_key = "k";
	goes(r, "t", asked, "e|k|m|-1");
	routing_free(r);
}
END_TEST

START_TEST(of_several_routers_the_first_that_knows_counts)
{
	struct routing *r =
		make(NULL, "[{\"a\": \"one\"}, [[\"b*\", \"two\"], [\"bb\", \"three\"]], "
			   "{\"a\": \"four\", \"c\": {}}]");

	goes(r, "a", ROUTE_NONE, "|one|one|-1");
	goes(r, "bb", ROUTE_NONE, "|three|three|-1");
	goes(r, "bx", ROUTE_NONE, "|two|two|-1");
	goes(r, "c", ROUTE_NONE, "|celery|celery|-1");
	routing_free(r);
	refuses(NULL, "[\"proj.routers.Router\"]", "names a router in Python");
	refuses(NULL, "{\"a\": 5}", "must lead to the name of a queue or to a mapping");
	refuses(NULL, "{\"a\": {\"que\": \"x\"}}", "did you mean 'queue'");
	refuses(NULL, "[[\"a\", \"b\"]]", "pairs");
	refuses(NULL, "[7]", "a mapping of task names");
}
END_TEST

START_TEST(a_queue_that_is_not_defined_may_be_refused)
{
	struct routing *r = make_with((struct routing_options){
		.queues = "[\"a\"]", .routes = "{\"t\": \"b\"}", .creates_missing = false});
	struct route asked = ROUTE_NONE;
	struct destination to;
	struct err err = {0};

	ck_assert_int_lt(routing_send(r, "t", &asked, &to, &err), 0);
	ck_assert_str_eq(err.text, "Queue 'b' missing from task_queues");
	asked.queue = "a";
	goes(r, "t", asked, "|a|a|-1");
	routing_free(r);
}
END_TEST

START_TEST(a_broadcast_is_sent_to_its_exchange)
{
	struct routing *r = make("[\"celery\", {\"name\": \"news\", \"broadcast\": true}, "
				 "{\"name\": \"t\", \"exchange\": {\"name\": \"t\", "
				 "\"delivery_mode\": \"transient\"}}]",
				 "{\"tell\": \"news\"}");
	struct route asked = ROUTE_NONE;
	struct exchange_def exchange;
	struct destination to;

	ck_assert_int_eq(routing_send(r, "tell", &asked, &to, NULL), 0);
	ck_assert_str_eq(to.exchange, "news");
	ck_assert_str_eq(to.routing_key, "celery");
	ck_assert_str_eq(to.queue, routing_queue(r, "news")->name);
	ck_assert_ptr_null(to.declare);
	ck_assert_int_eq(to.delivery_mode, 2);
	ck_assert_ptr_eq(destination_exchange(&to, &exchange), &exchange);
	ck_assert_str_eq(exchange.name, "news");
	ck_assert_str_eq(exchange.type, "fanout");
	ck_assert(exchange.is_durable);
	asked.queue = "t";
	ck_assert_int_eq(routing_send(r, "x", &asked, &to, NULL), 0);
	ck_assert_int_eq(to.delivery_mode, 1);
	ck_assert_ptr_null(destination_exchange(&to, &exchange));
	routing_free(r);
}
END_TEST
