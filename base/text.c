#include "base/text.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void uuid_format(char out[37], unsigned char bytes[16])
{
	static const char hex[] = "0123456789abcdef";
	char *to = out;

	bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40);
	bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		*to++ = hex[bytes[i] >> 4];
		*to++ = hex[bytes[i] & 15];
	}
	*to = '\0';
}

void uuid4(char out[37])
{
	unsigned char bytes[16];

	/* Never short for 16 bytes, and never fails once the kernel's pool is ready. */
	while (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		continue;
	uuid_format(out, bytes);
}

/* Every bit of the input reaches every bit of the output (the last steps of MurmurHash3). */
static uint64_t mixed(uint64_t h)
{
	h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
	h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
	return h ^ (h >> 33);
}

void uuid_of(char out[37], const char *text, uint64_t number)
{
	uint64_t halves[2] = {14695981039346656037u, 0x9e3779b97f4a7c15u};
	unsigned char bytes[16];

	for (; *text; text++) {
		halves[0] = (halves[0] ^ (unsigned char)*text) * 1099511628211u;
		halves[1] = mixed(halves[1] + (unsigned char)*text);
	}
	halves[0] = mixed(halves[0] ^ mixed(number));
	halves[1] = mixed(halves[1] + mixed(number + 1));
	memcpy(bytes, halves, sizeof(bytes));
	uuid_format(out, bytes);
}

int base64_encode(struct str *out, const void *data, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *from = data;
	char *to = str_reserve(out, (len + 2) / 3 * 4);
	char *start = to;

	if (!to)
		return -1;
	for (size_t i = 0; i < len; i += 3) {
		size_t have = len - i < 3 ? len - i : 3;
		unsigned bits = (unsigned)from[i] << 16;

		if (have > 1)
			bits |= (unsigned)from[i + 1] << 8;
		if (have > 2)
			bits |= from[i + 2];
		*to++ = digits[bits >> 18];
		*to++ = digits[bits >> 12 & 63];
		*to++ = (char)(have > 1 ? digits[bits >> 6 & 63] : '=');
		*to++ = (char)(have > 2 ? digits[bits & 63] : '=');
	}
	str_commit(out, (size_t)(to - start));
	return 0;
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/* Mirrors binascii.a2b_base64(strict_mode=False): complete padding ends the text, a '=' that
 * completes nothing is skipped like any other foreign character. */
int base64_decode(struct str *out, const char *text, size_t len, struct err *err)
{
	size_t digits = 0;
	char *to, *start;
	unsigned held = 0;
	int quad = 0, pads = 0;

	for (size_t i = 0; i < len; i++)
		digits += base64_value(text[i]) >= 0;
	to = start = str_reserve(out, digits / 4 * 3 + digits % 4 * 3 / 4);
	if (!to)
		return err_set(err, ERR_LIMIT, "base64 text is too long");
	for (size_t i = 0; i < len; i++) {
		int value = base64_value(text[i]);

		if (text[i] == '=') {
			if (quad >= 2 && quad + ++pads >= 4) {
				quad = 0;
				break;
			}
			continue;
		}
		if (value < 0)
			continue;
		pads = 0;
		held = held << 6 | (unsigned)value;
		if (quad > 0)
			*to++ = (char)(held >> (6 - 2 * quad) & 0xff);
		quad = (quad + 1) % 4;
	}
	if (quad == 1)
		return err_set(err, ERR_INVALID, "base64: one character too many");
	if (quad != 0)
		return err_set(err, ERR_INVALID, "base64: incorrect padding");
	str_commit(out, (size_t)(to - start));
	return 0;
}

/*
 * Numbers above a power of two lie twice as far apart as those below, so 16 digits rounded up may
 * read back to it where the nearest 16 digits do not. A last digit of 9 cannot be: the rounded-up
 * text would have had 15 digits.
 */
static bool last_digit_up(double value, char *text)
{
	char *last = strchr(text, 'e') - 1;
	int exponent;

	if (frexp(value, &exponent) != 0.5 || *last == '9')
		return false;
	++*last;
	return strtod(text, NULL) == value;
}

/* The digits of the shortest "%.<n>e" form that reads back to `value`, and its exponent. Fewer
 * than 15 digits only tell subnormal numbers apart; others end in zeros, which are cut. */
static int shortest_digits(double value, char digits[20])
{
	char text[40];
	char *e, *to = digits;

	for (int precision = value < DBL_MIN ? 0 : 14; precision <= 16; precision++) {
		(void)snprintf(text, sizeof(text), "%.*e", precision, value);
		if (strtod(text, NULL) == value || (precision == 15 && last_digit_up(value, text)))
			break;
	}
	e = strchr(text, 'e');
	for (const char *c = text; c < e; c++)
		if (*c >= '0' && *c <= '9')
			*to++ = *c;
	while (to > digits + 1 && to[-1] == '0')
		to--;
	*to = '\0';
	return (int)strtol(e + 1, NULL, 10);
}

int float_repr(struct str *out, double value)
{
	char digits[20];
	const char *sign = signbit(value) ? "-" : "";
	int exponent, count;

	if (isnan(value))
		return str_puts(out, "nan");
	if (isinf(value))
		return str_addf(out, "%sinf", sign);
	exponent = shortest_digits(fabs(value), digits);
	count = (int)strlen(digits);
	if (exponent < -4 || exponent >= 16)
		return str_addf(out, "%s%c%s%se%+03d", sign, digits[0], count > 1 ? "." : "",
				digits + 1, exponent);
	if (exponent < 0)
		return str_addf(out, "%s0.%.*s%s", sign, -exponent - 1, "0000", digits);
	if (count <= exponent + 1)
		return str_addf(out, "%s%s%.*s.0", sign, digits, exponent + 1 - count,
				"0000000000000000");
	return str_addf(out, "%s%.*s.%s", sign, exponent + 1, digits, digits + exponent + 1);
}

/* Length of the sequence a first byte over 0x7f announces, and the least code point it may stand
 * for. */
static size_t utf8_sequence(unsigned char first, unsigned *ret_least)
{
	*ret_least = first < 0xe0 ? 0x80 : first < 0xf0 ? 0x800 : 0x10000;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* Where the ASCII at the front ends, or a little before: eight bytes at a time. */
static const unsigned char *skip_ascii(const unsigned char *at, const unsigned char *end)
{
	uint64_t word;

	for (; (size_t)(end - at) >= sizeof(word); at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		if (word & UINT64_C(0x8080808080808080))
			break;
	}
	while (at < end && *at < 0x80)
		at++;
	return at;
}

bool utf8_is_valid(const char *data, size_t len)
{
	const unsigned char *at = (const unsigned char *)data, *end = at + len;

	while ((at = skip_ascii(at, end)) < end) {
		unsigned least, code;
		size_t size = utf8_sequence(*at, &least);

		if (size == 0 || size > (size_t)(end - at))
			return false;
		code = *at & (0xffU >> (size + 1));
		for (size_t i = 1; i < size; i++) {
			if ((at[i] & 0xc0) != 0x80)
				return false;
			code = code << 6 | (at[i] & 0x3fU);
		}
		if (code < least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
			return false;
		at += size;
	}
	return true;
}

static unsigned least_of(unsigned a, unsigned b, unsigned c)
{
	unsigned least = a < b ? a : b;

	return least < c ? least : c;
}

unsigned text_distance(const char *a, const char *b)
{
	enum { MAX = 63 };
	unsigned row[MAX + 1];
	size_t a_len = strnlen(a, MAX), b_len = strnlen(b, MAX);

	for (size_t j = 0; j <= b_len; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned above = row[j];

			row[j] = least_of(above + 1, row[j - 1] + 1,
					  diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[b_len];
}

int rate_parse(const char *text, double *ret_per_second, struct err *err)
{
	char *end;
	double count = strtod(text, &end);
	double seconds = 1;

	if (end != text && *end == '/') {
		seconds = end[1] == 'm' ? 60 : end[1] == 'h' ? 3600 : 1;
		if (end[1] && strchr("smh", end[1]))
			end += 2;
	}
	if (end == text || *end || !(count >= 0 && count <= 1e6))
		return err_set(
			err, ERR_INVALID,
			"'%.40s' is no rate limit; write it as \"10/s\", \"10/m\" or \"10/h\"",
			text);
	*ret_per_second = count / seconds;
	return 0;
}

void text_guess_try(struct text_guess *g, const char *name)
{
	unsigned distance = text_distance(g->wanted, name);

	if (distance > g->most || (g->nearest && distance == g->most))
		return;
	g->most = distance;
	g->nearest = name;
}
