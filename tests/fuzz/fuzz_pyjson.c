/* What pyjson_load accepts, pyjson_dump writes and pyjson_load reads back equal; pyjson_scan
 * accepts the same texts; pyjson_repr keeps to its maximum; pyjson_head shows as the whole does. */
#include "protocol/pyjson.h"

#include "protocol/pyjson_impl.h"

#include "base/text.h"
#include "tests/fuzz/fuzz.h"

#define ITEMS 4

/* json_equal of jansson 2.14 cuts keys at a NUL. */
static void check_equal(const json_t *a, const json_t *b)
{
	struct str first, second;

	str_init(&first, STR_MAX_DEFAULT);
	str_init(&second, STR_MAX_DEFAULT);
	fuzz_check(pyjson_dump(&first, a) == 0 && pyjson_dump(&second, b) == 0);
	fuzz_check(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
	for (size_t i = 0; i < first.len; i++)
		fuzz_check((unsigned char)first.data[i] >= 0x20 && first.data[i] < 0x7f);
	str_clear(&first);
	str_clear(&second);
}

static void check_items(enum pyjson_kind kind, const struct pyjson_item *items, size_t count,
			const json_t *value)
{
	fuzz_check((kind == PYJSON_ARRAY) == json_is_array(value));
	if (kind == PYJSON_ARRAY)
		fuzz_check(count == json_array_size(value));
	for (size_t i = 0; i < count && i < ITEMS; i++) {
		json_t *item = pyjson_load(items[i].value.data, items[i].value.len, NULL);

		fuzz_check(item);
		if (kind == PYJSON_ARRAY)
			check_equal(item, json_array_get(value, i));
		json_decref(item);
	}
}

static void check_round_trip(const json_t *value)
{
	struct str text;
	json_t *again;

	str_init(&text, STR_MAX_DEFAULT);
	fuzz_check(pyjson_dump(&text, value) == 0);
	again = pyjson_load(text.data, text.len, NULL);
	fuzz_check(again);
	check_equal(value, again);
	json_decref(again);
	str_clear(&text);
}

static void check_repr(const json_t *value)
{
	static const size_t limits[] = {0, 1, 10, 100};

	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		struct str out;

		str_init(&out, STR_MAX_DEFAULT);
		fuzz_check(pyjson_repr(&out, value, limits[i], (unsigned)i, i % 2) == 0);
		/* Quotes and escapes come on top, and the brackets that are still open. */
		if (limits[i])
			fuzz_check(out.len <= 16 * limits[i] + 4 * PYJSON_MAX_DEPTH);
		str_clear(&out);
	}
}

static void check_head(const char *text, size_t size, const json_t *value)
{
	static const size_t limits[] = {1, 10, 100, 1024};

	for (unsigned i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		struct str head, shown, wanted;

		str_init(&head, STR_MAX_DEFAULT);
		str_init(&shown, STR_MAX_DEFAULT);
		str_init(&wanted, STR_MAX_DEFAULT);
		fuzz_check(pyjson_head(&head, text, size, limits[i], i, i % 2) == 0);
		json_t *part = pyjson_load(head.data, head.len, NULL);

		/* An object that lost its last keys may be a tag now, with a bad value: then
		 * pyjson_repr_text reads the whole. */
		if (part) {
			pyjson_repr(&shown, part, limits[i], i, i % 2);
			pyjson_repr(&wanted, value, limits[i], i, i % 2);
			fuzz_check(strcmp(shown.data, wanted.data) == 0);
		}
		json_decref(part);
		str_clear(&head);
		str_clear(&shown);
		str_clear(&wanted);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pyjson_item items[ITEMS];
	struct err loading = {0}, scanning = {0};
	enum pyjson_kind kind;
	size_t count;
	/* Exactly as long as the text, so that a byte read behind it is found. */
	char *text = malloc(size);
	json_t *value;

	if (size)
		memcpy(text, data, size);
	value = pyjson_load(text, size, &loading);
	fuzz_check((value != NULL) ==
		   (pyjson_scan(text, size, &kind, items, ITEMS, &count, &scanning) == 0));
	fuzz_check_one_line(loading.text);
	fuzz_check_one_line(scanning.text);
	if (value) {
		fuzz_check(loading.text[0] == '\0' && scanning.text[0] == '\0');
		check_items(kind, items, count, value);
		check_round_trip(value);
		check_repr(value);
		check_head(text, size, value);
	} else {
		fuzz_check(loading.text[0] && scanning.text[0]);
	}
	json_decref(value);
	free(text);
	return 0;
}
