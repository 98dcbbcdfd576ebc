#include "tasks/email/header.h"

#include <stdbool.h>
#include <string.h>

#include "tasks/email/encode.h"

#define LINE_MAX_COLUMN	 78
#define ENCODED_WORD_MAX 75 /* RFC 2047 section 2 */
#define WORD_PREFIX	 "=?utf-8?q?"
#define WORD_EXTRA	 12 /* "=?utf-8?q?" and "?=" */

/* Where the writer stands in the current line. */
struct cursor {
	struct buf *out;
	size_t column;
	bool has_token; /* something stands behind the field's name */
};

static struct cursor header_begin(struct buf *out, const char *name)
{
	buf_puts(out, name);
	buf_puts(out, ":");
	return (struct cursor){out, strlen(name) + 1, false};
}

/* Writes a space and the token, as a new line when it would not fit. */
static void put_token(struct cursor *cur, const char *token, size_t len)
{
	if (cur->column + 1 + len > LINE_MAX_COLUMN) {
		buf_puts(cur->out, "\r\n");
		cur->column = 0;
	}
	buf_addc(cur->out, ' ');
	buf_add(cur->out, token, len);
	cur->column += 1 + len;
	cur->has_token = true;
}

static size_t char_len(const char *p)
{
	unsigned char c = (unsigned char)*p;

	return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* Characters that may stand as they are in an encoded word of any header field, display names
 * included (RFC 2047 section 5, rule 3). */
static bool is_plain_q(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       c == '!' || c == '*' || c == '+' || c == '-' || c == '/';
}

static size_t q_width(const char *p, size_t len)
{
	size_t width = 0;

	for (size_t i = 0; i < len; i++)
		width += p[i] == ' ' || is_plain_q((unsigned char)p[i]) ? 1 : 3;
	return width;
}

static void put_q(struct buf *out, const char *p, size_t len)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c == ' ') {
			buf_addc(out, '_');
		} else if (is_plain_q(c)) {
			buf_addc(out, (char)c);
		} else {
			buf_addc(out, '=');
			buf_addc(out, hex[c >> 4]);
			buf_addc(out, hex[c & 15]);
		}
	}
}

/* How many bytes of `p` fit into one encoded word of `room` columns; never splits a character, and
 * takes at least one. */
static size_t word_take(const char *p, bool is_b, size_t room)
{
	size_t len = 0, width = 0;

	while (p[len]) {
		size_t n = char_len(p + len);
		size_t next = is_b ? (len + n + 2) / 3 * 4 : width + q_width(p + len, n);

		if (len > 0 && next + WORD_EXTRA > room)
			break;
		width = next;
		len += n;
	}
	return len;
}

/* Columns for the next encoded word: the rest of this line, or a line of its own when the rest is
 * small or would cut a short value in two. The first stays beside the field's name: some readers
 * take a line end there for a space. */
static size_t word_room(const struct cursor *cur, size_t width)
{
	size_t rest = cur->column + 1 < LINE_MAX_COLUMN ? LINE_MAX_COLUMN - cur->column - 1 : 0;
	bool is_late = cur->has_token && cur->column > LINE_MAX_COLUMN / 2;

	if (rest < 2 * WORD_EXTRA || (is_late && width + WORD_EXTRA > rest))
		return ENCODED_WORD_MAX;
	return rest < ENCODED_WORD_MAX ? rest : ENCODED_WORD_MAX;
}

/* The whole value as encoded words; readers drop the white space between them. */
static void put_encoded(struct cursor *cur, const char *value)
{
	size_t total = strlen(value);
	size_t as_b = (total + 2) / 3 * 4, as_q = q_width(value, total);
	bool is_b = as_b < as_q;

	while (*value) {
		struct buf word = {0};
		size_t len = word_take(value, is_b, word_room(cur, is_b ? as_b : as_q));

		buf_puts(&word, is_b ? "=?utf-8?b?" : WORD_PREFIX);
		if (is_b)
			base64_add(&word, value, len);
		else
			put_q(&word, value, len);
		buf_puts(&word, "?=");
		put_token(cur, word.data, word.len);
		buf_clear(&word);
		value += len;
	}
}

/* ASCII that reads back the same after folding: no doubled or outer spaces to lose, no word that
 * is too long for a line (the first: for what `column` leaves), nothing that looks like an encoded
 * word. */
static bool is_plain_text(const char *value, size_t column)
{
	size_t word = 0;

	if (column + 1 + strcspn(value, " ") > LINE_MAX_COLUMN)
		return false;
	if (*value == ' ' || strstr(value, "=?"))
		return false;
	for (const char *p = value; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			return false;
		word = *p == ' ' ? 0 : word + 1;
		if (word > LINE_MAX_COLUMN - 2 || (*p == ' ' && (p[1] == ' ' || !p[1])))
			return false;
	}
	return true;
}

static void put_words(struct cursor *cur, const char *value)
{
	while (*value) {
		size_t len = strcspn(value, " ");

		put_token(cur, value, len);
		value += len;
		value += *value == ' ';
	}
}

void header_text(struct buf *out, const char *name, const char *value)
{
	struct cursor cur = header_begin(out, name);

	if (!*value)
		buf_addc(out, ' ');
	else if (is_plain_text(value, cur.column))
		put_words(&cur, value);
	else
		put_encoded(&cur, value);
	buf_puts(out, "\r\n");
}

/* A display name of atoms and single spaces needs no quotes. */
static bool is_atoms(const char *name)
{
	for (const char *p = name; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (c != ' ' && !is_plain_q(c) && !strchr("#$%&'=?^_`{|}~", c))
			return false;
	}
	return true;
}

static void put_name(struct cursor *cur, const char *name)
{
	struct buf quoted = {0};

	if (!is_plain_text(name, 0)) {
		put_encoded(cur, name);
		return;
	}
	if (is_atoms(name)) {
		put_words(cur, name);
		return;
	}
	buf_addc(&quoted, '"');
	for (const char *p = name; *p; p++) {
		if (*p == '"' || *p == '\\')
			buf_addc(&quoted, '\\');
		buf_addc(&quoted, *p);
	}
	buf_addc(&quoted, '"');
	if (quoted.len < LINE_MAX_COLUMN)
		put_token(cur, quoted.data, quoted.len);
	else
		put_encoded(cur, name);
	buf_clear(&quoted);
}

void header_addresses(struct buf *out, const char *name, const struct address_list *list)
{
	struct cursor cur;

	if (list->count == 0)
		return;
	cur = header_begin(out, name);
	for (size_t i = 0; i < list->count; i++) {
		const struct address *a = &list->items[i];
		struct buf spec = {0};

		if (a->name)
			put_name(&cur, a->name);
		buf_puts(&spec, a->name ? "<" : "");
		buf_puts(&spec, a->spec);
		buf_puts(&spec, a->name ? ">" : "");
		buf_puts(&spec, i + 1 < list->count ? "," : "");
		put_token(&cur, spec.data, spec.len);
		buf_clear(&spec);
	}
	buf_puts(out, "\r\n");
}

void header_raw(struct buf *out, const char *name, const char *value)
{
	buf_printf(out, "%s: %s\r\n", name, value);
}
