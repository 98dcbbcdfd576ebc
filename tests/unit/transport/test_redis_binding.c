#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/redis_binding.h"

#define SEP "\x06\x16"

static bool goes(const struct redis_options *o, const char *member, const char *type,
		 const char *key, const char *queue)
{
	struct span got;

	return redis_binding_matches(member, strlen(member), o, type, key, &got) &&
	       got.len == strlen(queue) && memcmp(got.data, queue, got.len) == 0;
}

static void open_options(struct redis_options *o, const char *json)
{
	struct err err = {0};

	ck_assert_msg(redis_options_read(o, json, &err) == 0, "%s", err.text);
}

START_TEST(keys_and_members_are_those_of_kombu)
{
	static const struct {
		const char *type, *key, *queue, *member;
	} cases[] = {
		{"direct", "celery", "celery", "celery" SEP SEP "celery"},
		{NULL, "celery", "celery", "celery" SEP SEP "celery"},
		{"fanout", "", "w1@vm.celery.pidbox", SEP SEP "w1@vm.celery.pidbox"},
		{"topic", "a.*.c", "q", "a.*.c" SEP "^a\\.[^\\.]+\\.c$" SEP "q"},
	};
	struct redis_options o = {0};
	char *key;

	open_options(&o, "{\"global_keyprefix\": \"app:\"}");
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		auto_str out = STR_INIT(1000);

		ck_assert_int_eq(
			redis_binding_write(&out, &o, cases[i].type, cases[i].key, cases[i].queue),
			0);
		ck_assert_str_eq(out.data, cases[i].member);
	}
	key = redis_binding_key(&o, "celery");
	ck_assert_str_eq(key, "app:_kombu.binding.celery");
	free(key);
	key = redis_binding_permanent_key(&o, "celery");
	ck_assert_str_eq(key, "app:_kombu.binding_permanent.celery");
	free(key);
	redis_options_clear(&o);
}
END_TEST

/* C-53 C-74 */
START_TEST(a_message_goes_where_the_member_says)
{
	static const char topic[] = "a.*.c" SEP "^a\\.[^\\.]+\\.c$" SEP "q";
	static const char old[] = "a.*.c" SEP "^a\\..*?[^\\.]\\.c$" SEP "q";
	static const char strange[] = "a.*" SEP "^(a|b)$" SEP "q";
	struct redis_options o = {0};

	open_options(&o, NULL);
	ck_assert(goes(&o, "k" SEP SEP "q", "direct", "k", "q"));
	ck_assert(!goes(&o, "k" SEP SEP "q", "direct", "kk", "q"));
	ck_assert(goes(&o, "k" SEP SEP "q", NULL, "k", "q"));
	ck_assert(goes(&o, SEP SEP "q", "fanout", "anything", "q"));
	ck_assert(goes(&o, topic, "topic", "a.b.c", "q"));
	ck_assert(goes(&o, topic, NULL, "a.b.c", "q"));
	ck_assert(!goes(&o, topic, "topic", "a.b.b.c", "q"));
	ck_assert(goes(&o, old, "topic", "a.b.c", "q"));
	ck_assert(goes(&o, old, "topic", "a.b.b.c", "q"));
	/* Who declared it as direct sees no patterns. */
	ck_assert(!goes(&o, topic, "direct", "a.b.c", "q"));
	ck_assert(goes(&o, topic, "direct", "a.*.c", "q"));
	ck_assert(goes(&o, strange, "topic", "a.b", "q"));
	ck_assert(!goes(&o, "k" SEP "q", "direct", "k", "q"));
	ck_assert(!goes(&o, "k" SEP SEP, "direct", "k", ""));
	ck_assert(!goes(&o, "", "direct", "", ""));
	redis_options_clear(&o);
}
END_TEST

START_TEST(exchanges_that_only_rabbitmq_has_are_refused)
{
	struct err err = {0};

	ck_assert_int_eq(redis_exchange_type_check("x", NULL, &err), 0);
	ck_assert_int_eq(redis_exchange_type_check("x", "topic", &err), 0);
	ck_assert_int_eq(redis_exchange_type_check("x", "headers", &err), -1);
	ck_assert_str_eq(err.text, "exchange 'x': type headers exists on RabbitMQ only; on Redis "
				   "use direct, topic or fanout");
}
END_TEST

/* C-49 */
START_TEST(channels_are_those_of_kombu)
{
	static const struct {
		const char *options, *exchange, *key, *channel, *wanted;
		bool is_pattern;
	} cases[] = {
		{NULL, "celery.pidbox", "", "/3.celery.pidbox", "/3.celery.pidbox", false},
		{NULL, "celeryev", "worker.heartbeat", "/3.celeryev/worker.heartbeat",
		 "/3.celeryev/worker.heartbeat", false},
		{NULL, "celeryev", "worker.#", "/3.celeryev/worker.#", "/3.celeryev/worker.*",
		 true},
		{NULL, "ev[1]", "#", "/3.ev[1]/#", "/3.ev\\[1\\]/*", true},
		{NULL, "ev[1]", "a?", "/3.ev[1]/a?", "/3.ev[1]/a?", false},
		{"{\"fanout_prefix\": false}", "celeryev", "#", "celeryev/#", "celeryev/*", true},
		{"{\"fanout_patterns\": false}", "celeryev", "#", "/3.celeryev", "/3.celeryev",
		 false},
		{"{\"fanout_prefix\": \"/x{db}y{db}.\", \"global_keyprefix\": \"app:\"}", "e", "",
		 "app:/x3y3.e", "app:/x3y3.e", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct redis_options o = {0};
		bool is_pattern;

		open_options(&o, cases[i].options);
		auto_free char *channel = redis_channel(&o, 3, cases[i].exchange, cases[i].key);
		auto_free char *wanted =
			redis_channel_wanted(&o, 3, cases[i].exchange, cases[i].key, &is_pattern);
		ck_assert_str_eq(channel, cases[i].channel);
		ck_assert_str_eq(wanted, cases[i].wanted);
		ck_assert_int_eq(is_pattern, cases[i].is_pattern);
		redis_options_clear(&o);
	}
}
END_TEST
