#include "tasks/email/money.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Adds one to a decimal number that holds digits and one point; false on overflow of its width. */
static bool increment(char *first, char *last)
{
	for (char *p = last; p >= first; p--) {
		if (*p == '.')
			continue;
		if (*p != '9') {
			++*p;
			return true;
		}
		*p = '0';
	}
	return false;
}

static int format_exponent(const char *text, char *out, size_t size)
{
	char *end;
	double value = strtod(text, &end);
	int len;

	if (*end || end == text || !isfinite(value) || fabs(value) > 1e15)
		return -1;
	len = snprintf(out, size, "%.2f", value);
	return len > 0 && (size_t)len < size ? 0 : -1;
}

int money_format(const char *text, char *out, size_t size)
{
	const char *digits = text + (*text == '-' || *text == '+');
	size_t whole = strspn(digits, "0123456789");
	const char *fraction = digits[whole] == '.' ? digits + whole + 1 : "";
	size_t places = strspn(fraction, "0123456789");
	char *p = out;

	if (whole + places > 0 && strpbrk(digits, "eE"))
		return format_exponent(text, out, size);
	if (whole + places == 0 || fraction[places] || (digits[whole] && digits[whole] != '.') ||
	    whole + 6 > size)
		return -1;
	if (*text == '-')
		*p++ = '-';
	*p++ = '0'; /* room for a carry */
	memcpy(p, digits, whole);
	p += whole;
	*p++ = '.';
	*p++ = places > 0 ? fraction[0] : '0';
	*p++ = places > 1 ? fraction[1] : '0';
	*p = '\0';
	if (places > 2 && fraction[2] >= '5')
		increment(out + (*text == '-'), p - 1);
	/* Takes leading zeros off, down to one digit. */
	p = out + (*text == '-');
	while (p[0] == '0' && p[1] != '.')
		memmove(p, p + 1, strlen(p));
	return 0;
}
