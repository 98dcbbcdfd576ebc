#include "protocol/compression.h"
#include "protocol/result.h"

#include "tests/unit/protocol/content_golden.h"

#define SUCCESS "{\"status\": \"SUCCESS\", \"result\": 3, \"task_id\": \"t\"}"

/* The same record whatever the order of its keys. */
static void assert_same_record(const char *text, size_t len, const char *expected)
{
	json_t *a = pyjson_load(text, len, NULL),
	       *b = pyjson_load(expected, strlen(expected), NULL);

	ck_assert_msg(a && b && json_equal(a, b), "%.*s\n%s", (int)len, text, expected);
	json_decref(a);
	json_decref(b);
}

/* T-167 */
START_TEST(what_celery_stores_is_read)
{
	struct golden g;

	golden_open(&g, "tests/golden/content/records.tsv");
	while (golden_next(&g)) {
		auto_str out = STR_INIT(4096);
		struct err err = {0};
		bool is_success = strstr(g.field[0], "SUCCESS");

		ck_assert_msg(result_unpack(&out, g.field[1], g.len[1], NULL, &err) == 0,
			      "line %u: %s", g.number, err.text);
		assert_same_record(out.data, out.len, g.field[0]);
		ck_assert_int_eq(result_state_of(g.field[1], g.len[1]),
				 is_success ? TASK_SUCCESS : TASK_FAILURE);
		ck_assert(!result_is_waiting(g.field[1], g.len[1]));
	}
}
END_TEST

/* T-167 */
START_TEST(a_record_is_packed_as_celery_packs_it)
{
	static const char *const serializers[] = {"json", "msgpack", "yaml"};
	static const char *const names[] = {"gzip", "bzip2", "lzma", "brotli", "zstd", NULL};

	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < 6; k++) {
			const struct content_form form = {
				.serializer = serializer_find(serializers[i]),
				.compression =
					names[k] ? compression_find(names[k], strlen(names[k]))
						 : NULL,
			};
			auto_str record = STR_INIT(4096);
			auto_str out = STR_INIT(4096);

			str_puts(&record, SUCCESS);
			ck_assert_int_eq(result_pack(&record, &form, NULL, NULL), 0);
			if (k == 0)
				ck_assert_mem_eq(record.data,
						 "\0celery-compressed\0application/x-gzip\0x\x9c",
						 40);
			ck_assert_int_eq(result_unpack(&out, record.data, record.len, NULL, NULL),
					 0);
			assert_same_record(out.data, out.len, SUCCESS);
			ck_assert_int_eq(result_state_of(record.data, record.len), TASK_SUCCESS);
		}
}
END_TEST

START_TEST(only_what_is_accepted_is_read)
{
	static const char *const accept[] = {"msgpack", NULL};
	const struct content_options options = {.accept = accept};
	auto_str out = STR_INIT(4096);
	struct err err = {0};

	ck_assert_int_eq(result_unpack(&out, SUCCESS, strlen(SUCCESS), &options, &err), -1);
	ck_assert_str_eq(err.text, "Refusing to deserialize untrusted content of type json "
				   "(application/json)");
	ck_assert_int_eq(result_unpack(&out, "\x80", 1, &options, NULL), 0);
	ck_assert_str_eq(out.data, "{}");
}
END_TEST

START_TEST(what_is_no_record_is_said)
{
	static const struct {
		const char *record;
		size_t len;
	} rows[] = {
		{"", 0},
		{"\0celery-compressed\0", 19},
		{"\0celery-compressed\0application/x-gzip", 37},
		{"\0celery-compressed\0application/x-gzip\0x", 39},
		{"\0celery-compressed\0lz4\0x", 24},
		{"\0", 1},
		{"\x81", 1},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		auto_str out = STR_INIT(4096);
		struct err err = {0};

		ck_assert_int_eq(result_unpack(&out, rows[i].record, rows[i].len, NULL, &err), -1);
		ck_assert(err.text[0]);
		ck_assert_int_eq(result_state_of(rows[i].record, rows[i].len), TASK_PENDING);
	}
}
END_TEST
