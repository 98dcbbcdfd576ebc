/* Mirrors celery/utils/saferepr.py: saferepr(), and Python's repr() of what kombu's tags hold. */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"
#include "protocol/pyjson_iso.h"

struct repr {
	struct str *out;
	bool has_limit;
	int64_t left;	 /* characters; counted as saferepr's maxlen is */
	bool is_cut;	 /* ", ..." was written; only closing brackets follow */
	unsigned levels; /* 0 = any */
};

static void repr_value(struct repr *r, const json_t *value, unsigned level, bool as_tuple);

/* False when there is no room for another token. */
static bool repr_has_room(struct repr *r)
{
	if (r->is_cut)
		return false;
	if (!r->has_limit || r->left > 0)
		return true;
	str_puts(r->out, ", ...");
	r->is_cut = true;
	return false;
}

static void repr_token(struct repr *r, const char *text, size_t len)
{
	str_add(r->out, text, len);
	r->left -= (int64_t)pyjson_char_count(text, len);
}

static void repr_literal(struct repr *r, const char *text)
{
	if (repr_has_room(r))
		repr_token(r, text, strlen(text));
}

/* A closing bracket is written whether there is room or not. */
static void repr_close(struct repr *r, const char *text)
{
	if (r->is_cut || (r->has_limit && r->left <= 0))
		str_puts(r->out, text);
	else
		repr_token(r, text, strlen(text));
}

/* Mirrors celery/utils/text.py, truncate(): back to the last space, then "...". */
static bool truncate_at(const struct repr *r, const char *text, size_t len, size_t *ret_len)
{
	size_t end;
	const char *space;

	*ret_len = len;
	if (!r->has_limit || pyjson_char_count(text, len) < (uint64_t)r->left)
		return false;
	end = pyjson_char_offset(text, len, (size_t)r->left);
	space = memrchr(text, ' ', end);
	*ret_len = space ? (size_t)(space - text) : end;
	return true;
}

static void repr_plain(struct repr *r, const char *text, size_t len)
{
	auto_str token = {.max = STR_MAX_DEFAULT};
	size_t keep;
	bool is_short;

	if (!repr_has_room(r))
		return;
	is_short = truncate_at(r, text, len, &keep);
	str_add(&token, text, keep);
	if (is_short)
		str_puts(&token, "...");
	repr_token(r, token.data, token.len);
}

static void add_quoted(struct str *token, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\'')
			str_addc(token, '\\');
		str_addc(token, text[i]);
	}
}

static void repr_string(struct repr *r, const char *text, size_t len)
{
	auto_str token = {.max = STR_MAX_DEFAULT};
	size_t keep;
	bool is_short;

	if (!repr_has_room(r))
		return;
	is_short = truncate_at(r, text, len, &keep);
	str_addc(&token, '\'');
	add_quoted(&token, text, keep);
	str_puts(&token, is_short ? "...'" : "'");
	repr_token(r, token.data, token.len);
}

/* b'...' of the text, or of the bytes' hexadecimal digits when they are not UTF-8. */
static void repr_bytes(struct repr *r, const char *data, size_t len)
{
	size_t keep = r->has_limit && len > (uint64_t)r->left ? (size_t)r->left : len;
	auto_str token = {.max = STR_MAX_DEFAULT};

	str_puts(&token, "b'");
	if (utf8_is_valid(data, keep))
		str_add(&token, data, keep);
	else
		for (size_t i = 0; i < keep; i++)
			str_addf(&token, "%02x", (unsigned char)data[i]);
	str_puts(&token, keep < len ? "...'" : "'");
	repr_token(r, token.data, token.len);
}

static void repr_base64(struct repr *r, const char *text)
{
	auto_str bytes = {.max = STR_MAX_DEFAULT};

	if (!repr_has_room(r))
		return;
	base64_decode(&bytes, text, strlen(text), NULL);
	repr_bytes(r, bytes.data ? bytes.data : "", bytes.len);
}

static void add_clock(struct str *s, const struct pyjson_time *t)
{
	str_addf(s, "%d, %d", t->hour, t->minute);
	if (t->second || t->microsecond)
		str_addf(s, ", %d", t->second);
	if (t->microsecond)
		str_addf(s, ", %d", t->microsecond);
}

static void add_zone(struct str *s, const struct pyjson_time *t)
{
	int days = t->offset_s < 0 ? -1 : 0, seconds = t->offset_s - days * 86400;
	int micro = t->offset_us;

	if (!t->has_offset)
		return;
	if (t->offset_s == 0) {
		str_puts(s, ", tzinfo=datetime.timezone.utc");
		return;
	}
	if (micro < 0) {
		micro += 1000000;
		seconds--;
	}
	str_puts(s, ", tzinfo=datetime.timezone(datetime.timedelta(");
	if (days)
		str_puts(s, "days=-1, ");
	str_addf(s, "seconds=%d", seconds);
	if (micro)
		str_addf(s, ", microseconds=%d", micro);
	str_puts(s, "))");
}

static void repr_time(struct repr *r, enum pyjson_tag tag, const char *text)
{
	struct pyjson_time t;
	auto_str token = {.max = 256};

	if (tag == PYJSON_TIME) {
		pyjson_time_read(text, strlen(text), &t);
		str_puts(&token, "datetime.time(");
		add_clock(&token, &t);
		add_zone(&token, &t);
	} else {
		pyjson_datetime_read(text, strlen(text), &t);
		str_addf(&token, "datetime.%s(%d, %d, %d", tag == PYJSON_DATE ? "date" : "datetime",
			 t.year, t.month, t.day);
		if (tag == PYJSON_DATETIME) {
			str_puts(&token, ", ");
			add_clock(&token, &t);
			add_zone(&token, &t);
		}
	}
	str_addc(&token, ')');
	repr_plain(r, token.data, token.len);
}

