/* Mirrors dateutil/parser/isoparser.py, isoparse(), with Python's idea of an integer. */
#include <stdio.h>

#include "base/text.h"

enum { US_PER_S = 1000000, S_PER_DAY = 86400 };

/* A piece of text that is eaten from the front. */
struct scan {
	const char *at, *end;
};

struct day {
	int year, month, day;
};

struct day_time {
	int hour, minute, second, us;
	int offset_s;
	bool is_naive;
};

static size_t left(const struct scan *in)
{
	return (size_t)(in->end - in->at);
}

static bool looks_at(const struct scan *in, char c)
{
	return in->at < in->end && *in->at == c;
}

static bool eat(struct scan *in, char c)
{
	if (!looks_at(in, c))
		return false;
	in->at++;
	return true;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * Python's int() of the next `width` bytes, or of fewer at the end: blanks around, a sign and
 * single underscores between digits are fine there, so they are here. -1 if it is no number.
 */
static int int_eat(struct scan *in, size_t width, int *ret_value)
{
	const char *at = in->at;
	const char *end = at + (width < left(in) ? width : left(in));
	bool is_negative = false;
	int value = 0;

	in->at = end;
	while (at < end && is_space(*at))
		at++;
	while (end > at && is_space(end[-1]))
		end--;
	if (at < end && (*at == '+' || *at == '-'))
		is_negative = *at++ == '-';
	if (at == end)
		return -1;
	for (const char *c = at; c < end; c++) {
		if (*c == '_' && c > at && is_digit(c[-1]) && c + 1 < end)
			continue;
		if (!is_digit(*c))
			return -1;
		value = value * 10 + (*c - '0');
	}
	*ret_value = is_negative ? -value : value;
	return 0;
}

static bool is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && is_leap(year));
}

/* Days from 1970-01-01 in the Gregorian calendar carried back, for a year from 1 on. */
static int64_t days_from_date(int year, int month, int day)
{
	int64_t before = year - 1;
	int64_t days = before * 365 + before / 4 - before / 100 + before / 400;

	for (int m = 1; m < month; m++)
		days += days_in_month(year, m);
	return days + day - 1 - 719162;
}

/* YYYY, YYYY-MM, YYYY-MM-DD, YYYYMMDD. */
static int common_date(struct scan *in, struct day *ret)
{
	bool has_dash;

	*ret = (struct day){1, 1, 1};
	if (left(in) < 4 || int_eat(in, 4, &ret->year) < 0)
		return -1;
	if (left(in) == 0)
		return 0;
	has_dash = eat(in, '-');
	if (left(in) < 2 || int_eat(in, 2, &ret->month) < 0)
		return -1;
	if (left(in) == 0)
		return has_dash ? 0 : -1;
	if (has_dash && !eat(in, '-'))
		return -1;
	return left(in) < 2 ? -1 : int_eat(in, 2, &ret->day);
}

/* The rest of YYYY-Www-D behind the W, in days from 1970-01-01. */
static int week_date(struct scan *in, int year, bool has_dash, int64_t *ret_days)
{
	int week, day = 1;
	int64_t jan_4;

	if (int_eat(in, 2, &week) < 0)
		return -1;
	if (left(in) > 0) {
		if (eat(in, '-') != has_dash)
			return -1;
		if (int_eat(in, 1, &day) < 0)
			return -1;
	}
	if (week < 1 || week > 53 || day < 1 || day > 7 || year < 1 || year > 9999)
		return -1;
	/* Week 1 is the one with the 4th of January; 1970-01-01 was a Thursday. */
	jan_4 = days_from_date(year, 1, 4);
	*ret_days = jan_4 - ((jan_4 + 3) % 7 + 7) % 7 + (int64_t)(week - 1) * 7 + day - 1;
	return 0;
}

