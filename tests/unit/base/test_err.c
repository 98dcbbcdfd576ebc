#include "base/err.h"

#include <check.h>
#include <errno.h>
#include <string.h>

START_TEST(the_first_error_wins)
{
	struct err err = {0};

	ck_assert_int_eq(err_set(&err, ERR_LIMIT, "first %d", 1), -1);
	ck_assert_int_eq(err_set(&err, ERR_IO, "second"), -1);
	errno = EPERM;
	ck_assert_int_eq(err_errno(&err, "third"), -1);
	ck_assert_int_eq(err.code, ERR_LIMIT);
	ck_assert_str_eq(err.text, "first 1");
}
END_TEST

START_TEST(nobody_needs_to_want_the_error)
{
	ck_assert_int_eq(err_set(NULL, ERR_IO, "x"), -1);
	ck_assert_int_eq(err_errno(NULL, "x"), -1);
	ck_assert_int_eq(err_prefix(NULL, "x"), -1);
	err_clear(NULL);
}
END_TEST

START_TEST(a_system_error_brings_its_reason)
{
	struct err err = {0};

	errno = ENOENT;
	ck_assert_int_eq(err_errno(&err, "cannot open '%s'", "x.conf"), -1);
	ck_assert_int_eq(err.code, ERR_IO);
	ck_assert_str_eq(err.text, "cannot open 'x.conf': No such file or directory");
	ck_assert_int_eq(errno, ENOENT);
}
END_TEST

START_TEST(a_prefix_goes_in_front_and_only_of_an_error)
{
	struct err err = {0};

	ck_assert_int_eq(err_prefix(&err, "queue: "), -1);
	ck_assert_int_eq(err.code, ERR_NONE);
	ck_assert_str_eq(err.text, "");
	(void)err_set(&err, ERR_INVALID, "bad name");
	ck_assert_int_eq(err_prefix(&err, "queue '%s': ", "q"), -1);
	ck_assert_str_eq(err.text, "queue 'q': bad name");
	ck_assert_int_eq(err.code, ERR_INVALID);
}
END_TEST

START_TEST(long_texts_are_cut_at_the_end)
{
	char longer[600];
	struct err err = {0};

	memset(longer, 'a', sizeof(longer));
	longer[599] = '\0';
	(void)err_set(&err, ERR_IO, "%s", longer);
	ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
	(void)err_prefix(&err, "front: ");
	ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
	ck_assert_int_eq(strncmp(err.text, "front: aaa", 10), 0);
	(void)err_prefix(&err, "%s", longer);
	ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
	ck_assert_ptr_null(strchr(err.text, 'f'));
}
END_TEST

START_TEST(a_cleared_error_can_be_set_again)
{
	struct err err = {0};

	(void)err_set(&err, ERR_IO, "one");
	err_clear(&err);
	ck_assert_int_eq(err.code, ERR_NONE);
	(void)err_set(&err, ERR_TIMEOUT, "two");
	ck_assert_str_eq(err.text, "two");
}
END_TEST
