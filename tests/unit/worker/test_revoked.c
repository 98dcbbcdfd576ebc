#include <check.h>
#include <stdio.h>
#include <string.h>

#include "protocol/pyjson.h"
#include "worker/request/revoked.h"
#include "worker/request/stamp.h"

static json_t *json(const char *text)
{
	json_t *value = pyjson_load(text, strlen(text), NULL);

	ck_assert_ptr_nonnull(value);
	return value;
}

/* The ids, comma separated. */
static void holds(const struct revoked *r, const char *expected)
{
	json_auto_t *list = revoked_list(r);
	auto_str text = STR_INIT(4096);

	for (size_t i = 0; i < json_array_size(list); i++)
		str_addf(&text, "%s%s", i ? "," : "", json_string_value(json_array_get(list, i)));
	ck_assert_str_eq(text.data ? text.data : "", expected);
}

START_TEST(ids_are_listed_oldest_first_and_an_id_again_is_the_newest)
{
	struct revoked r;

	revoked_init(&r, 10, 100);
	ck_assert(!revoked_has(&r, "a"));
	revoked_add(&r, "a");
	revoked_add(&r, "b");
	revoked_add(&r, "a");
	holds(&r, "b,a");
	ck_assert(revoked_has(&r, "a"));
	ck_assert(!revoked_has(&r, "c"));
	revoked_clear(&r);
}
END_TEST

START_TEST(above_the_maximum_the_oldest_goes)
{
	struct revoked r;
	char id[16];

	revoked_init(&r, 3, 100);
	for (int i = 0; i < 8; i++) {
		snprintf(id, sizeof(id), "%d", i);
		revoked_add(&r, id);
	}
	holds(&r, "5,6,7");
	revoked_clear(&r);
}
END_TEST

/* As LimitedSet does it. */
START_TEST(what_has_expired_goes_when_the_set_is_full_or_purged)
{
	struct revoked r;

	revoked_init(&r, 4, 100);
	revoked_add_aged(&r, "old", 200 * 1000000LL);
	revoked_add_aged(&r, "older", 101 * 1000000LL);
	revoked_add(&r, "new");
	holds(&r, "old,older,new");
	revoked_add(&r, "full");
	holds(&r, "new,full");
	revoked_clear(&r);
	revoked_init(&r, 0, 100);
	revoked_add_aged(&r, "old", 200 * 1000000LL);
	revoked_add(&r, "new");
	revoked_purge(&r);
	holds(&r, "new");
	revoked_clear(&r);
	revoked_init(&r, 0, 0);
	revoked_add_aged(&r, "old", 200 * 1000000LL);
	revoked_purge(&r);
	holds(&r, "old");
	revoked_clear(&r);
}
END_TEST

START_TEST(the_bytes_are_bounded_whatever_the_number)
{
	static char id[(1 << 20) + 1];
	struct revoked r;

	revoked_init(&r, 0, 0);
	memset(id, 'x', sizeof(id) - 1);
	for (int i = 0; i < 100; i++) {
		snprintf(id, sizeof(id), "%d", i);
		id[strlen(id)] = 'x';
		revoked_add(&r, id);
		ck_assert_uint_le(r.ids.bytes, REVOKED_BYTES_MAX);
	}
	ck_assert(revoked_has(&r, id));
	ck_assert_uint_le(revoked_count(&r), REVOKED_BYTES_MAX >> 20);
	revoked_clear(&r);
}
END_TEST

/* Quadratic work would take minutes. */
START_TEST(fifty_thousand_ids_cost_little) /* timeout 20 */
{
	struct revoked r;
	char id[16];

	revoked_init(&r, REVOKED_MAX, REVOKED_EXPIRES_S);
	for (int i = 0; i < 200000; i++) {
		snprintf(id, sizeof(id), "id-%d", i);
		revoked_add(&r, id);
		ck_assert(revoked_has(&r, id));
	}
	ck_assert_uint_eq(revoked_count(&r), REVOKED_MAX);
	ck_assert(!revoked_has(&r, "id-149999"));
	ck_assert(revoked_has(&r, "id-150000"));
	revoked_clear(&r);
}
END_TEST

