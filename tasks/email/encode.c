#include "tasks/email/encode.h"

#include <stdbool.h>

#define QP_LINE_MAX	  76
#define PLAIN_LINE_MAX	  78
#define BASE64_LINE_BYTES 57 /* 76 characters */

static const char hex_digits[] = "0123456789ABCDEF";

void crlf_normalize(struct buf *out, const char *text, size_t len)
{
	size_t start = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] != '\r' && text[i] != '\n')
			continue;
		buf_add(out, text + start, i - start);
		buf_add(out, "\r\n", 2);
		if (text[i] == '\r' && i + 1 < len && text[i + 1] == '\n')
			i++;
		start = i + 1;
	}
	buf_add(out, text + start, len - start);
}

static bool is_qp_plain(unsigned char c)
{
	return (c >= 32 && c <= 126 && c != '=') || c == '\t';
}

enum encoding encoding_choose(const char *text, size_t len)
{
	size_t line = 0, odd = 0;
	bool is_plain = true;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		line = c == '\n' ? 0 : line + 1;
		if (line > PLAIN_LINE_MAX + 1) /* the CR counts too */
			is_plain = false;
		if (c == '\r' || c == '\n')
			continue;
		if (!is_qp_plain(c))
			odd++;
		if (c != '=' && !is_qp_plain(c))
			is_plain = false;
	}
	if (is_plain)
		return ENCODING_7BIT;
	/* QP writes three bytes for one, base64 four for three. */
	return odd * 2 > len / 3 ? ENCODING_BASE64 : ENCODING_QP;
}

const char *encoding_name(enum encoding e)
{
	return e == ENCODING_7BIT ? "7bit" : e == ENCODING_QP ? "quoted-printable" : "base64";
}

static size_t sequence_len(unsigned char c)
{
	return c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* One line without its end; soft breaks go between characters, not into them. */
static void qp_line(struct buf *out, const unsigned char *p, size_t len)
{
	size_t column = 0;

	for (size_t i = 0; i < len; i++) {
		bool is_last = i + 1 == len;
		bool is_plain = is_qp_plain(p[i]) && !(is_last && (p[i] == ' ' || p[i] == '\t'));
		size_t width = is_plain ? 1 : 3 * sequence_len(p[i]);

		if (column + width > QP_LINE_MAX - (is_last ? 0 : 1)) {
			buf_puts(out, "=\r\n");
			column = 0;
		}
		if (is_plain) {
			buf_addc(out, (char)p[i]);
			column++;
		} else {
			char code[3] = {'=', hex_digits[p[i] >> 4], hex_digits[p[i] & 15]};

			buf_add(out, code, 3);
			column += 3;
		}
	}
}

static void qp_write(struct buf *out, const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t start = 0;

	for (size_t i = 0; i + 1 < len; i++) {
		if (p[i] != '\r' || p[i + 1] != '\n')
			continue;
		qp_line(out, p + start, i - start);
		buf_puts(out, "\r\n");
		start = i + 2;
	}
	qp_line(out, p + start, len - start);
}

void base64_add(struct buf *out, const char *text, size_t len)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = (const unsigned char *)text;

	for (size_t i = 0; i < len; i += 3) {
		unsigned v = (unsigned)p[i] << 16 | (i + 1 < len ? (unsigned)p[i + 1] << 8 : 0) |
			     (i + 2 < len ? (unsigned)p[i + 2] : 0);
		char four[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63],
				i + 1 < len ? alphabet[v >> 6 & 63] : '=',
				i + 2 < len ? alphabet[v & 63] : '='};

		buf_add(out, four, 4);
	}
}

static void base64_write(struct buf *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i += BASE64_LINE_BYTES) {
		size_t left = len - i;

		if (i)
			buf_puts(out, "\r\n");
		base64_add(out, text + i, left < BASE64_LINE_BYTES ? left : BASE64_LINE_BYTES);
	}
}

void encoding_write(struct buf *out, enum encoding e, const char *text, size_t len)
{
	switch (e) {
	case ENCODING_7BIT:
		buf_add(out, text, len);
		break;
	case ENCODING_QP:
		qp_write(out, text, len);
		break;
	case ENCODING_BASE64:
		base64_write(out, text, len);
		break;
	}
}
