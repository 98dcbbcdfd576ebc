#include "base/arena.h"

#include <check.h>
#include <stdint.h>
#include <string.h>

START_TEST(texts_are_copied_with_a_nul_behind_them)
{
	struct arena a = {0};
	char *first = arena_dup(&a, "abc", 2),
	     *second = arena_strdup(&a, "long enough for a block");

	ck_assert_str_eq(first, "ab");
	ck_assert_str_eq(second, "long enough for a block");
	ck_assert_str_eq(arena_dup(&a, NULL, 0), "");
	ck_assert_ptr_null(arena_strdup(&a, NULL));
	arena_clear(&a);
	ck_assert_ptr_null(a.top);
	arena_clear(&a);
}
END_TEST

START_TEST(what_was_reserved_stands_in_one_block)
{
	struct arena a = {0};
	char *first, *second;

	arena_reserve(&a, 6);
	struct arena_block *block = a.top;

	first = arena_dup(&a, "x", 1);
	second = arena_dup(&a, "yyy", 3);
	ck_assert_ptr_eq(first + 2, second);
	ck_assert_ptr_eq(a.top, block);
	arena_reserve(&a, 0);
	ck_assert_ptr_eq(a.top, block);
	arena_dup(&a, "", 0); /* one byte too many */
	ck_assert_ptr_ne(a.top, block);
	ck_assert_str_eq(first, "x");
	arena_clear(&a);
}
END_TEST

START_TEST(memory_is_aligned_wherever_the_texts_end)
{
	struct arena a = {0};

	for (size_t room = 0; room < 40; room++)
		for (size_t len = 0; len < 20; len++) {
			arena_reserve(&a, room);
			arena_dup(&a, "01234567890123456789", len);
			int64_t *numbers = arena_alloc(&a, 2 * sizeof(*numbers));

			ck_assert_uint_eq((uintptr_t)numbers % sizeof(*numbers), 0);
			numbers[0] = numbers[1] = -1;
			ck_assert_str_eq(arena_dup(&a, "z", 1), "z");
			ck_assert(numbers[1] == -1);
			arena_reset(&a, 64);
		}
	arena_clear(&a);
}
END_TEST

START_TEST(a_reset_keeps_one_block_of_the_size_that_is_wanted)
{
	struct arena a = {0};

	arena_reset(&a, 100);
	ck_assert_ptr_null(a.top);
	arena_reserve(&a, 50);
	arena_dup(&a, "x", 1);
	arena_reserve(&a, 80);
	struct arena_block *block = a.top;

	arena_reset(&a, 80);
	ck_assert_ptr_eq(a.top, block);
	memset(arena_alloc(&a, 80), 1, 80);
	ck_assert_ptr_eq(a.top, block);
	arena_reset(&a, 79);
	ck_assert_ptr_null(a.top);
}
END_TEST
