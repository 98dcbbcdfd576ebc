#include "base/str.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

START_TEST(pieces_add_up_and_end_in_nul)
{
	auto_str s = {.max = 1000};

	ck_assert_ptr_null(s.data);
	ck_assert_int_eq(str_add(&s, "abc", 2), 0);
	ck_assert_int_eq(str_puts(&s, "cd"), 0);
	ck_assert_int_eq(str_addc(&s, 'e'), 0);
	ck_assert_int_eq(str_addf(&s, "-%d-%s", 7, "x"), 0);
	ck_assert_str_eq(s.data, "abcde-7-x");
	ck_assert_uint_eq(s.len, 9);
}
END_TEST

START_TEST(a_long_format_is_whole)
{
	char text[5000];
	auto_str s = {.max = 10000};

	memset(text, 'y', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	ck_assert_int_eq(str_addf(&s, "<%s>", text), 0);
	ck_assert_uint_eq(s.len, 5001);
	ck_assert_int_eq(s.data[5000], '>');
	ck_assert_int_eq(s.data[5001], '\0');
}
END_TEST

START_TEST(what_passes_the_maximum_adds_nothing_and_is_remembered)
{
	auto_str s = {.max = 5};

	ck_assert_int_eq(str_puts(&s, "abcd"), 0);
	ck_assert_int_eq(str_puts(&s, "ef"), -1);
	ck_assert(s.is_full);
	ck_assert_str_eq(s.data, "abcd");
	/* It would fit, but a text with a hole in it is worth nothing. */
	ck_assert_int_eq(str_addc(&s, 'e'), -1);
	str_reset(&s);
	ck_assert(!s.is_full);
	ck_assert_int_eq(str_puts(&s, "abcde"), 0);
	ck_assert_int_eq(str_addf(&s, "%300d", 1), -1);
	ck_assert_str_eq(s.data, "abcde");
}
END_TEST

START_TEST(memory_never_passes_the_maximum)
{
	auto_str s = {.max = 100};

	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(str_addc(&s, 'x'), 0);
	ck_assert_uint_le(s.cap, 101);
	ck_assert_int_eq(str_addc(&s, 'x'), -1);
}
END_TEST

START_TEST(a_huge_length_does_not_wrap)
{
	auto_str s = {.max = STR_MAX_DEFAULT};

	ck_assert_int_eq(str_puts(&s, "abc"), 0);
	ck_assert_ptr_null(str_reserve(&s, (size_t)-2));
	ck_assert(s.is_full);
}
END_TEST

START_TEST(reserved_room_counts_after_commit)
{
	auto_str s = {.max = 100};
	char *room = str_reserve(&s, 10);

	ck_assert_ptr_nonnull(room);
	memcpy(room, "12345", 5);
	ck_assert_uint_eq(s.len, 0);
	str_commit(&s, 5);
	ck_assert_str_eq(s.data, "12345");
}
END_TEST

START_TEST(bytes_are_taken_from_the_front)
{
	auto_str s = {.max = 100};

	str_consume(&s, 3);
	ck_assert_int_eq(str_puts(&s, "abcdef"), 0);
	str_consume(&s, 2);
	ck_assert_str_eq(s.data, "cdef");
	str_consume(&s, 100);
	ck_assert_uint_eq(s.len, 0);
	ck_assert_str_eq(s.data, "");
}
END_TEST

START_TEST(shrinking_frees_only_what_is_large)
{
	auto_str s = {.max = 10000};

	ck_assert_int_eq(str_puts(&s, "small"), 0);
	str_shrink(&s, 1000);
	ck_assert_ptr_nonnull(s.data);
	ck_assert_uint_eq(s.len, 0);
	ck_assert_int_eq(str_addf(&s, "%5000d", 1), 0);
	str_shrink(&s, 1000);
	ck_assert_ptr_null(s.data);
	ck_assert_int_eq(str_puts(&s, "again"), 0);
	ck_assert_str_eq(s.data, "again");
}
END_TEST

START_TEST(detached_bytes_are_the_callers)
{
	struct str s;
	char *text;

	str_init(&s, 100);
	text = str_detach(&s);
	ck_assert_str_eq(text, "");
	free(text);
	ck_assert_int_eq(str_puts(&s, "mine"), 0);
	text = str_detach(&s);
	ck_assert_str_eq(text, "mine");
	free(text);
	ck_assert_ptr_null(s.data);
	ck_assert_uint_eq(s.max, 100);
	str_clear(&s);
}
END_TEST