START_TEST(every_form_that_another_worker_sends_is_merged)
{
	static const struct {
		const char *text, *expected;
	} rows[] = {
		{"[\"a\", \"b\"]", "a,b"},
		{"{\"a\": 12.5, \"b\": 13.5}", "a,b"},
		{"{\"a\": 12}", "a"},
		{"{\"a\": [2916.89, \"a\"]}", "a"},
		{"[\"a\", 5, null, [\"b\"]]", "a"},
		{"[]", ""},
		{"{}", ""},
		{"null", ""},
		{"\"a\"", ""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct revoked r;
		json_auto_t *ids = json(rows[i].text);

		revoked_init(&r, 10, 100);
		revoked_merge(&r, ids);
		holds(&r, rows[i].expected);
		revoked_clear(&r);
	}
}
END_TEST

static bool is_stamped(struct revoked *r, const char *headers, const char *stamps,
		       const char *expected)
{
	auto_str why = STR_INIT(4096);
	bool found = revoked_by_stamps(r, headers, stamps, &why);

	ck_assert_str_eq(why.data ? why.data : "", expected);
	return found;
}

START_TEST(a_task_is_revoked_by_any_of_its_stamps)
{
	struct revoked r;
	json_auto_t *abc = json("\"abc\"");
	json_auto_t *one = json("1");
	json_auto_t *none = json("null");

	revoked_init(&r, 10, 100);
	ck_assert(!is_stamped(&r, "[\"st\"]", "{\"st\": \"abc\"}", ""));
	revoked_add_stamp(&r, "st", abc);
	revoked_add_stamp(&r, "n", one);
	revoked_add_stamp(&r, "z", none);
	ck_assert(is_stamped(&r, "[\"st\"]", "{\"st\": \"abc\"}", "{'st': 'abc'}"));
	ck_assert(is_stamped(&r, "[\"x\", \"st\"]", "{\"x\": 1, \"st\": [\"q\", \"abc\"]}",
			     "{'st': 'abc'}"));
	ck_assert(is_stamped(&r, "[\"n\"]", "{\"n\": true}", "{'n': True}"));
	ck_assert(is_stamped(&r, "[\"n\"]", "{\"n\": 1.0}", "{'n': 1.0}"));
	ck_assert(!is_stamped(&r, "[\"n\"]", "{\"n\": \"1\"}", ""));
	ck_assert(!is_stamped(&r, "[\"st\"]", "{\"st\": \"ab\"}", ""));
	ck_assert(!is_stamped(&r, "[\"st\"]", "{\"st\": [[\"abc\"]]}", ""));
	/* Named, but missing or null; or there, but not named. */
	ck_assert(!is_stamped(&r, "[\"st\"]", "{\"y\": \"abc\"}", ""));
	ck_assert(!is_stamped(&r, "[\"z\"]", "{\"z\": null}", ""));
	ck_assert(!is_stamped(&r, "[\"y\"]", "{\"st\": \"abc\"}", ""));
	ck_assert(!is_stamped(&r, NULL, "{\"st\": \"abc\"}", ""));
	ck_assert(!is_stamped(&r, "[\"st\"]", NULL, ""));
	ck_assert(!is_stamped(&r, "[5, null]", "[1]", ""));
	revoked_clear(&r);
}
END_TEST

START_TEST(values_that_python_takes_for_equal_are_one)
{
	static const struct {
		const char *a, *b;
		bool is_equal;
	} rows[] = {
		{"1", "1.0", true},
		{"true", "1", true},
		{"0", "false", true},
		{"null", "0", false},
		{"1.5", "1.5", true},
		{"\"1\"", "1", false},
		{"{\"a\": 1, \"b\": [2]}", "{\"b\": [2.0], \"a\": true}", true},
		{"{\"a\": 1}", "{\"a\": 2}", false},
		{"[1, 2]", "[2, 1]", false},
		{"123456789012345678901234567890", "123456789012345678901234567890", true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_auto_t *a = json(rows[i].a);
		json_auto_t *b = json(rows[i].b);

		ck_assert_msg(stamp_is_equal(a, b) == rows[i].is_equal, "%s %s", rows[i].a,
			      rows[i].b);
	}
}
END_TEST