static void repr_uuid(struct repr *r, const char *hex)
{
	char text[64];
	int len = snprintf(text, sizeof(text), "UUID('%.8s-%.4s-%.4s-%.4s-%.12s')", hex, hex + 8,
			   hex + 12, hex + 16, hex + 20);

	repr_plain(r, text, (size_t)len);
}

static void repr_number_token(struct repr *r, const char *token)
{
	if (strcmp(token, "NaN") == 0)
		token = "nan";
	else if (strcmp(token, "Infinity") == 0)
		token = "inf";
	else if (strcmp(token, "-Infinity") == 0)
		token = "-inf";
	repr_plain(r, token, strlen(token));
}

static void repr_decimal(struct repr *r, const char *text)
{
	auto_str token = {.max = STR_MAX_DEFAULT};

	str_addf(&token, "Decimal('%s')", text);
	repr_plain(r, token.data, token.len);
}

/* True when the object was a tag and is done. */
static bool repr_tagged(struct repr *r, const json_t *value)
{
	const char *text;
	enum pyjson_tag tag = pyjson_tag(value, &text);

	switch (tag) {
	case PYJSON_DATETIME:
	case PYJSON_DATE:
	case PYJSON_TIME:
		repr_time(r, tag, text);
		return true;
	case PYJSON_DECIMAL:
		repr_decimal(r, text);
		return true;
	case PYJSON_UUID:
		/* Only loading makes sure of the 32 digits. */
		if (strlen(text) != 32)
			return false;
		repr_uuid(r, text);
		return true;
	case PYJSON_BYTES:
		if (repr_has_room(r))
			repr_bytes(r, text, strlen(text));
		return true;
	case PYJSON_BASE64:
		repr_base64(r, text);
		return true;
	case PYJSON_NUMBER:
		repr_number_token(r, text);
		return true;
	case PYJSON_PLAIN:
		break;
	}
	return false;
}

static void repr_array(struct repr *r, const json_t *array, unsigned level, bool as_tuple)
{
	size_t size = json_array_size(array);

	if (r->levels && level >= r->levels) {
		repr_literal(r, as_tuple ? "(...)" : "[...]");
		return;
	}
	repr_literal(r, as_tuple ? "(" : "[");
	if (r->is_cut)
		return;
	for (size_t i = 0; i < size && !r->is_cut; i++) {
		if (i)
			repr_literal(r, ", ");
		repr_value(r, json_array_get(array, i), level + 1, false);
	}
	repr_close(r, as_tuple ? (size == 1 ? ",)" : ")") : "]");
}

/* A key has a limit of its own: what is left, counted anew. */
static void repr_key(struct repr *r, const char *key, size_t len)
{
	struct repr own = *r;

	if (!repr_has_room(r))
		return;
	repr_string(&own, key, len);
	r->left = own.left;
}

static void repr_object(struct repr *r, const json_t *object, unsigned level)
{
	json_t *o = (json_t *)(uintptr_t)object; /* jansson's iterators take it so */
	bool is_first = true;

	if (repr_tagged(r, object))
		return;
	if (r->levels && level >= r->levels) {
		repr_literal(r, "{...}");
		return;
	}
	repr_literal(r, "{");
	if (r->is_cut)
		return;
	for (void *it = json_object_iter(o); it && !r->is_cut; it = json_object_iter_next(o, it)) {
		if (!is_first)
			repr_literal(r, ", ");
		is_first = false;
		repr_key(r, json_object_iter_key(it), json_object_iter_key_len(it));
		repr_literal(r, ": ");
		repr_value(r, json_object_iter_value(it), level + 1, false);
	}
	repr_close(r, "}");
}

static void repr_number(struct repr *r, const json_t *value)
{
	auto_str token = {.max = 64};

	if (json_is_integer(value))
		str_addf(&token, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else
		float_repr(&token, json_real_value(value));
	repr_plain(r, token.data, token.len);
}

static void repr_value(struct repr *r, const json_t *value, unsigned level, bool as_tuple)
{
	/* Loaded values are never deeper; one that was built and is shall not eat the stack. */
	if (r->is_cut || level > PYJSON_MAX_DEPTH)
		return;
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		repr_object(r, value, level);
		return;
	case JSON_ARRAY:
		repr_array(r, value, level, as_tuple);
		return;
	case JSON_STRING:
		repr_string(r, json_string_value(value), json_string_length(value));
		return;
	case JSON_INTEGER:
	case JSON_REAL:
		repr_number(r, value);
		return;
	case JSON_TRUE:
		repr_plain(r, "True", 4);
		return;
	case JSON_FALSE:
		repr_plain(r, "False", 5);
		return;
	case JSON_NULL:
		repr_plain(r, "None", 4);
		return;
	}
}

int pyjson_repr(struct str *out, const json_t *value, size_t max_len, unsigned max_levels,
		bool as_tuple)
{
	struct repr r = {
		.out = out,
		.has_limit = max_len > 0,
		.left = max_len < STR_MAX_DEFAULT ? (int64_t)max_len : (int64_t)STR_MAX_DEFAULT,
		.levels = max_levels,
	};

	repr_value(&r, value, 0, as_tuple);
	return out->is_full ? -1 : 0;
}
