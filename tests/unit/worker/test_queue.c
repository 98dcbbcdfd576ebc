#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "protocol/pyjson.h"
#include "worker/routing/queue.h"

static const struct queue_defaults defaults = {
	.exchange = "celery", .exchange_type = "direct", .routing_key = "celery"};

static struct queue *read_with(const struct queue_defaults *d, enum queue_form form,
			       const char *options)
{
	json_t *value = pyjson_load(options, strlen(options), NULL);
	struct err err = {0};
	struct queue *q = queue_read("q", value, form, d, &err);

	ck_assert_ptr_nonnull(value);
	json_decref(value);
	ck_assert_msg(q != NULL, "%s: %s", options, err.text);
	return q;
}

static struct queue *read(enum queue_form form, const char *options)
{
	return read_with(&defaults, form, options);
}

static void refuses(const char *options, const char *why)
{
	json_t *value = pyjson_load(options, strlen(options), NULL);
	struct err err = {0};
	struct queue *q = queue_read("q", value, QUEUE_OBJECT, &defaults, &err);

	json_decref(value);
	ck_assert_msg(q == NULL && strstr(err.text, why) != NULL, "%s: %s", options, err.text);
	ck_assert_msg(strstr(err.text, "queue 'q'") != NULL, "%s", err.text);
}

static void shows(const struct queue *q, const char *want)
{
	auto_str text = STR_INIT(65536);

	pyjson_dump(&text, q->info);
	ck_assert_str_eq(text.data, want);
}

/* C-18 */
START_TEST(a_queue_is_shown_with_kombus_keys)
{
	struct queue_def def = {.name = "q",
				.exchange = "e",
				.exchange_type = "topic",
				.routing_key = "a.#",
				.arguments = "{\"x-queue-type\": \"quorum\"}"};
	struct queue *q = queue_new(&def, NULL);

	shows(q, "{\"name\": \"q\", \"exchange\": {\"name\": \"e\", \"type\": \"topic\", "
		 "\"arguments\": null, \"durable\": true, \"passive\": false, \"auto_delete\": "
		 "false, \"delivery_mode\": null, \"no_declare\": false}, \"routing_key\": "
		 "\"a.#\", \"queue_arguments\": {\"x-queue-type\": \"quorum\"}, "
		 "\"binding_arguments\": null, \"consumer_arguments\": null, \"durable\": true, "
		 "\"exclusive\": false, \"auto_delete\": false, \"no_ack\": false, \"alias\": "
		 "null, \"bindings\": [], \"no_declare\": null, \"expires\": null, "
		 "\"message_ttl\": null, \"max_length\": null, \"max_length_bytes\": null, "
		 "\"max_priority\": null}");
	queue_free(q);
}
END_TEST

/* C-29 */
START_TEST(options_become_arguments)
{
	struct queue *q =
		read(QUEUE_REMOTE, "{\"max_priority\": 5, \"expires\": 60.5, \"message_ttl\": 7, "
				   "\"max_length\": 100, \"queue_arguments\": {\"x-a\": true}, "
				   "\"max_length_bytes\": \"bad\", \"bogus\": 1}");

	ck_assert_str_eq(q->def.arguments,
			 "{\"x-a\": true, \"x-expires\": 60500, \"x-message-ttl\": 7000, "
			 "\"x-max-length\": 100, \"x-max-priority\": 5}");
	queue_free(q);
	q = read(QUEUE_REMOTE, "{\"queue\": \"q\", \"expires\": null}");
	ck_assert_ptr_null(q->def.arguments);
	ck_assert_str_eq(q->def.exchange, "q");
	ck_assert_str_eq(q->def.exchange_type, "direct");
	ck_assert_str_eq(q->def.routing_key, "q");
	queue_free(q);
	q = read(QUEUE_REMOTE, "{\"exchange\": \"\", \"exchange_type\": 7, \"exclusive\": 1}");
	ck_assert_str_eq(q->def.exchange, "celery");
	ck_assert(q->def.is_exclusive && q->def.is_auto_delete);
	queue_free(q);
}
END_TEST

