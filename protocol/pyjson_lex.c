#include "protocol/pyjson_lex.h"

#include <stdint.h>
#include <string.h>

#include "base/text.h"
#include "protocol/pyjson.h"

/* CPython's sys.get_int_max_str_digits(). */
#define INT_MAX_DIGITS 4300

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Python counts characters, not bytes. */
int pyjson_lex_fail(struct pyjson_lexer *lx, const char *what, const char *at)
{
	size_t chars = 0, line = 1, column = 1;

	for (const char *p = lx->start; p < at; p++) {
		if (((unsigned char)*p & 0xc0) == 0x80)
			continue;
		chars++;
		column++;
		if (*p == '\n') {
			line++;
			column = 1;
		}
	}
	return err_set(lx->err, ERR_INVALID, "%s: line %zu column %zu (char %zu)", what, line,
		       column, chars);
}

static bool is_ascii(const char *data, size_t len)
{
	uint64_t all = 0, word;
	size_t i = 0;

	for (; i + sizeof(word) <= len; i += sizeof(word)) {
		memcpy(&word, data + i, sizeof(word));
		all |= word;
	}
	for (; i < len; i++)
		all |= (unsigned char)data[i];
	return (all & UINT64_C(0x8080808080808080)) == 0;
}

static int fail_utf8(const char *data, size_t len, struct err *err)
{
	const char *why = "invalid continuation byte";
	size_t good = 0, left;
	unsigned char bad;

	/* The place of the first bad sequence: each character is at most four bytes. */
	while (good < len) {
		size_t n = 1;

		while (n < 4 && good + n <= len && !utf8_is_valid(data + good, n))
			n++;
		if (good + n > len || !utf8_is_valid(data + good, n))
			break;
		good += n;
	}
	bad = good < len ? (unsigned char)data[good] : 0;
	left = len - good;
	if (bad < 0xc2 || bad > 0xf4)
		why = "invalid start byte";
	else if (left < (bad >= 0xf0 ? 4U : bad >= 0xe0 ? 3U : 2U))
		why = "unexpected end of data";
	return err_set(err, ERR_INVALID,
		       "'utf-8' codec can't decode byte 0x%02x in position %zu: %s", bad, good,
		       why);
}

int pyjson_lex_init(struct pyjson_lexer *lx, const char *data, size_t len, struct err *err)
{
	*lx = (struct pyjson_lexer){.start = data, .p = data, .end = data + len, .err = err};
	if (!is_ascii(data, len) && !utf8_is_valid(data, len))
		return fail_utf8(data, len, err);
	if (len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0)
		return pyjson_lex_fail(lx, "Unexpected UTF-8 BOM (decode using utf-8-sig)", data);
	return 0;
}

/* Behind a backslash and 'u': four hexadecimal digits. */
static int lex_unicode(struct pyjson_lexer *lx, const char *p)
{
	int digits[4];

	for (int i = 0; i < 4; i++) {
		digits[i] = p + i < lx->end ? hex_digit(p[i]) : -1;
		if (digits[i] < 0)
			return pyjson_lex_fail(lx, "Invalid \\uXXXX escape", p - 1);
	}
	return 0;
}

int pyjson_lex_string(struct pyjson_lexer *lx, struct span *ret_raw, bool *ret_has_escape)
{
	const char *quote = lx->p, *p = quote + 1;

	*ret_has_escape = false;
	for (; p < lx->end && *p != '"'; p++) {
		if ((unsigned char)*p < 0x20)
			return pyjson_lex_fail(lx, "Invalid control character at", p);
		if (*p != '\\')
			continue;
		*ret_has_escape = true;
		p++;
		if (p == lx->end)
			break;
		if (*p == 'u') {
			if (lex_unicode(lx, p + 1) == -1)
				return -1;
			p += 4;
		} else if (*p == '\0' || !strchr("\"\\/bfnrt", *p)) {
			return pyjson_lex_fail(lx, "Invalid \\escape", p - 1);
		}
	}
	if (p >= lx->end)
		return pyjson_lex_fail(lx, "Unterminated string starting at", quote);
	*ret_raw = (struct span){quote + 1, (size_t)(p - quote - 1)};
	lx->p = p + 1;
	return 0;
}

static unsigned unicode_at(const char *hex)
{
	unsigned value = 0;

	for (int i = 0; i < 4; i++)
		value = value << 4 | (unsigned)hex_digit(hex[i]);
	return value;
}

static int add_utf8(struct str *out, unsigned c)
{
	char b[4];

	if (c < 0x80)
		return str_addc(out, (char)c);
	if (c < 0x800) {
		b[0] = (char)(0xc0 | c >> 6);
		b[1] = (char)(0x80 | (c & 0x3f));
		return str_add(out, b, 2);
	}
	if (c < 0x10000) {
		b[0] = (char)(0xe0 | c >> 12);
		b[1] = (char)(0x80 | (c >> 6 & 0x3f));
		b[2] = (char)(0x80 | (c & 0x3f));
		return str_add(out, b, 3);
	}
	b[0] = (char)(0xf0 | c >> 18);
	b[1] = (char)(0x80 | (c >> 12 & 0x3f));
	b[2] = (char)(0x80 | (c >> 6 & 0x3f));
	b[3] = (char)(0x80 | (c & 0x3f));
	return str_add(out, b, 4);
}

