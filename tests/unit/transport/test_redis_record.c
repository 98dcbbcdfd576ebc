/* Records of unacked messages, as kombu and this program write them. */
#include <check.h>
#include <string.h>

#include "transport/redis_record.h"

static void check_mark(const char *message, const char *expected)
{
	auto_str text = STR_INIT(65536), out = STR_INIT(65536);
	struct err err = {0};
	auto_record record;

	str_addf(&text, "[%s, \"\", \"q\"]", message);
	ck_assert_msg(redis_record_read(&record, text.data, text.len, &err) == 0, "%s", err.text);
	redis_record_mark(&out, &record);
	ck_assert_str_eq(out.data, expected);
}

/* C-45 */
START_TEST(a_record_of_kombu_is_read)
{
	const char *text = "[{\"body\": \"e30=\", \"properties\": {\"priority\": 5}}, \"ex\", "
			   "\"k\\u00e9y\"]";
	auto_record record;

	ck_assert_int_eq(redis_record_read(&record, text, strlen(text), NULL), 0);
	ck_assert_str_eq(record.exchange, "ex");
	ck_assert_str_eq(record.key, "k\xc3\xa9y");
	ck_assert_int_eq(record.priority, 5);
	ck_assert_uint_eq(record.message.len, strlen("{\"body\": \"e30=\", \"properties\": "
						     "{\"priority\": 5}}"));
}
END_TEST

START_TEST(odd_priorities_are_taken_as_kombu_takes_them)
{
	static const struct {
		const char *text;
		int priority;
	} all[] = {{"-3", 0}, {"12", 9}, {"9", 9}, {"null", -1}, {"\"x\"", -1}, {"[]", -1}};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		auto_str text = STR_INIT(1000);
		auto_record record;

		str_addf(&text, "[{\"properties\": {\"priority\": %s}}, \"\", \"q\"]", all[i].text);
		ck_assert_int_eq(redis_record_read(&record, text.data, text.len, NULL), 0);
		ck_assert_int_eq(record.priority, all[i].priority);
	}
}
END_TEST

START_TEST(what_is_no_record_is_refused)
{
	static const char *const all[] = {
		"",	"{}",	      "[]",	   "[1, \"\", \"q\"]",
		"[{}]", "[{}, \"\"]", "[{}, \"\"", "[{}, \"\", \"q\", 1]"};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct err err = {0};
		auto_record record;

		ck_assert_int_eq(redis_record_read(&record, all[i], strlen(all[i]), &err), -1);
		ck_assert_int_ne(err.code, ERR_NONE);
	}
}
END_TEST

/* Nothing else of the message changes: numbers and escapes stay as they were written. */
START_TEST(a_message_is_marked_where_kombu_marks_it)
{
	check_mark("{\"body\": \"e30=\", \"headers\": {\"id\": 1.50}, \"properties\": "
		   "{\"delivery_info\": {\"n\": 1E3}, \"x\": \"\\u00e9\"}}",
		   "{\"body\": \"e30=\", \"headers\": {\"redelivered\": true, \"id\": 1.50}, "
		   "\"properties\": {\"delivery_info\": {\"redelivered\": true, \"n\": 1E3}, "
		   "\"x\": \"\\u00e9\"}}");
	check_mark("{\"properties\": {\"delivery_info\": {}}, \"headers\": {}}",
		   "{\"properties\": {\"delivery_info\": {\"redelivered\": true}}, \"headers\": "
		   "{\"redelivered\": true}}");
	check_mark("{\"headers\": {\"redelivered\": false}, \"properties\": {\"delivery_info\": "
		   "{}}}",
		   "{\"headers\": {\"redelivered\": true}, \"properties\": {\"delivery_info\": "
		   "{\"redelivered\": true}}}");
	check_mark("{\"body\": \"e30=\"}", "{\"body\": \"e30=\"}");
}
END_TEST
