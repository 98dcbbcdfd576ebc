/* Any bytes as MessagePack: what is read is JSON within the limit, and written again it is read as
 * the same. Any JSON is written and read again as the same, or refused. */
#include "protocol/msgpack.h"

#include "protocol/pyjson.h"
#include "tests/fuzz/fuzz.h"

#define OUT_MAX ((size_t)1 << 20)

/* Of a value that can be written. */
static void check_round(const json_t *value)
{
	auto_str packed = STR_INIT(STR_MAX_DEFAULT);
	auto_str text = STR_INIT(STR_MAX_DEFAULT);
	auto_str expected = STR_INIT(STR_MAX_DEFAULT);
	struct err err = {0};

	if (msgpack_dump(&packed, value, &err) < 0) {
		fuzz_check(err.text[0]);
		return;
	}
	fuzz_check(pyjson_dump(&expected, value) == 0);
	if (msgpack_load(&text, packed.data, packed.len, &err) < 0) {
		fuzz_check(err.code == ERR_LIMIT);
		return;
	}
	json_t *again = pyjson_load(text.data, text.len, NULL);

	fuzz_check(again);
	str_reset(&text);
	fuzz_check(pyjson_dump(&text, again) == 0);
	/* base64 of bytes that are UTF-8 comes back as their text, and 1e400 as Infinity */
	if (!strstr(expected.data, "base64") && !strchr(expected.data, 'e'))
		fuzz_check(strcmp(text.data, expected.data) == 0);
	json_decref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_str out = STR_INIT(OUT_MAX);
	struct err err = {0};
	json_t *value;

	if (msgpack_load(&out, (const char *)data, size, &err) < 0) {
		fuzz_check_one_line(err.text);
		fuzz_check(err.text[0]);
	} else {
		fuzz_check(out.len <= OUT_MAX);
		value = pyjson_load(out.data, out.len, &err);
		/* A mapping that looks like a tag and is none. */
		fuzz_check(value || strstr(out.data, "__type__"));
		if (value)
			check_round(value);
		json_decref(value);
	}
	value = pyjson_load((const char *)data, size, NULL);
	if (value)
		check_round(value);
	json_decref(value);
	return 0;
}