START_TEST(flags_of_queue_and_exchange_are_told_apart)
{
	struct queue *q = read(QUEUE_MAPPING, "{}");

	ck_assert(!q->def.is_transient && !q->def.is_auto_delete && !q->def.is_exclusive);
	queue_free(q);
	q = read(QUEUE_MAPPING, "{\"durable\": false, \"exchange\": \"e\", \"exchange_durable\": "
				"true, \"queue_auto_delete\": true}");
	ck_assert(q->def.is_transient && !q->def.is_exchange_transient);
	ck_assert(q->def.is_auto_delete && !q->def.is_exchange_auto_delete);
	queue_free(q);
	q = read(QUEUE_MAPPING, "{\"durable\": false, \"exchange\": \"e\"}");
	ck_assert(q->def.is_transient && q->def.is_exchange_transient);
	queue_free(q);
	q = read(QUEUE_OBJECT, "{\"durable\": false, \"exchange\": \"e\"}");
	ck_assert(q->def.is_transient && !q->def.is_exchange_transient);
	queue_free(q);
	q = read(QUEUE_OBJECT, "{\"exclusive\": true, \"no_declare\": true}");
	ck_assert(q->def.is_exclusive && q->def.is_auto_delete && !q->def.is_transient);
	ck_assert(q->def.is_given);
	queue_free(q);
}
END_TEST

