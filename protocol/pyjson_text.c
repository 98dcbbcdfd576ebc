/* Characters as Python counts and shows them. */
#include <stdio.h>
#include <string.h>

#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"

size_t pyjson_char(const char *text, size_t left, unsigned *ret_c)
{
	static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *p = (const unsigned char *)text;
	size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	unsigned c;

	if (p[0] < 0x80) {
		*ret_c = p[0];
		return 1;
	}
	if (p[0] < 0xc2 || p[0] > 0xf4 || left < n)
		return 0;
	c = p[0] & (0xffU >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fU);
	}
	if (c < least[n] || c > 0x10ffff)
		return 0;
	*ret_c = c;
	return n;
}

static size_t char_len(const char *text, size_t left)
{
	unsigned c;
	size_t n = pyjson_char(text, left, &c);

	return n ? n : 1;
}

size_t pyjson_char_count(const char *text, size_t len)
{
	size_t count = 0;

	for (size_t i = 0; i < len; i += char_len(text + i, len - i))
		count++;
	return count;
}

size_t pyjson_char_offset(const char *text, size_t len, size_t chars)
{
	size_t i = 0;

	for (; i < len && chars > 0; chars--)
		i += char_len(text + i, len - i);
	return i;
}

/* What str.isprintable() says no to, as far as it turns up in texts: controls, format characters,
 * separators, surrogates, private use. */
static bool is_printable(unsigned c)
{
	if (c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0xad)
		return false;
	if ((c >= 0x2000 && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f) ||
	    (c >= 0x205f && c <= 0x206f))
		return false;
	if ((c >= 0xd800 && c <= 0xf8ff) || c == 0x3000 || c == 0xfeff || c >= 0xe0000)
		return false;
	return (c & 0xfffe) != 0xfffe;
}

static void repr_char(struct str *out, unsigned c, const char *bytes, size_t n, char quote)
{
	if (c == '\n')
		str_puts(out, "\\n");
	else if (c == '\r')
		str_puts(out, "\\r");
	else if (c == '\t')
		str_puts(out, "\\t");
	else if (c == '\\' || c == (unsigned char)quote)
		str_addf(out, "\\%c", (char)c);
	else if (is_printable(c))
		str_add(out, bytes, n);
	else if (c < 0x100)
		str_addf(out, "\\x%02x", c);
	else if (c < 0x10000)
		str_addf(out, "\\u%04x", c);
	else
		str_addf(out, "\\U%08x", c);
}

int pyjson_repr_str(struct str *out, const char *text, size_t len, size_t max_chars)
{
	size_t end = max_chars ? pyjson_char_offset(text, len, max_chars) : len;
	char quote = memchr(text, '\'', end) && !memchr(text, '"', end) ? '"' : '\'';

	str_addc(out, quote);
	for (size_t i = 0; i < end;) {
		unsigned c = 0;
		size_t n = pyjson_char(text + i, end - i, &c);

		if (n == 0) {
			n = 1;
			str_addf(out, "\\x%02x", (unsigned char)text[i]);
		} else {
			repr_char(out, c, text + i, n, quote);
		}
		i += n;
	}
	return str_addc(out, quote);
}

/* C1 controls and line separators would break a log line as well. */
static bool is_plain_char(unsigned c)
{
	return c >= 0x20 && (c < 0x7f || c >= 0xa0) && (c < 0xd800 || c > 0xdfff) && c != 0x2028 &&
	       c != 0x2029;
}

int pyjson_vfail(struct err *err, enum err_code code, const char *fmt, va_list args)
{
	char raw[2 * sizeof(err->text)], text[sizeof(err->text)];
	size_t len = 0, raw_len;

	vsnprintf(raw, sizeof(raw), fmt, args);
	raw_len = strlen(raw);
	for (size_t i = 0; i < raw_len;) {
		unsigned c = 0;
		size_t n = pyjson_char(raw + i, raw_len - i, &c);
		bool is_plain = n > 0 && is_plain_char(c);
		size_t out = is_plain ? n : 4;

		if (len + out >= sizeof(text))
			break;
		if (is_plain)
			memcpy(text + len, raw + i, n);
		else
			snprintf(text + len, 5, "\\x%02x", (unsigned char)raw[i]);
		len += out;
		i += is_plain ? n : 1;
	}
	text[len] = '\0';
	return err_set(err, code, "%s", text);
}

int pyjson_fail(struct err *err, enum err_code code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	pyjson_vfail(err, code, fmt, args);
	va_end(args);
	return -1;
}

static const char *object_type_name(const json_t *value)
{
	const char *token;

	switch (pyjson_tag(value, &token)) {
	case PYJSON_DATETIME:
		return "datetime";
	case PYJSON_DATE:
		return "date";
	case PYJSON_TIME:
		return "time";
	case PYJSON_DECIMAL:
		return "Decimal";
	case PYJSON_UUID:
		return "UUID";
	case PYJSON_BYTES:
	case PYJSON_BASE64:
		return "bytes";
	case PYJSON_NUMBER:
		return strpbrk(token, "NI") ? "float" : "int";
	case PYJSON_PLAIN:
		break;
	}
	return "dict";
}

const char *pyjson_type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return object_type_name(value);
	case JSON_ARRAY:
		return "list";
	case JSON_STRING:
		return "str";
	case JSON_INTEGER:
		return "int";
	case JSON_REAL:
		return "float";
	case JSON_TRUE:
	case JSON_FALSE:
		return "bool";
	case JSON_NULL:
		break;
	}
	return "NoneType";
}
