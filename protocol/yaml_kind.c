/* Which plain scalars are no texts. Mirrors yaml/resolver.py. */
#include <string.h>

#include "protocol/yaml_impl.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *skip_set(const char *p, const char *set)
{
	return p + strspn(p, set);
}

static const char *skip_sign(const char *p)
{
	return *p == '+' || *p == '-' ? p + 1 : p;
}

/* (?:[eE][-+][0-9]+)?$ */
static bool is_exponent_or_end(const char *p)
{
	if (!*p)
		return true;
	if (*p != 'e' && *p != 'E')
		return false;
	p++;
	if (*p != '+' && *p != '-')
		return false;
	p++;
	return is_digit(*p) && !*skip_set(p, "0123456789");
}

/* (?::[0-5]?[0-9])+ ; NULL when there is none of it */
static const char *skip_sixties(const char *p)
{
	const char *start = p;

	while (*p == ':' && is_digit(p[1])) {
		if (p[1] <= '5' && is_digit(p[2]))
			p += 3;
		else
			p += 2;
	}
	return p > start ? p : NULL;
}

static bool is_any(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

static bool is_float(const char *text)
{
	static const char *const infinities[] = {".inf", ".Inf", ".INF", NULL};
	static const char *const nans[] = {".nan", ".NaN", ".NAN", NULL};
	const char *p = skip_sign(text), *sixties;

	if (is_any(p, infinities) || is_any(text, nans))
		return true;
	if (*text == '.')
		return is_digit(text[1]) && is_exponent_or_end(skip_set(text + 1, "0123456789_"));
	if (!is_digit(*p))
		return false;
	p = skip_set(p, "0123456789_");
	if (*p == '.')
		return is_exponent_or_end(skip_set(p + 1, "0123456789_"));
	sixties = skip_sixties(p);
	return sixties && *sixties == '.' && !*skip_set(sixties + 1, "0123456789_");
}

static bool is_int(const char *text)
{
	const char *p = skip_sign(text);

	if (!is_digit(*p))
		return false;
	if (*p == '0') {
		if (p[1] == 'b')
			return p[2] && !*skip_set(p + 2, "01_");
		if (p[1] == 'x')
			return p[2] && !*skip_set(p + 2, "0123456789abcdefABCDEF_");
		return !*skip_set(p + 1, "01234567_");
	}
	p = skip_set(p, "0123456789_");
	if (!*p)
		return true;
	p = skip_sixties(p);
	return p && !*p;
}

/* Digits, at least `least` and at most `most`. */
static const char *skip_number(const char *p, size_t least, size_t most)
{
	size_t count = strspn(p, "0123456789");

	return count < least || count > most ? NULL : p + count;
}

static const char *skip_char(const char *p, char c)
{
	return p && *p == c ? p + 1 : NULL;
}

static bool is_zone_or_end(const char *p)
{
	if (!*p)
		return true;
	p = skip_set(p, " \t");
	if (*p == 'Z')
		return !p[1];
	if (*p != '+' && *p != '-')
		return false;
	p = skip_number(p + 1, 1, 2);
	if (!p)
		return false;
	return !*p || (*p == ':' && is_digit(p[1]) && is_digit(p[2]) && !p[3]);
}

static bool is_timestamp(const char *text)
{
	const char *p = skip_char(skip_number(text, 4, 4), '-');
	const char *month = p;

	p = p ? skip_char(skip_number(p, 1, 2), '-') : NULL;
	if (!p)
		return false;
	bool is_short = p - month == 3 && is_digit(p[0]) && is_digit(p[1]) && !p[2];

	p = skip_number(p, 1, 2);
	if (!p || !*p)
		return p && is_short;
	if (*p == 'T' || *p == 't')
		p++;
	else if (*p == ' ' || *p == '\t')
		p = skip_set(p, " \t");
	else
		return false;
	p = skip_char(skip_number(p, 1, 2), ':');
	p = p ? skip_char(skip_number(p, 2, 2), ':') : NULL;
	p = p ? skip_number(p, 2, 2) : NULL;
	if (p && *p == '.')
		p = skip_set(p + 1, "0123456789");
	return p && is_zone_or_end(p);
}

enum yaml_kind yaml_kind_of_plain(const char *text, size_t len)
{
	static const char *const bools[] = {"yes",  "Yes",  "YES",   "no",    "No",    "NO", "true",
					    "True", "TRUE", "false", "False", "FALSE", "on", "On",
					    "ON",   "off",  "Off",   "OFF",   NULL};
	static const char *const nulls[] = {"~", "null", "Null", "NULL", "", NULL};

	if (strlen(text) != len)
		return YAML_KIND_STR;
	if (is_any(text, bools))
		return YAML_KIND_BOOL;
	if (is_any(text, nulls))
		return YAML_KIND_NULL;
	if (strcmp(text, "<<") == 0)
		return YAML_KIND_MERGE;
	if (strcmp(text, "=") == 0)
		return YAML_KIND_VALUE;
	if (!strchr("+-.0123456789", *text))
		return YAML_KIND_STR;
	return is_float(text)	    ? YAML_KIND_FLOAT
	       : is_int(text)	    ? YAML_KIND_INT
	       : is_timestamp(text) ? YAML_KIND_TIMESTAMP
				    : YAML_KIND_STR;
}

enum yaml_kind yaml_kind_of_tag(const char *tag)
{
	static const struct {
		const char *name;
		enum yaml_kind kind;
	} rows[] = {
		{"str", YAML_KIND_STR},
		{"bool", YAML_KIND_BOOL},
		{"float", YAML_KIND_FLOAT},
		{"int", YAML_KIND_INT},
		{"merge", YAML_KIND_MERGE},
		{"null", YAML_KIND_NULL},
		{"timestamp", YAML_KIND_TIMESTAMP},
		{"value", YAML_KIND_VALUE},
		{"binary", YAML_KIND_BINARY},
	};

	if (strncmp(tag, YAML_TAG, sizeof(YAML_TAG) - 1) != 0)
		return YAML_KIND_OTHER;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (strcmp(tag + sizeof(YAML_TAG) - 1, rows[i].name) == 0)
			return rows[i].kind;
	return YAML_KIND_OTHER;
}
