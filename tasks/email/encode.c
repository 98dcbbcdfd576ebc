#include "tasks/email/encode.h"

#include <stdbool.h>
#include <string.h>

#define QP_LINE_MAX	  76
#define PLAIN_LINE_MAX	  78
#define BASE64_LINE_BYTES 57 /* 76 characters */
#define BLOCK		  64 /* a loop of fixed length is vectorized */

static const char hex_digits[] = "0123456789ABCDEF";

/* The first line feed, or `end`. */
static const char *find_lf(const char *text, const char *end)
{
	const char *lf = memchr(text, '\n', (size_t)(end - text));

	return lf ? lf : end;
}

void crlf_normalize(struct buf *out, const char *text, size_t len)
{
	const char *end = text + len, *lf = find_lf(text, end);

	buf_reserve(out, len + len / 32);
	while (text < end) {
		const char *cr = memchr(text, '\r', (size_t)(lf - text));
		const char *stop = cr ? cr : lf;

		buf_add(out, text, (size_t)(stop - text));
		if (stop < end)
			buf_add(out, "\r\n", 2);
		if (stop + 1 < lf) { /* CR alone */
			text = stop + 1;
		} else {
			text = lf < end ? lf + 1 : end;
			lf = find_lf(text, end);
		}
	}
}

static bool is_qp_plain(unsigned char c)
{
	return (c >= 32 && c <= 126 && c != '=') || c == '\t';
}

/* How many of the first BLOCK bytes are not plain, line ends included. No branches: see BLOCK. */
static unsigned block_odd(const unsigned char *p)
{
	unsigned char odd = 0;

	for (size_t i = 0; i < BLOCK; i++)
		odd = (unsigned char)(odd + (((p[i] < 32) & (p[i] != '\t')) | (p[i] > 126) |
					     (p[i] == '=')));
	return odd;
}

static size_t count_odd(const unsigned char *p, size_t len)
{
	size_t odd = 0;

	for (; len >= BLOCK; p += BLOCK, len -= BLOCK)
		odd += block_odd(p);
	for (size_t i = 0; i < len; i++)
		odd += !is_qp_plain(p[i]);
	return odd;
}

static size_t count_char(const char *text, size_t len, char c)
{
	size_t count = 0;

	for (const char *end = text + len; (text = memchr(text, c, (size_t)(end - text))); text++)
		count++;
	return count;
}

static bool has_long_line(const char *text, size_t len)
{
	const char *end = text + len, *lf;

	for (; (lf = memchr(text, '\n', (size_t)(end - text))); text = lf + 1)
		if (lf - text > PLAIN_LINE_MAX + 1) /* the CR counts too */
			return true;
	return end - text > PLAIN_LINE_MAX + 1;
}

enum encoding encoding_choose(const char *text, size_t len)
{
	size_t odd = count_odd((const unsigned char *)text, len);

	if (odd)
		odd -= count_char(text, len, '\r') + count_char(text, len, '\n');
	if (!has_long_line(text, len) && (!odd || odd == count_char(text, len, '=')))
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

/* How many bytes from here on are plain; looks no further than `len`. */
static size_t plain_run(const unsigned char *p, size_t len)
{
	size_t run = 0;

	while (len - run >= BLOCK && block_odd(p + run) == 0)
		run += BLOCK;
	while (run < len && is_qp_plain(p[run]))
		run++;
	return run;
}

/* Columns that a plain run may fill; a soft break needs one, the line's own end none. */
static size_t qp_room(size_t column, size_t left)
{
	return left + column <= QP_LINE_MAX ? left : QP_LINE_MAX - 1 - column;
}

/* One line without its end; soft breaks go between characters, not into them. */
static void qp_line(struct buf *out, const unsigned char *p, size_t len)
{
	/* White space at the end of a line would be lost on the way. */
	bool has_blank_end = len && (p[len - 1] == ' ' || p[len - 1] == '\t');
	size_t column = 0, i = 0;

	while (i < len) {
		size_t room = qp_room(column, len - i);
		size_t most = has_blank_end && room == len - i ? room - 1 : room;
		size_t run = plain_run(p + i, most), width;
		char code[3] = {'='};

		buf_add(out, (const char *)p + i, run);
		i += run;
		column += run;
		if (i == len)
			break;
		width = is_qp_plain(p[i]) && i + 1 < len ? 1 : 3 * sequence_len(p[i]);
		if (column + width > QP_LINE_MAX - (size_t)(i + 1 < len)) {
			buf_add(out, "=\r\n", 3);
			column = 0;
		} else {
			code[1] = hex_digits[p[i] >> 4];
			code[2] = hex_digits[p[i] & 15];
			buf_add(out, code, 3);
			column += 3;
			i++;
		}
	}
}

static void qp_write(struct buf *out, const char *text, size_t len)
{
	const char *end = text + len, *lf = text;

	while ((lf = memchr(lf, '\n', (size_t)(end - lf)))) {
		if (lf++ == text || lf[-2] != '\r')
			continue;
		qp_line(out, (const unsigned char *)text, (size_t)(lf - 2 - text));
		buf_add(out, "\r\n", 2);
		text = lf;
	}
	qp_line(out, (const unsigned char *)text, (size_t)(end - text));
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
