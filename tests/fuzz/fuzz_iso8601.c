/*
 * Any text as a time: what is taken lies in Python's range, is written and read back as the same
 * instant, and in the plain form equals what the C library makes of the same digits. The first two
 * bytes choose the zone in which it is written.
 */
#include <time.h>

#include "base/text.h"
#include "tests/fuzz/fuzz.h"

#define FIRST_US  INT64_C(-62135596800000000) /* 0001-01-01 */
#define LAST_US	  INT64_C(253402300799999999) /* 9999-12-31T23:59:59.999999 */
#define UNTOUCHED INT64_C(0x5a5a5a5a5a5a5a5a)

static void check_written(int64_t us, int offset_s)
{
	int64_t local_us = us + (int64_t)offset_s * 1000000, again;
	struct err err = {0};
	bool is_naive;
	char out[40];

	iso8601_format(us, offset_s, out);
	fuzz_check(strlen(out) >= 25 && strlen(out) <= 35);
	/* A zone of seconds can be written, as Python does, and is read by nobody. */
	if (local_us < FIRST_US || local_us > LAST_US || offset_s % 60 != 0)
		return;
	fuzz_check(iso8601_parse(out, strlen(out), &again, &is_naive, &err) == 0);
	fuzz_check(again == us && !is_naive);
}

/* YYYY-MM-DDTHH:MM:SS and nothing else. */
static bool is_plain(const char *text, size_t len)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd";

	if (len != sizeof(form) - 1)
		return false;
	for (size_t i = 0; i < len; i++)
		if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
			return false;
	return true;
}

static int number(const char *text, size_t at, size_t len)
{
	int value = 0;

	for (size_t i = at; i < at + len; i++)
		value = value * 10 + text[i] - '0';
	return value;
}

static void check_plain(const char *text, bool is_taken, int64_t us)
{
	struct tm tm = {.tm_year = number(text, 0, 4) - 1900,
			.tm_mon = number(text, 5, 2) - 1,
			.tm_mday = number(text, 8, 2),
			.tm_hour = number(text, 11, 2),
			.tm_min = number(text, 14, 2),
			.tm_sec = number(text, 17, 2)};
	struct tm same = tm;
	time_t seconds = timegm(&same);
	/* timegm carries what is too large over to the next field. */
	bool is_real = same.tm_mon == tm.tm_mon && same.tm_mday == tm.tm_mday &&
		       same.tm_hour == tm.tm_hour && same.tm_min == tm.tm_min &&
		       same.tm_sec == tm.tm_sec && tm.tm_year > -1900;

	if (tm.tm_hour == 24) /* ISO's name for the midnight that ends a day */
		return;
	fuzz_check(is_taken == is_real);
	if (is_taken)
		fuzz_check(us == (int64_t)seconds * 1000000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int64_t us = UNTOUCHED;
	bool is_naive = false, is_taken;
	struct err err = {0};
	char *text;
	int offset_s;

	if (size < 2)
		return 0;
	offset_s = ((data[0] << 8 | data[1]) % (2 * 86400 - 1) - 86399) / (data[1] % 2 ? 1 : 60) *
		   (data[1] % 2 ? 1 : 60);
	/* Exactly as long as the text, so that a byte read behind it is found. */
	text = malloc(size - 2);
	memcpy(text, data + 2, size - 2);
	is_taken = iso8601_parse(text, size - 2, &us, &is_naive, &err) == 0;
	fuzz_check(is_taken == (err.code == ERR_NONE));
	if (is_taken) {
		fuzz_check(us >= FIRST_US && us <= LAST_US);
		check_written(us, 0);
		check_written(us, offset_s);
	} else {
		fuzz_check(us == UNTOUCHED && err.text[0] && strlen(err.text) < 100);
	}
	if (is_plain(text, size - 2))
		check_plain(text, is_taken, us);
	free(text);
	return 0;
}
