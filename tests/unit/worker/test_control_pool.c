/* The control commands about the pool, and what `stats` tells of it. */
#include "tests/unit/worker/pool_bench.h"

#include "protocol/pyjson.h"
#include "worker/control/control.h"
#include "worker/control/stats_pool.h"

static char url[] = "amqp://";

struct stand {
	struct bench bench;
	struct config config;
	struct consumer consumer;
	struct control control;
};

static size_t count_undone(void *ctx)
{
	const struct bench *b = ctx;

	return b->run_count - b->done;
}

static void stand_begin(struct stand *s, enum config_pool kind, unsigned concurrency,
			unsigned autoscale_max)
{
	struct pool_options options = {.kind = kind == CONFIG_PREFORK	? POOL_PREFORK
					       : kind == CONFIG_THREADS ? POOL_THREADS
									: POOL_SOLO,
				       .concurrency = concurrency,
				       .max_concurrency = 20};

	memset(s, 0, sizeof(*s));
	begin_with(&s->bench, &options);
	s->config.broker_url = s->config.broker_read_url = s->config.broker_write_url = url;
	s->config.worker_pool = kind;
	s->config.worker_concurrency = concurrency;
	s->config.worker_prefetch_multiplier = 4;
	s->config.autoscale_max = autoscale_max;
	s->config.autoscale_min = autoscale_max > 0 ? concurrency : 0;
	consumer_init(&s->consumer, &s->config, s->bench.registry, &s->bench.loop);
	s->consumer.pool = s->bench.pool;
	s->control.config = &s->config;
	s->control.consumer = &s->consumer;
	if (autoscale_max == 0)
		return;
	s->consumer.autoscale = (struct autoscale){.pool = s->bench.pool,
						   .max = autoscale_max,
						   .min = concurrency,
						   .keepalive_s = 30,
						   .quantity = count_undone,
						   .ctx = &s->bench};
	autoscale_start(&s->consumer.autoscale, &s->bench.loop);
}

static void stand_end(struct stand *s)
{
	autoscale_close(&s->consumer.autoscale);
	eta_close(&s->consumer.eta);
	consumer_clear(&s->consumer);
	end(&s->bench);
}

static void expect(struct stand *s, const char *method, const char *arguments, const char *payload)
{
	struct str out = STR_INIT(CONTROL_MAX_REPLY);
	json_t *name = json_string(method);
	json_t *object = pyjson_load(arguments, strlen(arguments), NULL);

	ck_assert(control_call(&s->control, name, object, &out));
	ck_assert_str_eq(out.data, payload);
	str_clear(&out);
	json_decref(name);
	json_decref(object);
}

static void expect_json(json_t *value, const char *text)
{
	struct str out = STR_INIT(1 << 20);

	pyjson_dump(&out, value);
	ck_assert_str_eq(out.data, text);
	str_clear(&out);
	json_decref(value);
}

#define GROWS	"{\"ok\": \"pool will grow\"}"
#define SHRINKS "{\"ok\": \"pool will shrink\"}"

/* C-27 */
START_TEST(the_pool_is_resized_and_the_prefetch_count_with_it)
{
	struct stand s;

	stand_begin(&s, CONFIG_PREFORK, 2, 0);
	ck_assert_uint_eq(s.consumer.qos_sent, 8);
	expect(&s, "pool_grow", "{}", GROWS);
	expect(&s, "pool_grow", "{\"n\": 2, \"other\": 1}", GROWS);
	ck_assert_uint_eq(pool_size(s.bench.pool), 5);
	ck_assert_uint_eq(s.consumer.qos_sent, 20);
	turn_for(&s.bench, 0.2);
	expect(&s, "pool_shrink", "{}", SHRINKS);
	expect(&s, "pool_shrink", "{\"n\": 2}", SHRINKS);
	ck_assert_uint_eq(pool_size(s.bench.pool), 2);
	ck_assert_uint_eq(s.consumer.qos_sent, 8);
	expect(&s, "pool_shrink", "{\"n\": 2}", SHRINKS);
	ck_assert_uint_eq(s.consumer.qos_sent, 1);
	expect(&s, "pool_shrink", "{\"n\": 1}",
	       "{\"error\": \"ValueError(\\\"Can't shrink pool. All processes busy!\\\")\"}");
	expect(&s, "pool_grow", "{\"n\": 1}", GROWS);
	ck_assert_uint_eq(s.consumer.qos_sent, 4);
	stand_end(&s);
}
END_TEST

