/* Texts to values. Mirrors SafeConstructor in yaml/constructor.py. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "protocol/content_impl.h"
#include "protocol/pyjson_impl.h"
#include "protocol/yaml_impl.h"

#define INT_MAX_DIGITS 4300 /* Python's own limit */

static json_t *fail(struct err *err, const char *what, const char *text)
{
	pyjson_fail(err, ERR_INVALID, "yaml: %s '%.60s'", what, text);
	return NULL;
}

/* Without underscores, in lower case. */
static void clean_number(struct str *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] != '_')
			str_addc(out,
				 text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + 32) : text[i]);
	str_addc(out, '\0'); /* something, even of nothing */
}

static json_t *integer(uint64_t value, bool is_negative)
{
	auto_str token = STR_INIT(32);

	if (value <= INT64_MAX)
		return json_integer(is_negative ? -(json_int_t)value : (json_int_t)value);
	if (is_negative && value == (uint64_t)INT64_MAX + 1)
		return json_integer(INT64_MIN);
	str_addf(&token, "%s%" PRIu64, is_negative ? "-" : "", value);
	return pyjson_number(token.data, token.len);
}

static json_t *decimal(const char *digits, bool is_negative, struct err *err)
{
	size_t len = strspn(digits, "0123456789");
	auto_str token = STR_INIT(INT_MAX_DIGITS + 1);
	uint64_t value;

	if (len == 0 || digits[len])
		return fail(err, "no integer:", digits);
	if (len > INT_MAX_DIGITS)
		return fail(err, "an integer of more than 4300 digits:", digits);
	errno = 0;
	value = strtoull(digits, NULL, 10);
	if (errno == 0)
		return integer(value, is_negative);
	str_addf(&token, "%s%s", is_negative ? "-" : "", digits);
	return pyjson_number(token.data, token.len);
}

static json_t *power_of_two(const char *digits, int base, bool is_negative, struct err *err)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(digits, &end, base);
	if (end == digits || *end || !strchr("0123456789abcdef", *digits))
		return fail(err, "no integer:", digits);
	if (errno)
		return fail(err, "an integer of more than 64 bits that is not decimal:", digits);
	return integer(value, is_negative);
}

/* 1:30:05 */
static json_t *sexagesimal(const char *text, bool is_negative, struct err *err)
{
	uint64_t value = 0, part;
	char *end;

	for (;;) {
		if (*text < '0' || *text > '9')
			return fail(err, "no integer:", text);
		errno = 0;
		part = strtoull(text, &end, 10);
		if (errno || __builtin_mul_overflow(value, 60, &value) ||
		    __builtin_add_overflow(value, part, &value))
			return fail(err,
				    "an integer of more than 64 bits that is not decimal:", text);
		if (!*end)
			return integer(value, is_negative);
		if (*end != ':')
			return fail(err, "no integer:", text);
		text = end + 1;
	}
}

static json_t *int_of(const char *text, size_t len, struct err *err)
{
	auto_str clean = STR_INIT(STR_MAX_DEFAULT);
	const char *p;
	bool is_negative;

	clean_number(&clean, text, len);
	p = clean.data;
	is_negative = *p == '-';
	p += *p == '-' || *p == '+';
	if (p[0] == '0' && p[1] == 'b')
		return power_of_two(p + 2, 2, is_negative, err);
	if (p[0] == '0' && p[1] == 'x')
		return p[3] == 'x' ? fail(err, "no integer:", text)
				   : power_of_two(p + 2, 16, is_negative, err);
	if (p[0] == '0' && p[1])
		return power_of_two(p, 8, is_negative, err);
	return strchr(p, ':') ? sexagesimal(p, is_negative, err) : decimal(p, is_negative, err);
}

/* float(text); no hexadecimal, which strtod() reads too. */
static bool read_float(const char *text, const char *stop, double *ret)
{
	char *end;

	*ret = 0;
	if (*text == '+' || *text == '-' || *text == ' ')
		return false;
	*ret = strtod(text, &end);
	return end == stop && end > text && !memchr(text, 'x', (size_t)(end - text)) &&
	       !memchr(text, '(', (size_t)(end - text));
}

static bool read_sixties(const char *text, double *ret)
{
	const char *part = text + strlen(text), *end = part;
	double base = 1, value;

	*ret = 0;
	for (;;) {
		while (part > text && part[-1] != ':')
			part--;
		/* strtod() stops at the colon */
		if (!read_float(part, end, &value))
			return false;
		*ret += value * base;
		base *= 60;
		if (part == text)
			return true;
		end = --part;
	}
}

