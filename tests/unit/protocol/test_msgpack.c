#include "protocol/msgpack.h"

#include "tests/unit/protocol/content_golden.h"

/* Keys that are bytes: a task of Python gets bytes, one here the same text. */
static bool has_key_of_bytes(const char *data, size_t len)
{
	return len > 1 && (unsigned char)data[0] >= 0x81 && (unsigned char)data[0] <= 0x8f &&
	       (unsigned char)data[1] == 0xc4;
}

/* T-34 */
START_TEST(what_python_unpacks_is_read_and_nothing_else)
{
	content_check_loads("tests/golden/content/msgpack-load.tsv", msgpack_load,
			    has_key_of_bytes);
}
END_TEST

/* T-34 */
START_TEST(values_are_written_byte_for_byte_as_python_does)
{
	struct golden g;

	golden_open(&g, "tests/golden/content/msgpack-dump.tsv");
	while (golden_next(&g)) {
		auto_str out = STR_INIT(1 << 20);
		struct err err = {0};
		json_t *value = pyjson_load(g.field[0], g.len[0], NULL);
		int result = msgpack_dump(&out, value, &err);
		bool is_good = g.field[1][0] == '=';

		ck_assert_msg((result == 0) == is_good, "line %u: %s", g.number, err.text);
		if (is_good) {
			ck_assert_msg(out.len == g.len[1] - 2, "line %u", g.number);
			ck_assert_mem_eq(out.data, g.field[1] + 2, out.len);
		}
		json_decref(value);
	}
}
END_TEST

static void assert_comes_back(json_t *value)
{
	auto_str packed = STR_INIT(1 << 22);
	auto_str text = STR_INIT(1 << 22);
	auto_str expected = STR_INIT(1 << 22);

	ck_assert_int_eq(msgpack_dump(&packed, value, NULL), 0);
	ck_assert_int_eq(msgpack_load(&text, packed.data, packed.len, NULL), 0);
	ck_assert_int_eq(pyjson_dump(&expected, value), 0);
	ck_assert_str_eq(text.data, expected.data);
	json_decref(value);
}

START_TEST(long_values_come_back)
{
	json_t *list = json_array(), *map = json_object();
	char *text = calloc(1, 100001);

	for (int i = 0; i < 70000; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		json_array_append_new(list, json_integer(i));
		json_object_set_new(map, key, json_null());
	}
	memset(text, 'x', 100000);
	assert_comes_back(list);
	assert_comes_back(map);
	assert_comes_back(json_string(text));
	assert_comes_back(json_pack("{s:s, s:s}", "__type__", "bytes", "__value__", text));
	free(text);
}
END_TEST

START_TEST(lengths_are_not_believed)
{
	static const char list[] = "\xdd\xff\xff\xff\xff\x01";
	auto_str out = STR_INIT(4096);
	struct err err = {0};

	ck_assert_int_eq(msgpack_load(&out, list, sizeof(list) - 1, &err), -1);
	ck_assert_str_eq(err.text, "msgpack: the data end too early");
	ck_assert_uint_lt(out.cap, 4096);
}
END_TEST

START_TEST(nothing_is_written_beyond_the_limit)
{
	static char nils[3000];
	auto_str out = STR_INIT(4096);
	struct err err = {0};

	memset(nils, 0xc0, sizeof(nils));
	memcpy(nils, "\xdc\x0b\xb5", 3);
	ck_assert_int_eq(msgpack_load(&out, nils, sizeof(nils), &err), -1);
	ck_assert_int_eq(err.code, ERR_LIMIT);
	ck_assert_str_eq(err.text, "msgpack: more than 4096 bytes as JSON");
}
END_TEST

START_TEST(nesting_has_a_limit)
{
	static char deep[1001];
	auto_str out = STR_INIT(8192);
	struct err err = {0};

	memset(deep, 0x91, 1000);
	deep[1000] = 1;
	ck_assert_int_eq(msgpack_load(&out, deep, sizeof(deep), &err), -1);
	ck_assert_int_eq(err.code, ERR_LIMIT);
	str_reset(&out);
	ck_assert_int_eq(msgpack_load(&out, deep + 520, sizeof(deep) - 520, NULL), 0);
}
END_TEST
