/* SMS parts as providers count them. */
#include "tasks/sms/segments.c"

#include <check.h>

static struct segments count(const char *unit, int times)
{
	static char text[8000];
	struct segments ret;

	text[0] = '\0';
	for (int i = 0; i < times; i++)
		strncat(text, unit, sizeof(text) - strlen(text) - 1);
	segments_count(text, &ret);
	return ret;
}

START_TEST(gsm_text_counts_in_160_and_153)
{
	ck_assert_uint_eq(count("a", 160).count, 1);
	ck_assert_uint_eq(count("a", 161).count, 2);
	ck_assert_uint_eq(count("a", 306).count, 2);
	ck_assert_uint_eq(count("a", 307).count, 3);
	ck_assert_str_eq(count("\xc3\xa4\xc3\x9f@$", 1).encoding, "GSM-7");
	ck_assert_uint_eq(count("", 1).count, 0);
}
END_TEST

START_TEST(escaped_characters_count_twice_and_are_not_split)
{
	ck_assert_uint_eq(count("\xe2\x82\xac", 80).count, 1);
	ck_assert_uint_eq(count("[", 81).count, 2);
	/* 153 is odd: 76 pairs fit a part. */
	ck_assert_uint_eq(count("{", 152).count, 2);
	ck_assert_uint_eq(count("{", 153).count, 3);
}
END_TEST

START_TEST(other_text_counts_in_70_and_67)
{
	ck_assert_uint_eq(count("\xd0\xbf", 70).count, 1);
	ck_assert_uint_eq(count("\xd0\xbf", 71).count, 2);
	ck_assert_uint_eq(count("\xd0\xbf", 135).count, 3);
	ck_assert_str_eq(count("a`", 1).encoding, "UCS-2");
	/* An emoji is two units. */
	ck_assert_uint_eq(count("\xf0\x9f\x98\x80", 35).count, 1);
	ck_assert_uint_eq(count("\xf0\x9f\x98\x80", 36).count, 2);
	ck_assert_uint_eq(count("\xf0\x9f\x98\x80", 36).characters, 36);
}
END_TEST
