/* What others wrote into Redis: a member of a binding set, a routing key, and a record of the hash
 * of unacked messages. What is read of a record and written again says the same, marked or not; a
 * queue that a member names is a part of the member; a binding of ours matches its own key. */
#include "base/mem.h"
#include "protocol/pyjson.h"
#include "tests/fuzz/fuzz.h"
#include "transport/redis_binding.h"
#include "transport/redis_record.h"

static void check_binding(const char *member, size_t len, const char *key)
{
	static const char *const types[] = {NULL, "direct", "topic"};
	struct redis_options o;
	struct err err = {0};
	struct span queue;

	fuzz_check(redis_options_read(&o, NULL, &err) == 0);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (redis_binding_matches(member, len, &o, types[i], key, &queue))
			fuzz_check(queue.data >= member && queue.len <= len &&
				   queue.data + queue.len <= member + len);

	struct str own = STR_INIT(STR_MAX_DEFAULT);

	if (strstr(key, o.separator) == NULL &&
	    redis_binding_write(&own, &o, "direct", key, "a queue") == 0) {
		fuzz_check(redis_binding_matches(own.data, own.len, &o, "direct", key, &queue));
		fuzz_check(queue.len == 7 && memcmp(queue.data, "a queue", 7) == 0);
	}
	str_clear(&own);
	redis_options_clear(&o);
}

static void check_again(const struct redis_record *record, const char *message, size_t len)
{
	struct str text = STR_INIT(STR_MAX_DEFAULT);
	struct err err = {0};

	str_addc(&text, '[');
	str_add(&text, message, len);
	str_addc(&text, ',');
	pyjson_dump_str(&text, record->exchange, strlen(record->exchange));
	str_addc(&text, ',');
	pyjson_dump_str(&text, record->key, strlen(record->key));
	str_addc(&text, ']');

	auto_record again;

	fuzz_check(redis_record_read(&again, text.data, text.len, &err) == 0);
	fuzz_check(strcmp(again.exchange, record->exchange) == 0);
	fuzz_check(strcmp(again.key, record->key) == 0);
	fuzz_check(again.priority == record->priority);
	str_clear(&text);
}

static void check_record(const char *data, size_t len)
{
	struct str marked = STR_INIT(STR_MAX_DEFAULT);
	struct err err = {0};
	auto_record record;

	if (redis_record_read(&record, data, len, &err) < 0) {
		fuzz_check_one_line(err.text);
		return;
	}
	fuzz_check(record.message.data > data &&
		   record.message.data + record.message.len < data + len);
	fuzz_check(record.priority >= -1 && record.priority <= 9);
	check_again(&record, record.message.data, record.message.len);
	redis_record_mark(&marked, &record);
	check_again(&record, marked.data, marked.len);
	str_clear(&marked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t member_len;
	char *member = fuzz_line(&data, &size, &member_len);
	char *key = fuzz_line(&data, &size, NULL);

	check_binding(member, member_len, key);
	check_record((const char *)data, size);
	free(member);
	free(key);
	return 0;
}
