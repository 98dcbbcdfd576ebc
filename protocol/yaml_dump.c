/* In flow style, which is nearly JSON; the differences are where YAML 1.1 reads something else. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "protocol/content_impl.h"
#include "protocol/pyjson_impl.h"
#include "protocol/pyjson_iso.h"
#include "protocol/yaml_text.h"

#define SIMPLE_KEY_MAX 100 /* a longer key needs a "?" before it: YAML looks 1024 bytes ahead */

/* JSON's escapes mean the same in YAML's double quotes, except for pairs of surrogates. */
static void dump_text(struct str *out, const char *text, size_t len)
{
	str_addc(out, '"');
	for (size_t i = 0, n; i < len && !out->is_full; i += n) {
		unsigned c = 0xfffd;

		n = pyjson_char(text + i, len - i, &c);
		if (n == 0) {
			n = 1;
			c = 0xfffd;
		}
		if (c == '"' || c == '\\')
			str_addf(out, "\\%c", (char)c);
		else if (c >= 0x20 && c < 0x7f)
			str_addc(out, (char)c);
		else if (c < 0x100)
			str_addf(out, "\\x%02X", c);
		else
			str_addf(out, c < 0x10000 ? "\\u%04X" : "\\U%08X", c);
	}
	str_addc(out, '"');
}

/* A float needs its point: 1e+16 is a text. */
static void dump_real(struct str *out, double value)
{
	auto_str text = STR_INIT(64);
	char *e;

	float_repr(&text, value);
	e = strchr(text.data, 'e');
	if (e && !strchr(text.data, '.'))
		str_addf(out, "%.*s.0%s", (int)(e - text.data), text.data, e);
	else
		str_puts(out, text.data);
}

static void dump_number(struct str *out, const char *token)
{
	if (strcmp(token, "NaN") == 0)
		str_puts(out, ".nan");
	else if (strstr(token, "Infinity"))
		str_puts(out, *token == '-' ? "-.inf" : ".inf");
	else
		str_puts(out, token);
}

static int dump_date(struct str *out, const json_t *value, const char *text, struct err *err)
{
	bool has_time = pyjson_tag(value, NULL) == PYJSON_DATETIME;
	struct pyjson_time t;

	if (pyjson_datetime_read(text, strlen(text), &t) < 0)
		return err_set(err, ERR_INVALID, "yaml: no date");
	if (has_time && t.has_offset && (t.offset_s % 60 || t.offset_us))
		return err_set(err, ERR_UNSUPPORTED,
			       "yaml cannot serialize a datetime with an offset of seconds");
	str_addf(out, "!!timestamp \"%04d-%02d-%02d", t.year, t.month, t.day);
	if (has_time) {
		int minutes = abs(t.offset_s) / 60;

		str_addf(out, "T%02d:%02d:%02d.%06d", t.hour, t.minute, t.second, t.microsecond);
		if (t.has_offset)
			str_addf(out, "%c%02d:%02d", t.offset_s < 0 ? '-' : '+', minutes / 60,
				 minutes % 60);
	}
	str_addc(out, '"');
	return 0;
}

static int dump_value(struct str *out, const json_t *value, unsigned depth, struct err *err);

static int dump_array(struct str *out, const json_t *array, unsigned depth, struct err *err)
{
	str_addc(out, '[');
	for (size_t i = 0; i < json_array_size(array); i++) {
		if (i)
			str_puts(out, ", ");
		if (dump_value(out, json_array_get(array, i), depth, err) < 0)
			return -1;
	}
	str_addc(out, ']');
	return 0;
}

static int dump_map(struct str *out, const json_t *object, unsigned depth, struct err *err)
{
	json_t *o = (json_t *)(uintptr_t)object; /* jansson's iterators take it so */
	bool is_first = true;

	str_addc(out, '{');
	for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
		size_t len = json_object_iter_key_len(it);

		str_puts(out, is_first ? "" : ", ");
		is_first = false;
		str_puts(out, len > SIMPLE_KEY_MAX ? "? " : "");
		dump_text(out, json_object_iter_key(it), len);
		str_puts(out, len > SIMPLE_KEY_MAX ? " : " : ": ");
		if (dump_value(out, json_object_iter_value(it), depth, err) < 0)
			return -1;
	}
	str_addc(out, '}');
	return 0;
}

static int dump_object(struct str *out, const json_t *object, unsigned depth, struct err *err)
{
	auto_str bytes = STR_INIT(STR_MAX_DEFAULT);
	const char *text;

	switch (content_kind_of(object, &text, &bytes)) {
	case CONTENT_KIND_PLAIN:
		return dump_map(out, object, depth, err);
	case CONTENT_KIND_BYTES:
		str_puts(out, "!!binary \"");
		base64_encode(out, bytes.data, bytes.len);
		str_addc(out, '"');
		return 0;
	case CONTENT_KIND_NUMBER:
		dump_number(out, text);
		return 0;
	case CONTENT_KIND_DATE:
		return dump_date(out, object, text, err);
	case CONTENT_KIND_OTHER:
		break;
	}
	return content_fail_type(object, "yaml", err);
}

static int dump_value(struct str *out, const json_t *value, unsigned depth, struct err *err)
{
	if (depth > PYJSON_MAX_DEPTH)
		return err_set(err, ERR_LIMIT, "yaml: nested too deep");
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return dump_object(out, value, depth + 1, err);
	case JSON_ARRAY:
		return dump_array(out, value, depth + 1, err);
	case JSON_STRING:
		dump_text(out, json_string_value(value), json_string_length(value));
		return 0;
	case JSON_REAL:
		dump_real(out, json_real_value(value));
		return 0;
	case JSON_INTEGER:
	case JSON_TRUE:
	case JSON_FALSE:
	case JSON_NULL:
		pyjson_dump(out, value);
		return 0;
	}
	return -1;
}

int yaml_text_dump(struct str *out, const json_t *value, struct err *err)
{
	if (dump_value(out, value, 0, err) < 0)
		return -1;
	return out->is_full ? err_set(err, ERR_LIMIT, "yaml: more than %zu bytes", out->max) : 0;
}