START_TEST(numbers_that_are_none_are_refused_as_python_does)
{
	struct stand s;

	stand_begin(&s, CONFIG_PREFORK, 2, 0);
	expect(&s, "pool_grow", "{\"n\": \"2\"}",
	       "{\"error\": \"TypeError(\\\"'str' object cannot be interpreted as an "
	       "integer\\\")\"}");
	expect(&s, "pool_grow", "{\"n\": null}",
	       "{\"error\": \"TypeError(\\\"'NoneType' object cannot be interpreted as an "
	       "integer\\\")\"}");
	expect(&s, "pool_shrink", "{\"n\": []}",
	       "{\"error\": \"TypeError(\\\"unsupported operand type(s) for -: 'list' and "
	       "'int'\\\")\"}");
	expect(&s, "pool_grow", "{\"n\": 9223372036854775807}",
	       "{\"error\": \"ValueError('a pool of 2 cannot grow by 2147483647: at most 20')\"}");
	expect(&s, "pool_grow", "{\"n\": -5}", GROWS);
	expect(&s, "pool_shrink", "{\"n\": -5}", SHRINKS);
	expect(&s, "pool_shrink", "{\"n\": -0.5}", SHRINKS);
	stand_end(&s);
}
END_TEST

/* C-27 */
START_TEST(an_autoscaled_pool_is_sized_by_autoscale_alone)
{
	struct stand s;

	stand_begin(&s, CONFIG_PREFORK, 1, 3);
	ck_assert_uint_eq(s.consumer.qos_sent, 12);
	expect(&s, "pool_grow", "{}",
	       "{\"error\": \"pool_grow is not supported with autoscale. Adjust autoscale range "
	       "instead.\"}");
	expect(&s, "pool_shrink", "{}",
	       "{\"error\": \"pool_shrink is not supported with autoscale. Adjust autoscale range "
	       "instead.\"}");
	expect(&s, "autoscale", "{\"max\": 4, \"min\": 2}",
	       "{\"ok\": \"autoscale now max=4 min=2\"}");
	ck_assert_uint_eq(pool_size(s.bench.pool), 2);
	ck_assert_uint_eq(s.consumer.qos_sent, 16);
	expect(&s, "autoscale", "{\"max\": null}", "{\"ok\": \"autoscale now max=4 min=2\"}");
	expect(&s, "autoscale", "{\"min\": 1}", "{\"ok\": \"autoscale now max=4 min=1\"}");
	expect(&s, "autoscale", "{\"max\": \"5\"}",
	       "{\"error\": \"TypeError(\\\"'<' not supported between instances of 'str' and "
	       "'int'\\\")\"}");
	expect(&s, "autoscale", "{\"min\": -1}",
	       "{\"error\": \"ValueError('the bounds of autoscale are whole numbers')\"}");
	expect(&s, "autoscale", "{\"size\": 1}",
	       "{\"error\": \"TypeError(\\\"autoscale() got an unexpected keyword argument "
	       "'size'\\\")\"}");
	expect_json(stats_autoscaler(&s.control),
		    "{\"max\": 4, \"min\": 1, \"current\": 2, \"qty\": 0}");
	stand_end(&s);
}
END_TEST

START_TEST(autoscale_needs_the_option)
{
	struct stand s;

	stand_begin(&s, CONFIG_PREFORK, 1, 0);
	expect(&s, "autoscale", "{\"max\": 4, \"min\": 2}",
	       "{\"error\": \"ValueError('Autoscale not enabled')\"}");
	ck_assert_ptr_null(stats_autoscaler(&s.control));
	stand_end(&s);
}
END_TEST

/* C-28 */
START_TEST(a_restart_needs_the_setting)
{
	struct stand s;

	stand_begin(&s, CONFIG_PREFORK, 2, 0);
	expect(&s, "pool_restart", "{\"reload\": false}",
	       "{\"error\": \"ValueError('Pool restarts not enabled')\"}");
	s.config.worker_pool_restarts = true;
	expect(&s, "pool_restart", "{\"reload\": false}", "{\"ok\": \"reload started\"}");
	expect(&s, "pool_restart", "{\"modules\": [\"m\"]}",
	       "{\"error\": \"ValueError('modules cannot be loaded anew; restart the worker')\"}");
	turn_for(&s.bench, 0.3);
	ck_assert_ptr_nonnull(strstr(s.bench.notices.data, "pool restarted"));
	stand_end(&s);
}
END_TEST

