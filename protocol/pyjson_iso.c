#include "protocol/pyjson_iso.h"

#include <string.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* NULL when there are not `count` digits before `end`. */
static const char *read_digits(const char *p, const char *end, int *ret, size_t count)
{
	int value = 0;

	for (size_t i = 0; i < count; i++, p++) {
		if (p >= end || !is_digit(*p))
			return NULL;
		value = value * 10 + (*p - '0');
	}
	*ret = value;
	return p;
}

static bool is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days before 1 January of the year, counted from 1 January of year 1. */
static int days_before_year(int year)
{
	int y = year - 1;

	return y * 365 + y / 4 - y / 100 + y / 400;
}

/* Monday = 0. 1 January of year 1 was a Monday. */
static int first_weekday(int year)
{
	return days_before_year(year) % 7;
}

static void from_day_of_year(int year, int day, struct pyjson_time *t)
{
	while (day < 0) {
		year--;
		day += is_leap(year) ? 366 : 365;
	}
	while (day >= (is_leap(year) ? 366 : 365)) {
		day -= is_leap(year) ? 366 : 365;
		year++;
	}
	t->year = year;
	for (t->month = 1; day >= days_in_month(year, t->month); t->month++)
		day -= days_in_month(year, t->month);
	t->day = day + 1;
}

static int from_week(int year, int week, int day, struct pyjson_time *t)
{
	int first = first_weekday(year);
	/* A year has 53 weeks when it begins on a Thursday, or is leap and begins on a Wednesday.
	 */
	bool has_53 = first == 3 || (first == 2 && is_leap(year));
	int monday;

	if (year < 1 || year > 9999 || week < 1 || week > (has_53 ? 53 : 52) || day < 1 || day > 7)
		return -1;
	monday = first <= 3 ? -first : 7 - first;
	from_day_of_year(year, monday + (week - 1) * 7 + day - 1, t);
	return t->year >= 1 && t->year <= 9999 ? 0 : -1;
}

static int read_week(const char *p, const char *end, bool is_dashed, int year,
		     struct pyjson_time *t)
{
	int week, day = 1;

	p = read_digits(p, end, &week, 2);
	if (!p)
		return -1;
	if (p < end) {
		if (is_dashed && *p++ != '-')
			return -1;
		p = read_digits(p, end, &day, 1);
		if (!p)
			return -1;
	}
	return p == end ? from_week(year, week, day, t) : -1;
}

static int read_date(const char *p, const char *end, struct pyjson_time *t)
{
	bool is_dashed;

	p = read_digits(p, end, &t->year, 4);
	if (!p || p == end)
		return -1;
	is_dashed = *p == '-';
	if (is_dashed)
		p++;
	if (p < end && *p == 'W')
		return read_week(p + 1, end, is_dashed, t->year, t);
	p = read_digits(p, end, &t->month, 2);
	if (!p || (is_dashed && (p == end || *p++ != '-')))
		return -1;
	p = read_digits(p, end, &t->day, 2);
	if (p != end || t->year < 1 || t->month < 1 || t->month > 12 || t->day < 1)
		return -1;
	return t->day <= days_in_month(t->year, t->month) ? 0 : -1;
}

static char char_at(const char *p, const char *text_end)
{
	if (p >= text_end)
		return '\0';
	return *p;
}

/* Up to `end`; digits past the sixth are dropped. 1 when something stands behind them. */
static int read_fraction(const char *p, const char *end, const char *text_end, int *ret)
{
	for (int i = 0; i < 6; i++) {
		*ret *= 10;
		if (p >= end)
			continue;
		if (!is_digit(*p))
			return -1;
		*ret += *p++ - '0';
	}
	while (is_digit(char_at(p, text_end)))
		p++;
	return p < text_end;
}

/*
 * HH[:MM[:SS]] or HH[MM[SS]], then a fraction behind '.' or ','. Returns 0 when it ends at `end`, 1
 * when something stands behind. Statement by statement as parse_hh_mm_ss_ff(), whose oddities
 * ("034Z" is 03:00 UTC) decide what Celery accepts.
 */
static int read_clock(const char *p, const char *end, const char *text_end, int ret[4])
{
	bool has_colon = true;

	memset(ret, 0, 4 * sizeof(*ret));
	for (int i = 0; i < 3; i++) {
		char c;

		p = read_digits(p, text_end, &ret[i], 2);
		if (!p)
			return -1;
		c = char_at(p++, text_end);
		if (i == 0)
			has_colon = c == ':';
		if (p >= end)
			return c != '\0';
		if (c == '.' || c == ',')
			break;
		if (has_colon && c != ':')
			return -1;
		if (!has_colon)
			p--;
	}
	return read_fraction(p, end, text_end, &ret[3]);
}

static int read_offset(const char *p, const char *end, struct pyjson_time *t)
{
	int sign = *p == '-' ? -1 : 1, clock[4];

	t->has_offset = true;
	t->offset_s = t->offset_us = 0;
	if (*p == 'Z')
		return p + 1 == end ? 0 : -1;
	if (read_clock(p + 1, end, end, clock) != 0)
		return -1;
	t->offset_s = sign * (clock[0] * 3600 + clock[1] * 60 + clock[2]);
	t->offset_us = t->offset_s ? sign * clock[3] : 0; /* CPython: no seconds is UTC */
	return t->offset_s > -86400 && t->offset_s < 86400 ? 0 : -1;
}

static int read_time(const char *p, const char *end, struct pyjson_time *t)
{
	const char *zone = p;
	int clock[4], rc;

	if (p == end)
		return -1;
	do {
		if (*zone == '+' || *zone == '-' || *zone == 'Z')
			break;
	} while (++zone < end);
	rc = read_clock(p, zone, end, clock);
	if (rc == -1 || (rc == 1 && zone == end))
		return -1;
	t->hour = clock[0];
	t->minute = clock[1];
	t->second = clock[2];
	t->microsecond = clock[3];
	if (t->hour > 23 || t->minute > 59 || t->second > 59)
		return -1;
	return zone < end ? read_offset(zone, end, t) : 0;
}

/* Where the date ends. Any one character may stand between date and time, so the week forms are
 * ambiguous; CPython's choices. */
static size_t date_length(const char *s, size_t len)
{
	size_t pos = 7;

	if (len == 7)
		return 7;
	if (s[4] == '-') {
		if (s[5] != 'W')
			return 10;
		if (len <= 8 || s[8] != '-')
			return 8;
		return len > 10 && is_digit(s[10]) ? 8 : 10;
	}
	if (s[4] != 'W')
		return 8;
	while (pos < len && is_digit(s[pos]))
		pos++;
	if (pos < 9)
		return pos;
	return pos % 2 == 0 ? 7 : 8;
}

int pyjson_datetime_read(const char *text, size_t len, struct pyjson_time *ret)
{
	const char *end = text + len, *p;
	size_t date_len;

	*ret = (struct pyjson_time){0};
	if (len < 7)
		return -1;
	date_len = date_length(text, len);
	if (date_len > len || read_date(text, text + date_len, ret) == -1)
		return -1;
	p = text + date_len;
	if (p == end)
		return 0;
	/* One character of any length stands between. */
	p++;
	while (p < end && ((unsigned char)*p & 0xc0) == 0x80)
		p++;
	/* A separator with nothing behind it is an error in CPython too. */
	return read_time(p, end, ret);
}

int pyjson_time_read(const char *text, size_t len, struct pyjson_time *ret)
{
	*ret = (struct pyjson_time){0};
	if (len && *text == 'T') {
		text++;
		len--;
	}
	return read_time(text, text + len, ret);
}
