/*
 * What a serializer other than JSON holds to. Any bytes: what is read is JSON within the limit, and
 * written again it is read as the same. Any JSON is written and read again as the same, or refused.
 */
#ifndef TESTS_FUZZ_SERIALIZER_H
#define TESTS_FUZZ_SERIALIZER_H

#include "protocol/pyjson.h"
#include "tests/fuzz/fuzz.h"

struct serializer {
	int (*load)(struct str *out, const char *data, size_t len, struct err *err);
	int (*dump)(struct str *out, const json_t *value, struct err *err);
	const char *excused; /* stands in the error when it cannot read what it wrote; or NULL */
};

#define OUT_MAX ((size_t)1 << 20)

/* Of a value that can be written. */
static void check_round(const struct serializer *serializer, const json_t *value)
{
	auto_str packed = STR_INIT(STR_MAX_DEFAULT);
	auto_str text = STR_INIT(STR_MAX_DEFAULT);
	auto_str expected = STR_INIT(STR_MAX_DEFAULT);
	struct err err = {0};

	if (serializer->dump(&packed, value, &err) < 0) {
		fuzz_check(err.text[0]);
		return;
	}
	fuzz_check(pyjson_dump(&expected, value) == 0);
	if (serializer->load(&text, packed.data, packed.len, &err) < 0) {
		fuzz_check(err.code == ERR_LIMIT ||
			   (serializer->excused && strstr(err.text, serializer->excused)));
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

static void serializer_check(const struct serializer *serializer, const uint8_t *data, size_t size)
{
	auto_str out = STR_INIT(OUT_MAX);
	struct err err = {0};
	json_t *value;

	if (serializer->load(&out, (const char *)data, size, &err) < 0) {
		fuzz_check_one_line(err.text);
		fuzz_check(err.text[0]);
	} else {
		fuzz_check(out.len <= OUT_MAX);
		value = pyjson_load(out.data, out.len, &err);
		/* A mapping that looks like a tag and is none. */
		fuzz_check(value || strstr(out.data, "__type__"));
		if (value)
			check_round(serializer, value);
		json_decref(value);
	}
	value = pyjson_load((const char *)data, size, NULL);
	if (value)
		check_round(serializer, value);
	json_decref(value);
}

#endif
