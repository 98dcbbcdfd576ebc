#include "base/text.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What dateutil's isoparse (2.9.0) makes of each text, naive times taken as UTC. */
static const struct {
	const char *text;
	enum err_code code;
	int64_t us;
	bool is_naive;
} cases[] = {
	{"2030-01-02T03:04:05", ERR_NONE, 1893553445000000, true},
	{"2030-01-02T03:04:05Z", ERR_NONE, 1893553445000000, false},
	{"2030-01-02T03:04:05z", ERR_NONE, 1893553445000000, false},
	{"2030-01-02T03:04:05+02:00", ERR_NONE, 1893546245000000, false},
	{"2030-01-02T03:04:05-0230", ERR_NONE, 1893562445000000, false},
	{"2030-01-02T03:04:05+02", ERR_NONE, 1893546245000000, false},
	{"2030-01-02T03:04:05+00:00", ERR_NONE, 1893553445000000, false},
	{"2030-01-02T03:04:05.1", ERR_NONE, 1893553445100000, true},
	{"2030-01-02T03:04:05.12", ERR_NONE, 1893553445120000, true},
	{"2030-01-02T03:04:05.123", ERR_NONE, 1893553445123000, true},
	{"2030-01-02T03:04:05.1234", ERR_NONE, 1893553445123400, true},
	{"2030-01-02T03:04:05.12345", ERR_NONE, 1893553445123450, true},
	{"2030-01-02T03:04:05.123456", ERR_NONE, 1893553445123456, true},
	{"2030-01-02T03:04:05.123456789", ERR_NONE, 1893553445123456, true},
	{"2030-01-02T03:04:05,5+02:00", ERR_NONE, 1893546245500000, false},
	{"2030-01-02", ERR_NONE, 1893542400000000, true},
	{"20300102", ERR_NONE, 1893542400000000, true},
	{"2030-01", ERR_NONE, 1893456000000000, true},
	{"2030", ERR_NONE, 1893456000000000, true},
	{"20200101T000000Z", ERR_NONE, 1577836800000000, false},
	{"20200101T0102", ERR_NONE, 1577840520000000, true},
	{"2020-01-01T01", ERR_NONE, 1577840400000000, true},
	{"2020-01-01T01-05", ERR_NONE, 1577858400000000, false},
	{"2020-01-01 01:02", ERR_NONE, 1577840520000000, true},
	{"2020-02-29T12:00", ERR_NONE, 1582977600000000, true},
	{"2020-W01", ERR_NONE, 1577664000000000, true},
	{"2020W011", ERR_NONE, 1577664000000000, true},
	{"2020-W53-7", ERR_NONE, 1609632000000000, true},
	{"2019-W01-1", ERR_NONE, 1546214400000000, true},
	{"2020-366", ERR_NONE, 1609372800000000, true},
	{"2020060T10", ERR_NONE, 1582970400000000, true},
	{"2020-01-01T24:00", ERR_NONE, 1577923200000000, true},
	{"2020-12-31T24:00:00.000Z", ERR_NONE, 1609459200000000, false},
	{"1969-12-31T23:59:59.5Z", ERR_NONE, -500000, false},
	{"1969-12-31T23:59:59.999999", ERR_NONE, -1, true},
	{"0001-01-01T00:00:00", ERR_NONE, -62135596800000000, true},
	{"9999-12-31T23:59:59.999999", ERR_NONE, 253402300799999999, true},
	{"2020-01-01T1 :02", ERR_NONE, 1577840520000000, true},
	{"+020-01-01", ERR_NONE, -61536067200000000, true},
	{"2_20-01-01", ERR_NONE, -55224720000000000, true},
	{"2020-01-01T01:02:0_", ERR_INVALID, 0, false},
	{"2020-1-1", ERR_INVALID, 0, false},
	{"202001", ERR_INVALID, 0, false},
	{"2021-02-29", ERR_INVALID, 0, false},
	{"2020-13-01", ERR_INVALID, 0, false},
	{"2020-00-01", ERR_INVALID, 0, false},
	{"2021-366", ERR_INVALID, 0, false},
	{"2020-W54", ERR_INVALID, 0, false},
	{"2020-W00-1", ERR_INVALID, 0, false},
	{"2020-W011", ERR_INVALID, 0, false},
	{"2020W01-1", ERR_INVALID, 0, false},
	{"2020-01-01T", ERR_INVALID, 0, false},
	{"2020-01-01T1", ERR_INVALID, 0, false},
	{"2020-01-01T24:01", ERR_INVALID, 0, false},
	{"2020-01-01T25", ERR_INVALID, 0, false},
	{"2020-01-01T10:60", ERR_INVALID, 0, false},
	{"2020-01-01T10:00:60", ERR_INVALID, 0, false},
	{"2020-01-01T10:0000", ERR_INVALID, 0, false},
	{"2020-01-01T1000:00", ERR_INVALID, 0, false},
	{"2020-01-01T10:00:00.", ERR_INVALID, 0, false},
	{"2020-01-01T10:00.5", ERR_INVALID, 0, false},
	{"2020-01-01T10:00+24", ERR_INVALID, 0, false},
	{"2020-01-01T10:00+02:60", ERR_INVALID, 0, false},
	{"2020-01-01T10:00+2:00", ERR_INVALID, 0, false},
	{"2020-01-01T10:00+", ERR_INVALID, 0, false},
	{"2020-01-01T10:00ZZ", ERR_INVALID, 0, false},
	{"2020-01-01T10:00 Z", ERR_INVALID, 0, false},
	{"0000-01-01", ERR_INVALID, 0, false},
	{"", ERR_INVALID, 0, false},
	{"202", ERR_INVALID, 0, false},
	{"tomorrow", ERR_INVALID, 0, false},
	{"1700000000", ERR_INVALID, 0, false},
	{"1700000000.5", ERR_INVALID, 0, false},
	{"0001-01-01T00:00:00+00:01", ERR_LIMIT, 0, false},
	{"9999-12-31T23:59:59-00:01", ERR_LIMIT, 0, false},
	{"9999-12-31T24:00", ERR_LIMIT, 0, false},
	{"9999-W53", ERR_LIMIT, 0, false},
};

