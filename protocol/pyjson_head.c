/* A short text in place of a long one, for what shows no more than its beginning. */
#include <string.h>

#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"

enum {
	/* No more bytes of a text than this stand for one character: two escapes of four digits. */
	CHAR_MAX_BYTES = 12,
	STRING_MIN_BYTES = 256,	 /* a date is never cut */
	HIDDEN_MAX_BYTES = 4096, /* an object that only shows when it is a tag */
	SHORT_TEXT = 65536,	 /* read whole */
};

struct head {
	const char *p, *end;
	struct str *out;
	size_t string_bytes; /* enough of a string to fill the limit */
	size_t values;	     /* that may still come: each shows as one character at least */
	unsigned levels;     /* 0 = any */
	bool as_tuple;
	bool is_over; /* the limit is reached: only brackets follow */
};

static int head_value(struct head *h, unsigned level);

static void skip_space(struct head *h)
{
	while (h->p < h->end && strchr(" \n\t\r", *h->p) && *h->p)
		h->p++;
}

/* From anywhere between two characters of a string to behind its end. */
static int skip_string_rest(struct head *h)
{
	const char *from = h->p;

	for (;;) {
		const char *quote = memchr(h->p, '"', (size_t)(h->end - h->p));
		const char *back = quote;

		if (!quote)
			return -1;
		while (back > from && back[-1] == '\\')
			back--;
		h->p = quote + 1;
		if ((quote - back) % 2 == 0)
			return 0;
	}
}

/* From inside a container, behind a value, to behind its closing bracket. */
static int skip_container_rest(struct head *h)
{
	size_t depth = 1;

	while (h->p < h->end) {
		char c = *h->p++;

		if (c == '"' && skip_string_rest(h) != 0)
			return -1;
		if (c == '[' || c == '{')
			depth++;
		if ((c == ']' || c == '}') && --depth == 0)
			return 0;
	}
	return -1;
}

/* Where a string may be cut: behind at least `len` bytes or at its end, not inside a character or
 * an escape. NULL when it has no end. */
static const char *string_cut(const char *p, const char *end, size_t len)
{
	const char *least = (size_t)(end - p) > len ? p + len : end;

	while (p < end && *p != '"' && (p < least || ((unsigned char)*p & 0xc0) == 0x80)) {
		ptrdiff_t size = *p != '\\' ? 1 : end - p > 1 && p[1] == 'u' ? 6 : 2;

		if (end - p < size)
			return NULL;
		p += size;
	}
	return p < end ? p : NULL;
}

static int head_string(struct head *h)
{
	const char *start = h->p;
	const char *cut = string_cut(start + 1, h->end, h->string_bytes);

	if (!cut)
		return -1;
	str_add(h->out, start, (size_t)(cut - start));
	str_addc(h->out, '"');
	h->p = cut;
	return skip_string_rest(h);
}

static int head_word(struct head *h)
{
	const char *start = h->p;

	while (h->p < h->end && !strchr(",:]} \n\t\r\"[{", *h->p))
		h->p++;
	str_add(h->out, start, (size_t)(h->p - start));
	return h->p > start ? 0 : -1;
}

/* A container below the last level that shows. */
static int head_hidden(struct head *h)
{
	const char *start = h->p++;
	bool is_object = *start == '{';

	if (skip_container_rest(h) != 0)
		return -1;
	if (is_object && h->p - start <= HIDDEN_MAX_BYTES)
		return str_add(h->out, start, (size_t)(h->p - start));
	return str_puts(h->out, is_object ? "{}" : "[]");
}

/* The limit is reached. Of a tuple it still shows whether it has one element or more. */
static int end_early(struct head *h, size_t count, unsigned level)
{
	h->is_over = true;
	if (!h->as_tuple)
		return 0;
	if (level > 0)
		return skip_container_rest(h);
	if (count == 1)
		str_puts(h->out, ",0");
	return 0;
}

static int head_key(struct head *h)
{
	skip_space(h);
	if (h->p >= h->end || *h->p != '"' || head_string(h) != 0)
		return -1;
	skip_space(h);
	if (h->p >= h->end || *h->p != ':')
		return -1;
	return str_addc(h->out, *h->p++);
}

/* What stands between the brackets; p is behind the closing one, unless the limit is reached. */
static int head_members(struct head *h, char close, unsigned level)
{
	for (size_t count = 0;; count++) {
		skip_space(h);
		if (h->p >= h->end)
			return -1;
		if (*h->p == close) {
			h->p++;
			return 0;
		}
		if (h->is_over || h->values == 0)
			return end_early(h, count, level);
		if (count && *h->p != ',')
			return -1;
		if (count)
			str_addc(h->out, *h->p++);
		if ((close == '}' && head_key(h) != 0) || head_value(h, level + 1) != 0)
			return -1;
		if (h->is_over && !h->as_tuple)
			return 0;
	}
}

static int head_container(struct head *h, unsigned level)
{
	char close = *h->p == '[' ? ']' : '}';

	if (level >= PYJSON_MAX_DEPTH)
		return -1;
	str_addc(h->out, *h->p++);
	if (head_members(h, close, level) != 0)
		return -1;
	return str_addc(h->out, close);
}

static int head_value(struct head *h, unsigned level)
{
	skip_space(h);
	if (h->p >= h->end)
		return -1;
	h->values -= h->values > 0;
	switch (*h->p) {
	case '"':
		return head_string(h);
	case '[':
	case '{':
		if (h->levels && level >= h->levels)
			return head_hidden(h);
		return head_container(h, level);
	default:
		return head_word(h);
	}
}

int pyjson_head(struct str *out, const char *data, size_t len, size_t max_len, unsigned max_levels,
		bool as_tuple)
{
	size_t string_bytes = CHAR_MAX_BYTES * (max_len + 2);
	struct head h = {
		.p = data,
		.end = data + len,
		.out = out,
		.string_bytes = string_bytes > STRING_MIN_BYTES ? string_bytes : STRING_MIN_BYTES,
		.values = max_len + 3,
		.levels = max_levels,
	};

	skip_space(&h);
	h.as_tuple = as_tuple && h.p < h.end && *h.p == '[';
	return head_value(&h, 0) == 0 && !out->is_full ? 0 : -1;
}

static json_t *load_head(const char *data, size_t len, size_t max_len, unsigned max_levels,
			 bool as_tuple)
{
	auto_str head = STR_INIT(STR_MAX_DEFAULT);

	if (max_len == 0 || len <= SHORT_TEXT ||
	    pyjson_head(&head, data, len, max_len, max_levels, as_tuple) != 0)
		return NULL;
	return pyjson_load(head.data, head.len, NULL);
}

int pyjson_repr_text(struct str *out, const char *data, size_t len, size_t max_len,
		     unsigned max_levels, bool as_tuple)
{
	json_t *value = load_head(data, len, max_len, max_levels, as_tuple);
	int result;

	if (!value)
		value = pyjson_load(data, len, NULL);
	if (!value)
		return -1;
	result = pyjson_repr(out, value, max_len, max_levels, as_tuple);
	json_decref(value);
	return result;
}
