#include "base/map.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static int values[1000];

static struct map *map_of_numbers(int count)
{
	struct map *map = map_new();
	char key[16];

	for (int i = 0; i < count; i++) {
		(void)snprintf(key, sizeof(key), "key-%d", i);
		values[i] = i;
		ck_assert_ptr_null(map_put(map, key, &values[i]));
	}
	return map;
}

START_TEST(what_was_put_is_found)
{
	struct map *map = map_of_numbers(1000);

	ck_assert_uint_eq(map_count(map), 1000);
	ck_assert_ptr_eq(map_get(map, "key-0"), &values[0]);
	ck_assert_ptr_eq(map_get(map, "key-999"), &values[999]);
	ck_assert_ptr_null(map_get(map, "key-1000"));
	ck_assert_ptr_null(map_get(map, "key-99 "));
	ck_assert_ptr_null(map_get(map, ""));
	map_free(map);
	map_free(NULL);
}
END_TEST

START_TEST(keys_are_copied)
{
	struct map *map = map_new();
	char key[] = "name";

	(void)map_put(map, key, values);
	key[0] = 'x';
	ck_assert_ptr_eq(map_get(map, "name"), values);
	ck_assert_ptr_null(map_get(map, key));
	map_free(map);
}
END_TEST

START_TEST(putting_again_returns_the_value_before)
{
	struct map *map = map_new();

	ck_assert_ptr_null(map_put(map, "k", &values[1]));
	ck_assert_ptr_eq(map_put(map, "k", &values[2]), &values[1]);
	ck_assert_ptr_eq(map_get(map, "k"), &values[2]);
	ck_assert_uint_eq(map_count(map), 1);
	map_free(map);
}
END_TEST

START_TEST(deleting_returns_the_value_once)
{
	struct map *map = map_of_numbers(3);

	ck_assert_ptr_eq(map_del(map, "key-1"), &values[1]);
	ck_assert_ptr_null(map_del(map, "key-1"));
	ck_assert_uint_eq(map_count(map), 2);
	ck_assert_ptr_eq(map_del(map, "key-0"), &values[0]);
	ck_assert_ptr_eq(map_del(map, "key-2"), &values[2]);
	ck_assert_ptr_null(map_first(map));
	ck_assert_ptr_null(map_put(map, "key-1", values));
	map_free(map);
}
END_TEST

START_TEST(a_walk_follows_the_order_of_insertion)
{
	struct map *map = map_of_numbers(100);
	char key[16];
	int i = 0;

	(void)map_put(map, "key-50", &values[50]); /* keeps its place */
	for (struct map_entry *e = map_first(map); e; e = map_next(e), i++) {
		(void)snprintf(key, sizeof(key), "key-%d", i);
		ck_assert_str_eq(map_key(e), key);
		ck_assert_ptr_eq(map_value(e), &values[i]);
	}
	ck_assert_int_eq(i, 100);
	map_free(map);
}
END_TEST

START_TEST(the_entry_at_hand_may_go_during_a_walk)
{
	struct map *map = map_of_numbers(100);
	int seen = 0;

	for (struct map_entry *e = map_first(map); e; e = map_next(e), seen++)
		if (*(int *)map_value(e) % 3 != 1)
			ck_assert_ptr_nonnull(map_del(map, map_key(e)));
	ck_assert_int_eq(seen, 100);
	ck_assert_uint_eq(map_count(map), 33);
	for (struct map_entry *e = map_first(map); e; e = map_next(e))
		ck_assert_ptr_nonnull(map_del(map, map_key(e)));
	ck_assert_uint_eq(map_count(map), 0);
	map_free(map);
}
END_TEST
