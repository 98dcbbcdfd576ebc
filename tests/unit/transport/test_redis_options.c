/* broker_transport_options of a Redis broker, and the names that follow from them. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/redis_keys.h"
#include "transport/redis_options.h"

static void check_key(char *key, const char *expected)
{
	ck_assert_str_eq(key, expected);
	free(key);
}

START_TEST(defaults_are_those_of_kombu)
{
	struct redis_options o = {0};

	ck_assert_int_eq(redis_options_read(&o, NULL, NULL), 0);
	ck_assert(o.visibility_timeout_s == 3600 && o.unacked_mutex_expire_s == 300);
	ck_assert(o.restore_interval_s == 100 && o.restore_limit == 0);
	ck_assert_int_eq(o.order, REDIS_ORDER_ROUND_ROBIN);
	ck_assert_str_eq(o.fanout_prefix, "/{db}.");
	ck_assert(o.fanout_patterns);
	check_key(redis_key(&o, o.unacked_key), "unacked");
	check_key(redis_key(&o, o.unacked_index_key), "unacked_index");
	check_key(redis_key(&o, o.unacked_mutex_key), "unacked_mutex");
	check_key(redis_nodes_key(&o), "smallage.nodes");
	check_key(redis_queue_key(&o, "q", 0), "q");
	check_key(redis_queue_key(&o, "q", 3), "q\x06\x16"
					       "9");
	redis_options_clear(&o);
}
END_TEST

START_TEST(names_and_numbers_are_taken)
{
	struct redis_options o = {0};

	ck_assert_int_eq(
		redis_options_read(
			&o,
			"{\"global_keyprefix\": \"p:\", \"sep\": \"-\", \"priority_steps\": [0, "
			"5], "
			"\"queue_order_strategy\": \"sorted\", \"visibility_timeout\": 7.5, "
			"\"unacked_key\": \"u\", \"fanout_prefix\": false, \"fanout_patterns\": "
			"false, \"unacked_restore_interval\": 2, \"unacked_restore_throttle\": 3, "
			"\"unacked_restore_limit\": 10, \"of_others\": {}}",
			NULL),
		0);
	ck_assert(o.visibility_timeout_s == 7.5 && o.restore_interval_s == 6);
	ck_assert_uint_eq(o.restore_limit, 10);
	ck_assert_int_eq(o.order, REDIS_ORDER_SORTED);
	ck_assert_str_eq(o.fanout_prefix, "");
	check_key(redis_key(&o, o.unacked_key), "p:u");
	check_key(redis_nodes_key(&o), "p:smallage.nodes.u");
	check_key(redis_queue_key(&o, "q", 1), "p:q-5");
	check_key(redis_aside_key(&o, "q"), "p:smallage.rejected.q");
	redis_options_clear(&o);
}
END_TEST

START_TEST(what_makes_no_sense_is_refused_by_name)
{
	static const char *const all[][2] = {
		{"{\"visibility_timeout\": \"x\"}", "visibility_timeout"},
		{"{\"visibility_timeout\": 0.5}", "visibility_timeout"},
		{"{\"priority_steps\": []}", "priority_steps"},
		{"{\"priority_steps\": [3, 0]}", "priority_steps"},
		{"{\"queue_order_strategy\": \"random\"}", "queue_order_strategy"},
		{"{\"global_keyprefix\": 3}", "global_keyprefix"},
		{"{\"unacked_key\": \"\"}", "unacked_key"},
		{"{\"fanout_prefix\": 3}", "fanout_prefix"},
		{"{\"polling_interval\": -1}", "polling_interval"},
		{"{", "broker_transport_options"},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct redis_options o = {0};
		struct err err = {0};

		ck_assert_int_eq(redis_options_read(&o, all[i][0], &err), -1);
		ck_assert_msg(strstr(err.text, all[i][1]) != NULL, "%s", err.text);
		redis_options_clear(&o);
	}
}
END_TEST

/* C-45 C-48 */
START_TEST(priorities_go_to_the_step_that_kombu_chooses)
{
	static const unsigned usual[] = {0, 0, 0, 1, 1, 1, 2, 2, 2, 3};
	struct redis_options o = {0};

	ck_assert_int_eq(redis_options_read(&o, NULL, NULL), 0);
	for (int i = 0; i < 10; i++)
		ck_assert_uint_eq(redis_step_of(&o, i), usual[i]);
	ck_assert_uint_eq(redis_step_of(&o, -1), 0);
	ck_assert_uint_eq(redis_step_of(&o, 200), 3);
	redis_options_clear(&o);
	/* Below the first step it is the last one: an index of -1 in Python. */
	ck_assert_int_eq(redis_options_read(&o, "{\"priority_steps\": [2, 6]}", NULL), 0);
	ck_assert_uint_eq(redis_step_of(&o, 1), 1);
	ck_assert_uint_eq(redis_step_of(&o, 2), 0);
	redis_options_clear(&o);
}
END_TEST