/* What kombu 5.7 and Celery 5.7 make of Queue('q', ...) and {'q': {...}}. */
START_TEST(what_is_missing_is_filled_in_as_celery_does)
{
	static const struct {
		enum queue_form form;
		const char *options, *exchange, *type, *key;
	} cases[] = {
		{QUEUE_OBJECT, "{}", "celery", "direct", "celery"},
		{QUEUE_OBJECT, "{\"exchange\": \"e\"}", "e", "direct", "celery"},
		{QUEUE_OBJECT, "{\"exchange_type\": \"topic\"}", "celery", "direct", "celery"},
		{QUEUE_OBJECT,
		 "{\"exchange\": {\"name\": \"e\", \"type\": \"topic\"}, "
		 "\"routing_key\": \"a.#\"}",
		 "e", "topic", "a.#"},
		{QUEUE_MAPPING, "{}", "celery", "direct", "q"},
		{QUEUE_MAPPING, "{\"exchange\": \"e\", \"exchange_type\": \"fanout\"}", "e",
		 "fanout", "q"},
		{QUEUE_MAPPING, "{\"routing_key\": \"\"}", "celery", "direct", "celery"},
		{QUEUE_MAPPING, "{\"routing_key\": null, \"exchange\": null}", "celery", "direct",
		 "q"},
		{QUEUE_MAPPING, "{\"binding_key\": \"b\", \"routing_key\": \"r\"}", "celery",
		 "direct", "b"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct queue *q = read(cases[i].form, cases[i].options);

		ck_assert_str_eq(q->def.exchange, cases[i].exchange);
		ck_assert_str_eq(q->def.exchange_type, cases[i].type);
		ck_assert_str_eq(q->def.routing_key, cases[i].key);
		queue_free(q);
	}
}
END_TEST

START_TEST(bindings_take_the_place_of_an_exchange)
{
	struct queue *q = read(
		QUEUE_OBJECT,
		"{\"alias\": \"other\", \"bindings\": [{\"exchange\": \"e1\", \"routing_key\": "
		"\"k1\"}, {\"exchange\": {\"name\": \"e2\", \"type\": \"headers\", \"durable\": "
		"false}, \"arguments\": {\"x-match\": \"any\", \"a\": 1}}]}");
	struct binding_def b;

	ck_assert_str_eq(q->alias, "other");
	ck_assert_uint_eq(queue_def_binding_count(&q->def), 2);
	ck_assert(json_is_null(json_object_get(q->info, "exchange")));
	ck_assert_uint_eq(json_array_size(json_object_get(q->info, "bindings")), 2);
	b = queue_def_binding(&q->def, 0);
	ck_assert_str_eq(b.exchange, "e1");
	ck_assert_str_eq(b.exchange_type, "direct");
	ck_assert_str_eq(b.routing_key, "k1");
	b = queue_def_binding(&q->def, 1);
	ck_assert_str_eq(b.exchange_type, "headers");
	ck_assert_str_eq(b.routing_key, "");
	ck_assert_str_eq(b.arguments, "{\"x-match\": \"any\", \"a\": 1}");
	ck_assert(b.is_exchange_transient);
	queue_free(q);
}
END_TEST

START_TEST(a_broadcast_has_a_queue_of_its_own)
{
	struct queue *q = read(QUEUE_OBJECT, "{\"broadcast\": true}");
	struct queue *other = read(QUEUE_MAPPING, "{\"broadcast\": true}");

	ck_assert_str_eq(q->alias, "q");
	ck_assert_int_eq(strncmp(q->name, "bcast.", 6), 0);
	ck_assert_uint_eq(strlen(q->name), 6 + 36);
	ck_assert_str_ne(q->name, other->name);
	ck_assert_str_eq(q->def.exchange, "q");
	ck_assert_str_eq(q->def.exchange_type, "fanout");
	ck_assert_str_eq(q->def.routing_key, "celery");
	ck_assert(q->is_broadcast && q->def.is_private && q->def.is_auto_delete);
	ck_assert(!q->def.is_transient && !q->def.is_exchange_auto_delete);
	ck_assert_str_eq(json_string_value(json_object_get(q->info, "queue")), q->name);
	queue_free(q);
	queue_free(other);
	q = read(QUEUE_OBJECT, "{\"broadcast\": true, \"queue\": \"named\", \"auto_delete\": "
			       "false}");
	ck_assert_str_eq(q->name, "named");
	ck_assert(!q->def.is_private && !q->def.is_auto_delete);
	queue_free(q);
	q = read(QUEUE_OBJECT, "{\"broadcast\": true, \"queue\": \"named\", \"unique\": true}");
	ck_assert_int_eq(strncmp(q->name, "named.", 6), 0);
	queue_free(q);
	/* Strangers cannot make one. */
	q = read(QUEUE_REMOTE, "{\"broadcast\": true}");
	ck_assert(!q->is_broadcast);
	queue_free(q);
}
END_TEST

START_TEST(task_queue_max_priority_holds_where_nothing_else_does)
{
	struct queue_defaults d = defaults;
	struct queue *q;

	d.max_priority = 5;
	q = read_with(&d, QUEUE_MAPPING, "{}");
	ck_assert_str_eq(q->def.arguments, "{\"x-max-priority\": 5}");
	queue_free(q);
	q = read_with(&d, QUEUE_MAPPING, "{\"queue_arguments\": {\"x-max-priority\": 3}}");
	ck_assert_str_eq(q->def.arguments, "{\"x-max-priority\": 3}");
	queue_free(q);
	q = read_with(&d, QUEUE_MAPPING, "{\"max_priority\": 2}");
	ck_assert_str_eq(q->def.arguments, "{\"x-max-priority\": 2}");
	queue_free(q);
}
END_TEST

START_TEST(what_is_wrong_in_settings_is_named)
{
	refuses("{\"exchang\": \"e\"}", "did you mean 'exchange'");
	refuses("{\"exchange\": 5}", "'exchange' must be a text");
	refuses("{\"exchange\": {\"type\": \"topic\"}}", "without name");
	refuses("{\"exchange\": {\"name\": \"e\", \"kind\": \"topic\"}}", "unknown option 'kind'");
	refuses("{\"exchange\": \"e\", \"exchange_type\": \"topc\"}", "'topc' is no type");
	refuses("{\"durable\": \"no\"}", "true or false");
	refuses("{\"expires\": \"1h\"}", "'expires' must be a number");
	refuses("{\"queue_arguments\": [1]}", "'queue_arguments' must be a mapping");
	refuses("{\"bindings\": {}}", "'bindings' must be a list");
	refuses("{\"bindings\": [{\"routing_key\": \"k\"}]}", "needs an exchange");
	refuses("{\"bindings\": [\"e\"]}", "needs an exchange");
	refuses("{\"no_ack\": true}", "no_ack");
	refuses("{\"unique\": true}", "'broadcast: true'");
	refuses("{\"delivery_mode\": 3}", "1 (transient)");
}
END_TEST