START_TEST(other_pools_have_no_size_to_change)
{
	static const enum config_pool kinds[] = {CONFIG_THREADS, CONFIG_SOLO};

	for (int i = 0; i < 2; i++) {
		struct stand s;

		stand_begin(&s, kinds[i], 2, 0);
		expect(&s, "pool_grow", "{\"n\": 1}",
		       "{\"error\": \"AttributeError(\\\"'TaskPool' object has no attribute "
		       "'grow'\\\")\"}");
		expect(&s, "pool_shrink", "{\"n\": 1}",
		       "{\"error\": \"AttributeError(\\\"'TaskPool' object has no attribute "
		       "'shrink'\\\")\"}");
		s.config.worker_pool_restarts = true;
		expect(&s, "pool_restart", "{}", "{\"ok\": \"reload started\"}");
		stand_end(&s);
	}
}
END_TEST

START_TEST(stats_of_prefork_have_celerys_keys)
{
	auto_free char *text = NULL;
	struct pool_process one, two;
	struct stand s;

	stand_begin(&s, CONFIG_PREFORK, 2, 0);
	s.config.task_soft_time_limit = 2.5;
	s.config.task_time_limit = 30;
	for (int i = 0; i < 4; i++)
		submit(&s.bench, "t.sleep", "[0.05]");
	turn_until(&s.bench, is_all_done, 8);
	ck_assert(pool_process_at(s.bench.pool, 0, &one));
	ck_assert(pool_process_at(s.bench.pool, 1, &two));
	ck_assert_uint_eq(one.written, 2);
	text = mem_printf("{\"implementation\": \"celery.concurrency.prefork:TaskPool\", "
			  "\"max-concurrency\": 2, \"processes\": [%d, %d], "
			  "\"max-tasks-per-child\": \"N/A\", \"put-guarded-by-semaphore\": false, "
			  "\"timeouts\": [2.5, 30], \"writes\": {\"total\": 4, \"avg\": \"0.50\", "
			  "\"all\": \"0.50, 0.50\", \"raw\": \"2, 2\", \"strategy\": \"fair\", "
			  "\"inqueues\": {\"total\": 2, \"active\": 0}}}",
			  one.pid, two.pid);
	expect_json(stats_pool(&s.control), text);
	stand_end(&s);
}
END_TEST

START_TEST(stats_of_a_new_pool_have_no_writes)
{
	struct stand s;
	json_t *stats;

	stand_begin(&s, CONFIG_PREFORK, 2, 8);
	s.config.worker_max_tasks_per_child = 7;
	stats = stats_pool(&s.control);
	ck_assert_int_eq(json_integer_value(json_object_get(stats, "max-tasks-per-child")), 7);
	ck_assert_int_eq(json_integer_value(json_object_get(stats, "max-concurrency")), 2);
	expect_json(json_incref(json_object_get(stats, "writes")),
		    "{\"total\": 0, \"avg\": \"0.00\", \"all\": \"\", \"raw\": \"\", "
		    "\"strategy\": \"fair\", \"inqueues\": {\"total\": 0, \"active\": 0}}");
	json_decref(stats);
	stand_end(&s);
}
END_TEST

START_TEST(stats_of_the_other_pools_have_celerys_keys)
{
	auto_free char *text = NULL;
	struct stand s;

	stand_begin(&s, CONFIG_THREADS, 3, 0);
	expect_json(stats_pool(&s.control),
		    "{\"implementation\": \"celery.concurrency.thread:TaskPool\", "
		    "\"max-concurrency\": 3, \"threads\": 3}");
	stand_end(&s);
	stand_begin(&s, CONFIG_SOLO, 3, 0);
	text = mem_printf("{\"implementation\": \"celery.concurrency.solo:TaskPool\", "
			  "\"max-concurrency\": 1, \"processes\": [%d], "
			  "\"max-tasks-per-child\": null, \"put-guarded-by-semaphore\": true, "
			  "\"timeouts\": []}",
			  getpid());
	expect_json(stats_pool(&s.control), text);
	stand_end(&s);
}
END_TEST
