#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "worker/consume/queue_info.h"

static json_t *load(const char *text)
{
	return pyjson_load(text, strlen(text), NULL);
}

/* C-18 */
START_TEST(a_queue_is_shown_with_kombus_keys)
{
	struct queue_def def = {.name = "q",
				.exchange = "e",
				.exchange_type = "topic",
				.routing_key = "a.#",
				.arguments = "{\"x-queue-type\": \"quorum\"}"};
	json_t *info = queue_info(&def, NULL);
	auto_str text = STR_INIT(4096);

	pyjson_dump(&text, info);
	ck_assert_str_eq(
		text.data,
		"{\"name\": \"q\", \"exchange\": {\"name\": \"e\", \"type\": \"topic\", "
		"\"arguments\": null, \"durable\": true, \"passive\": false, \"auto_delete\": "
		"false, \"delivery_mode\": null, \"no_declare\": false}, \"routing_key\": "
		"\"a.#\", \"queue_arguments\": {\"x-queue-type\": \"quorum\"}, "
		"\"binding_arguments\": null, \"consumer_arguments\": null, \"durable\": true, "
		"\"exclusive\": false, \"auto_delete\": false, \"no_ack\": false, \"alias\": "
		"null, \"bindings\": [], \"no_declare\": null, \"expires\": null, "
		"\"message_ttl\": null, \"max_length\": null, \"max_length_bytes\": null, "
		"\"max_priority\": null}");
	json_decref(info);
}
END_TEST

/* C-29 */
START_TEST(options_become_arguments)
{
	json_t *options = load("{\"max_priority\": 5, \"expires\": 60.5, \"message_ttl\": 7, "
			       "\"max_length\": 100, \"queue_arguments\": {\"x-a\": true}, "
			       "\"max_length_bytes\": \"bad\", \"bogus\": 1}");
	auto_free char *text = queue_info_arguments(options);

	ck_assert_str_eq(text, "{\"x-a\": true, \"x-expires\": 60500, \"x-message-ttl\": 7000, "
			       "\"x-max-length\": 100, \"x-max-priority\": 5}");
	json_decref(options);
	options = load("{\"queue\": \"q\", \"expires\": null}");
	ck_assert_ptr_null(queue_info_arguments(options));
	json_decref(options);
}
END_TEST

START_TEST(flags_of_queue_and_exchange_are_told_apart)
{
	struct queue_def def = {0};
	json_t *options = load("{\"durable\": false, \"exchange_durable\": true, "
			       "\"queue_auto_delete\": 1}");

	queue_info_flags(&def, NULL);
	ck_assert(!def.is_transient && !def.is_auto_delete && !def.is_exclusive);
	queue_info_flags(&def, options);
	ck_assert(def.is_transient && !def.is_exchange_transient);
	ck_assert(def.is_auto_delete && !def.is_exchange_auto_delete);
	json_decref(options);
	options = load("{\"exclusive\": true}");
	queue_info_flags(&def, options);
	ck_assert(def.is_exclusive && def.is_auto_delete && !def.is_transient);
	json_decref(options);
}
END_TEST