/* At the 'u' of an escape; joins a surrogate pair. Returns how many bytes were taken. */
static size_t unescape_unicode(struct str *out, const char *p, const char *end)
{
	unsigned c = unicode_at(p + 1);

	if (c >= 0xd800 && c <= 0xdbff && end - p >= 11 && p[5] == '\\' && p[6] == 'u') {
		unsigned low = unicode_at(p + 7);

		if (low >= 0xdc00 && low <= 0xdfff) {
			add_utf8(out, 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));
			return 11;
		}
	}
	add_utf8(out, c);
	return 5;
}

int pyjson_unescape(struct str *out, struct span raw)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *p = raw.data, *end = raw.data + raw.len;

	while (p < end) {
		const char *slash = memchr(p, '\\', (size_t)(end - p));

		str_add(out, p, (size_t)((slash ? slash : end) - p));
		if (!slash)
			break;
		p = slash + 1;
		if (*p == 'u') {
			p += unescape_unicode(out, p, end);
		} else {
			str_addc(out, to[strchr(from, *p) - from]);
			p++;
		}
	}
	return out->is_full ? -1 : 0;
}

bool pyjson_lex_word(struct pyjson_lexer *lx, const char *word, size_t len)
{
	if ((size_t)(lx->end - lx->p) < len || memcmp(lx->p, word, len) != 0)
		return false;
	lx->p += len;
	return true;
}

static const char *skip_digits(const char *p, const char *end)
{
	while (p < end && is_digit(*p))
		p++;
	return p;
}

static int check_int_size(struct pyjson_lexer *lx, size_t digits)
{
	if (digits <= INT_MAX_DIGITS)
		return 0;
	return err_set(lx->err, ERR_LIMIT,
		       "Exceeds the limit (%d digits) for integer string conversion: value has %zu "
		       "digits",
		       INT_MAX_DIGITS, digits);
}

int pyjson_lex_number(struct pyjson_lexer *lx, struct span *ret_token,
		      enum pyjson_number_kind *ret_kind)
{
	const char *start = lx->p, *p = start, *digits;

	*ret_kind = PYJSON_LEX_CONST;
	if (pyjson_lex_word(lx, "NaN", 3) || pyjson_lex_word(lx, "Infinity", 8) ||
	    pyjson_lex_word(lx, "-Infinity", 9)) {
		*ret_token = (struct span){start, (size_t)(lx->p - start)};
		return 0;
	}
	if (*p == '-')
		p++;
	if (p == lx->end || !is_digit(*p))
		return pyjson_lex_fail(lx, "Expecting value", start);
	digits = p;
	p = *p == '0' ? p + 1 : skip_digits(p, lx->end);
	*ret_kind = PYJSON_LEX_INT;
	if (lx->end - p >= 2 && *p == '.' && is_digit(p[1])) {
		*ret_kind = PYJSON_LEX_REAL;
		p = skip_digits(p + 1, lx->end);
	}
	if (lx->end - p >= 2 && (*p == 'e' || *p == 'E')) {
		const char *exponent = p[1] == '+' || p[1] == '-' ? p + 2 : p + 1;

		if (exponent < lx->end && is_digit(*exponent)) {
			*ret_kind = PYJSON_LEX_REAL;
			p = skip_digits(exponent, lx->end);
		}
	}
	*ret_token = (struct span){start, (size_t)(p - start)};
	lx->p = p;
	return *ret_kind == PYJSON_LEX_INT ? check_int_size(lx, (size_t)(p - digits)) : 0;
}

int pyjson_lex_enter(struct pyjson_lexer *lx)
{
	if (lx->depth >= PYJSON_MAX_DEPTH)
		return err_set(lx->err, ERR_LIMIT, "nested deeper than %d levels",
			       PYJSON_MAX_DEPTH);
	lx->depth++;
	lx->p++;
	return 0;
}

int pyjson_lex_end(struct pyjson_lexer *lx)
{
	pyjson_lex_space(lx);
	return lx->p == lx->end ? 0 : pyjson_lex_fail(lx, "Extra data", lx->p);
}

int pyjson_lex_next(struct pyjson_lexer *lx, char close, bool is_first)
{
	pyjson_lex_space(lx);
	if (lx->p < lx->end && *lx->p == close) {
		lx->p++;
		lx->depth--;
		return 0;
	}
	if (is_first)
		return 1;
	if (lx->p == lx->end || *lx->p != ',')
		return pyjson_lex_fail(lx, "Expecting ',' delimiter", lx->p);
	lx->p++;
	pyjson_lex_space(lx);
	return 1;
}

int pyjson_lex_key(struct pyjson_lexer *lx, struct span *ret_raw, bool *ret_has_escape)
{
	if (lx->p == lx->end || *lx->p != '"')
		return pyjson_lex_fail(lx, "Expecting property name enclosed in double quotes",
				       lx->p);
	if (pyjson_lex_string(lx, ret_raw, ret_has_escape) == -1)
		return -1;
	pyjson_lex_space(lx);
	if (lx->p == lx->end || *lx->p != ':')
		return pyjson_lex_fail(lx, "Expecting ':' delimiter", lx->p);
	lx->p++;
	pyjson_lex_space(lx);
	return 0;
}
