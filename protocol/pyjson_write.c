/* Values to text. Mirrors CPython's Lib/json/encoder.py with its defaults. */
#include <stdint.h>
#include <string.h>

#include "base/text.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"

static int dump_value(struct str *out, const json_t *value, unsigned depth);

static int add_escape(struct str *out, unsigned c)
{
	static const char hex[] = "0123456789abcdef";
	char text[6] = {'\\',	    'u', hex[c >> 12 & 15], hex[c >> 8 & 15], hex[c >> 4 & 15],
			hex[c & 15]};

	return str_add(out, text, sizeof(text));
}

static int add_ascii(struct str *out, char c)
{
	static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
	const char *found = c ? strchr(from, c) : NULL;

	if (!found)
		return add_escape(out, (unsigned char)c);
	str_addc(out, '\\');
	return str_addc(out, to[found - from]);
}

static size_t add_char(struct str *out, const char *p, size_t left)
{
	unsigned c;
	size_t n;

	if ((unsigned char)*p < 0x80) {
		add_ascii(out, *p);
		return 1;
	}
	n = pyjson_char(p, left, &c);
	if (n == 0) {
		add_escape(out, 0xfffd);
		return 1;
	}
	if (c >= 0x10000) {
		add_escape(out, 0xd800 + ((c - 0x10000) >> 10));
		add_escape(out, 0xdc00 + (c & 0x3ff));
	} else {
		add_escape(out, c);
	}
	return n;
}

/* Do eight bytes stand for themselves, as those of ids, names and dates do? From 0x20 to 0x7e, no
 * quote and no backslash: what is added and taken away sets the top bit of the first that does not
 * (and perhaps of some behind it). */
static bool are_eight_plain(const char *text)
{
	const uint64_t ones = UINT64_MAX / 255, tops = ones * 0x80;
	uint64_t eight, quote, backslash, low, high;

	memcpy(&eight, text, sizeof(eight));
	quote = eight ^ ones * '"';
	backslash = eight ^ ones * '\\';
	low = eight - ones * 0x20;
	high = eight + ones;
	return ((eight | low | high | (quote - ones) | (backslash - ones)) & tops) == 0;
}

static size_t plain_length(const char *text, size_t len)
{
	size_t i = 0;

	while (len - i >= 8 && are_eight_plain(text + i))
		i += 8;
	while (i < len && text[i] >= 0x20 && text[i] < 0x7f && text[i] != '"' && text[i] != '\\')
		i++;
	return i;
}

int pyjson_dump_str(struct str *out, const char *text, size_t len)
{
	size_t i = 0;

	str_addc(out, '"');
	while (i < len && !out->is_full) {
		size_t plain = i;

		i += plain_length(text + i, len - i);
		if (i > plain)
			str_add(out, text + plain, i - plain);
		if (i < len)
			i += add_char(out, text + i, len - i);
	}
	return str_addc(out, '"');
}

static int dump_real(struct str *out, double value)
{
	if (value != value)
		return str_puts(out, "NaN");
	if (value - value != 0.0)
		return str_puts(out, value < 0 ? "-Infinity" : "Infinity");
	return float_repr(out, value);
}

static int dump_array(struct str *out, const json_t *array, unsigned depth)
{
	str_addc(out, '[');
	for (size_t i = 0; i < json_array_size(array); i++) {
		if (i)
			str_add(out, ", ", 2);
		if (dump_value(out, json_array_get(array, i), depth) == -1)
			return -1;
	}
	return str_addc(out, ']');
}

static int dump_object(struct str *out, const json_t *object, unsigned depth)
{
	const char *token;
	bool is_first = true;

	if (pyjson_tag(object, &token) == PYJSON_NUMBER)
		return str_puts(out, token);
	str_addc(out, '{');
	/* jansson's iterators do not change the object, yet ask for one that is not const. */
	for (void *it = json_object_iter((json_t *)(uintptr_t)object); it;
	     it = json_object_iter_next((json_t *)(uintptr_t)object, it)) {
		if (!is_first)
			str_add(out, ", ", 2);
		is_first = false;
		pyjson_dump_str(out, json_object_iter_key(it), json_object_iter_key_len(it));
		str_add(out, ": ", 2);
		if (dump_value(out, json_object_iter_value(it), depth) == -1)
			return -1;
	}
	return str_addc(out, '}');
}

static int dump_value(struct str *out, const json_t *value, unsigned depth)
{
	/* Loaded values are never deeper; one that was built and is shall not eat the stack. */
	if (depth > PYJSON_MAX_DEPTH) {
		out->is_full = true;
		return -1;
	}
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return dump_object(out, value, depth + 1);
	case JSON_ARRAY:
		return dump_array(out, value, depth + 1);
	case JSON_STRING:
		return pyjson_dump_str(out, json_string_value(value), json_string_length(value));
	case JSON_INTEGER:
		return str_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	case JSON_REAL:
		return dump_real(out, json_real_value(value));
	case JSON_TRUE:
		return str_puts(out, "true");
	case JSON_FALSE:
		return str_puts(out, "false");
	case JSON_NULL:
		return str_puts(out, "null");
	}
	return -1;
}

int pyjson_dump(struct str *out, const json_t *value)
{
	return dump_value(out, value, 0);
}