/* YYYY-Www, YYYY-Www-D, YYYY-DDD and the same without dashes, in days from 1970-01-01. */
static int uncommon_date(struct scan *in, int64_t *ret_days)
{
	bool has_dash;
	int year, day;

	if (left(in) < 4 || int_eat(in, 4, &year) < 0)
		return -1;
	has_dash = eat(in, '-');
	if (eat(in, 'W'))
		return week_date(in, year, has_dash, ret_days);
	if (left(in) < 3 || int_eat(in, 3, &day) < 0)
		return -1;
	if (year < 1 || year > 9999 || day < 1 || day > 365 + is_leap(year))
		return -1;
	*ret_days = days_from_date(year, 1, 1) + day - 1;
	return 0;
}

/* Z, +HH, +HHMM, +HH:MM up to the end of the text. */
static int zone(struct scan *in, int *ret_offset_s)
{
	size_t len = left(in);
	bool is_west;
	int hours, minutes = 0;

	*ret_offset_s = 0;
	if (len == 1 && (eat(in, 'Z') || eat(in, 'z')))
		return 0;
	if ((len != 3 && len != 5 && len != 6) || (!looks_at(in, '+') && !looks_at(in, '-')))
		return -1;
	is_west = *in->at++ == '-';
	if (int_eat(in, 2, &hours) < 0)
		return -1;
	if (len > 3) {
		(void)eat(in, ':');
		if (int_eat(in, left(in), &minutes) < 0)
			return -1;
	}
	if (hours > 23 || minutes > 59)
		return -1;
	*ret_offset_s = (hours * 60 + minutes) * 60 * (is_west ? -1 : 1);
	return 0;
}

/* ".123" or ",123" to microseconds; digits beyond the sixth are cut. Nothing there is fine. */
static void fraction(struct scan *in, int *ret_us)
{
	int digits = 0;

	if (left(in) < 2 || (*in->at != '.' && *in->at != ',') || !is_digit(in->at[1]))
		return;
	in->at++;
	*ret_us = 0;
	for (; in->at < in->end && is_digit(*in->at); in->at++)
		if (digits++ < 6)
			*ret_us = *ret_us * 10 + (*in->at - '0');
	for (; digits < 6; digits++)
		*ret_us *= 10;
}

static bool is_at_zone(const struct scan *in)
{
	return looks_at(in, '-') || looks_at(in, '+') || looks_at(in, 'Z') || looks_at(in, 'z');
}

/* hh, hh:mm, hhmm, hh:mm:ss, hhmmss, with a fraction behind seconds and a zone behind any. */
static int time_of_day(struct scan *in, struct day_time *ret)
{
	int *const parts[] = {&ret->hour, &ret->minute, &ret->second};
	bool has_colon = false;
	int part = 0;

	if (left(in) < 2)
		return -1;
	for (; part < 3 && left(in) > 0 && !is_at_zone(in); part++) {
		if (part == 1)
			has_colon = eat(in, ':');
		else if (part == 2 && has_colon && !eat(in, ':'))
			return -1;
		if (int_eat(in, 2, parts[part]) < 0)
			return -1;
	}
	if (part == 3)
		fraction(in, &ret->us);
	if (is_at_zone(in)) {
		ret->is_naive = false;
		return zone(in, &ret->offset_s);
	}
	return left(in) == 0 ? 0 : -1;
}

static bool is_valid_time(const struct day_time *t)
{
	if (t->hour == 24)
		return t->minute == 0 && t->second == 0 && t->us == 0;
	return t->hour >= 0 && t->hour < 24 && t->minute >= 0 && t->minute < 60 && t->second >= 0 &&
	       t->second < 60;
}

static int date(struct scan *in, int64_t *ret_days)
{
	struct scan again = *in;
	struct day day;

	if (common_date(in, &day) < 0) {
		*in = again;
		return uncommon_date(in, ret_days);
	}
	if (day.year < 1 || day.year > 9999 || day.month < 1 || day.month > 12 || day.day < 1 ||
	    day.day > days_in_month(day.year, day.month))
		return -1;
	*ret_days = days_from_date(day.year, day.month, day.day);
	return 0;
}

static int64_t behind_last_day(void)
{
	return days_from_date(9999, 12, 31) + 1;
}