static json_t *float_of(const char *text, size_t len, struct err *err)
{
	auto_str clean = STR_INIT(STR_MAX_DEFAULT);
	const char *p;
	double value, sign;

	clean_number(&clean, text, len);
	p = clean.data;
	sign = *p == '-' ? -1 : 1;
	p += *p == '-' || *p == '+';
	if (strcmp(p, ".inf") == 0)
		return content_real(sign * (double)__builtin_inf());
	if (strcmp(p, ".nan") == 0)
		return content_real((double)__builtin_nan(""));
	if (strchr(p, ':') ? !read_sixties(p, &value) : !read_float(p, p + strlen(p), &value))
		return fail(err, "no float:", text);
	return content_real(sign * value);
}

static json_t *bool_of(const char *text, struct err *err)
{
	static const char *const trues[] = {"yes", "true", "on"};
	static const char *const falses[] = {"no", "false", "off"};

	for (size_t i = 0; i < 3; i++) {
		if (strcasecmp(text, trues[i]) == 0)
			return json_true();
		if (strcasecmp(text, falses[i]) == 0)
			return json_false();
	}
	return fail(err, "no truth value:", text);
}

static json_t *binary_of(const char *text, size_t len, struct err *err)
{
	auto_str bytes = STR_INIT(STR_MAX_DEFAULT);
	struct err why = {0};

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] >= 0x80)
			return fail(err, "base64 must be ASCII:", text);
	if (base64_decode(&bytes, text, len, &why) < 0)
		return fail(err, why.text, text);
	return content_bytes(bytes.data, bytes.len);
}

/* A number of these digits, and behind it. */
static int number_at(const char **p)
{
	int value = 0;

	while (**p >= '0' && **p <= '9')
		value = value * 10 + *(*p)++ - '0';
	return value;
}

static void write_fraction(struct str *out, const char **p)
{
	char digits[7] = "000000";

	for (size_t i = 0; **p >= '0' && **p <= '9'; i++, (*p)++)
		if (i < 6)
			digits[i] = **p;
	if (strcmp(digits, "000000") != 0)
		str_addf(out, ".%s", digits);
}

static void write_zone(struct str *out, const char *p)
{
	char sign;
	int hours, minutes;

	p += strspn(p, " \t");
	if (*p == 'Z')
		str_puts(out, "+00:00");
	if (*p != '+' && *p != '-')
		return;
	sign = *p++;
	hours = number_at(&p);
	p += *p == ':';
	minutes = number_at(&p);
	str_addf(out, "%c%02d:%02d", hours || minutes ? sign : '+', hours + minutes / 60,
		 minutes % 60);
}

/* Its form is known; whether there is such a day kombu's tag decides. */
static json_t *timestamp_of(const char *text, size_t len, struct err *err)
{
	auto_str out = STR_INIT(64);
	const char *p = text;
	json_t *value;
	struct err why = {0};

	if (yaml_kind_of_plain(text, len) != YAML_KIND_TIMESTAMP)
		return fail(err, "no timestamp:", text);
	int year = number_at(&p), month = (p++, number_at(&p)), day = (p++, number_at(&p));

	str_addf(&out, "%04d-%02d-%02d", year, month, day);
	if (*p) {
		p += strspn(p, "Tt \t");
		int hour = number_at(&p), minute = (p++, number_at(&p)),
		    second = (p++, number_at(&p));

		if (hour > 23)
			return fail(err, "no timestamp:", text);
		str_addf(&out, "T%02d:%02d:%02d", hour, minute, second);
		if (*p == '.') {
			p++;
			write_fraction(&out, &p);
		}
		write_zone(&out, p);
	}
	value = content_tagged(out.len > 10 ? "datetime" : "date", out.data, out.len);
	if (pyjson_tag_check(value, &why) == 0)
		return value;
	json_decref(value);
	return fail(err, "no timestamp:", text);
}

json_t *yaml_scalar(enum yaml_kind kind, const char *text, size_t len, struct err *err)
{
	switch (kind) {
	case YAML_KIND_STR:
		return json_stringn_nocheck(text, len);
	case YAML_KIND_NULL:
		return json_null();
	case YAML_KIND_BOOL:
		return bool_of(text, err);
	case YAML_KIND_INT:
		return int_of(text, len, err);
	case YAML_KIND_FLOAT:
		return float_of(text, len, err);
	case YAML_KIND_TIMESTAMP:
		return timestamp_of(text, len, err);
	case YAML_KIND_BINARY:
		return binary_of(text, len, err);
	case YAML_KIND_MERGE:
	case YAML_KIND_VALUE:
	case YAML_KIND_OTHER:
		break;
	}
	return fail(err, "could not determine a constructor for", text);
}