/* T-24 */
START_TEST(every_form_of_isoparse_is_read_as_python_reads_it)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = {0};
		int64_t us = 0;
		bool is_naive = false;
		int result =
			iso8601_parse(cases[i].text, strlen(cases[i].text), &us, &is_naive, &err);

		ck_assert_msg(err.code == cases[i].code, "'%s': %s", cases[i].text, err.text);
		ck_assert_int_eq(result, cases[i].code == ERR_NONE ? 0 : -1);
		ck_assert_msg(us == cases[i].us, "'%s': %lld", cases[i].text, (long long)us);
		ck_assert_msg(is_naive == cases[i].is_naive, "'%s'", cases[i].text);
	}
}
END_TEST

/* T-23 */
START_TEST(a_naive_time_is_utc_whatever_the_hosts_zone)
{
	int64_t us;

	ck_assert_int_eq(setenv("TZ", "Asia/Tokyo", 1), 0);
	tzset();
	ck_assert_int_eq(iso8601_parse("2030-01-02T03:04:05", 19, &us, NULL, NULL), 0);
	ck_assert_int_eq(us, 1893553445000000);
}
END_TEST

START_TEST(the_length_counts_not_a_nul)
{
	int64_t us;

	ck_assert_int_eq(iso8601_parse("2030-01-02xyz", 10, &us, NULL, NULL), 0);
	ck_assert_int_eq(iso8601_parse("2030-01-02\0", 11, &us, NULL, NULL), -1);
}
END_TEST

START_TEST(an_error_shows_no_more_than_the_start_of_the_text)
{
	struct err err = {0};
	char text[1000];
	int64_t us;

	memset(text, 'x', sizeof(text));
	ck_assert_int_eq(iso8601_parse(text, sizeof(text), &us, NULL, &err), -1);
	ck_assert_uint_lt(strlen(err.text), 100);
}
END_TEST

START_TEST(a_time_is_written_as_isoformat_writes_it)
{
	static const struct {
		int64_t us;
		int offset_s;
		const char *text;
	} rows[] = {
		{1795235754664825, 0, "2026-11-21T04:35:54.664825+00:00"},
		{1795235754000000, 0, "2026-11-21T04:35:54+00:00"},
		{1795235754000010, 7200, "2026-11-21T06:35:54.000010+02:00"},
		{1795235754000000, -12600, "2026-11-21T01:05:54-03:30"},
		{-1, 0, "1969-12-31T23:59:59.999999+00:00"},
		{-62135596800000000, 0, "0001-01-01T00:00:00+00:00"},
		{0, 3661, "1970-01-01T01:01:01+01:01:01"},
		{INT64_MAX, 7200, "294247-01-10T06:00:54.775807+02:00"},
		{INT64_MIN, -3600, "-290308-12-21T18:59:05.224192-01:00"},
	};
	char out[40];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		iso8601_format(rows[i].us, rows[i].offset_s, out);
		ck_assert_str_eq(out, rows[i].text);
	}
}
END_TEST

START_TEST(every_time_that_is_written_reads_back)
{
	const int64_t step_us = INT64_C(12 * 86400 + 86399) * 1000000 + 1;
	const int64_t first = INT64_C(-62135596800000000), last = INT64_C(253402300799999999);
	char out[40];

	for (int64_t us = first; us <= last; us += step_us) {
		int64_t back = 0;

		iso8601_format(us, 0, out);
		if (iso8601_parse(out, strlen(out), &back, NULL, NULL) != 0 || back != us)
			ck_abort_msg("%lld came back as %s", (long long)us, out);
	}
}
END_TEST