static int date_and_time(struct scan *in, int64_t *ret_days, struct day_time *ret)
{
	if (date(in, ret_days) < 0)
		return -1;
	if (*ret_days >= behind_last_day())
		return 0; /* a week of 9999 that reaches beyond: Python overflows at once */
	if (left(in) > 0) {
		/* Any one ASCII character may stand between date and time. */
		if ((unsigned char)*in->at++ >= 0x80 || time_of_day(in, ret) < 0)
			return -1;
	}
	return is_valid_time(ret) ? 0 : -1;
}

int iso8601_parse(const char *text, size_t len, int64_t *ret_us, bool *ret_is_naive,
		  struct err *err)
{
	struct scan in = {text, text + len};
	struct day_time t = {.is_naive = true};
	int64_t first_s = days_from_date(1, 1, 1) * S_PER_DAY,
		end_s = behind_last_day() * S_PER_DAY;
	int64_t days, seconds;

	if (date_and_time(&in, &days, &t) < 0)
		return err_set(err, ERR_INVALID, "not an ISO 8601 time: '%.*s'",
			       len > 60 ? 60 : (int)len, text);
	seconds = days * S_PER_DAY + (int64_t)t.hour * 3600 + (int64_t)t.minute * 60 + t.second;
	if (seconds >= end_s || seconds - t.offset_s < first_s || seconds - t.offset_s >= end_s)
		return err_set(err, ERR_LIMIT, "date value out of range");
	*ret_us = (seconds - t.offset_s) * US_PER_S + t.us;
	if (ret_is_naive)
		*ret_is_naive = t.is_naive;
	return 0;
}

/* The inverse of days_from_date, by years that begin with March, so that the leap day is their last
 * and months have a regular length; 400 of them are 146097 days. */
static struct day date_from_days(int64_t days)
{
	int64_t since = days + 719468; /* 0000-03-01 */
	int64_t era = (since >= 0 ? since : since - 146096) / 146097;
	int in_era = (int)(since - era * 146097);
	int year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	int in_year = in_era - (365 * year + year / 4 - year / 100);
	int month = (5 * in_year + 2) / 153; /* 0 is March */
	struct day date = {
		.year = (int)(era * 400) + year,
		.month = month < 10 ? month + 3 : month - 9,
		.day = in_year - (153 * month + 2) / 5 + 1,
	};

	date.year += date.month <= 2;
	return date;
}

/* A separator and exactly `width` digits. */
static char *put(char *to, char before, int value, int width)
{
	*to++ = before;
	for (int i = width - 1; i >= 0; i--, value /= 10)
		to[i] = (char)('0' + value % 10);
	return to + width;
}

/* By hand: one goes into every record, and printf would take longer than the rest of it. */
void iso8601_format(int64_t unix_us, int offset_s, char out[40])
{
	/* No sum in microseconds: any value is to have a text. */
	int fraction_us = (int)((unix_us % US_PER_S + US_PER_S) % US_PER_S);
	int64_t seconds = unix_us / US_PER_S - (unix_us % US_PER_S < 0) + offset_s;
	int in_day = (int)((seconds % S_PER_DAY + S_PER_DAY) % S_PER_DAY);
	int shown = offset_s < 0 ? -offset_s : offset_s;
	struct day date = date_from_days((seconds - in_day) / S_PER_DAY);
	char *to = out;

	if (date.year >= 0 && date.year <= 9999)
		to = put(to, (char)('0' + date.year / 1000), date.year % 1000, 3);
	else
		to += snprintf(to, 8, "%04d", date.year);
	to = put(to, '-', date.month, 2);
	to = put(to, '-', date.day, 2);
	to = put(to, 'T', in_day / 3600, 2);
	to = put(to, ':', in_day / 60 % 60, 2);
	to = put(to, ':', in_day % 60, 2);
	if (fraction_us)
		to = put(to, '.', fraction_us, 6);
	to = put(to, offset_s < 0 ? '-' : '+', shown / 3600, 2);
	to = put(to, ':', shown / 60 % 60, 2);
	if (shown % 60)
		to = put(to, ':', shown % 60, 2);
	*to = '\0';
}
