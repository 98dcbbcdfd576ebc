/* kombu's typed objects. Mirrors kombu/utils/json.py: object_hook() and its decoders. */
#include "protocol/pyjson_impl.h"

#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "base/text.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_iso.h"

#define DECIMAL_MAX_EXPONENT_DIGITS 18 /* decimal.MAX_EMAX has so many */

static int refuse(struct err *err, const char *tag, const char *why)
{
	return err_set(err, ERR_INVALID, "invalid %s value: %s", tag, why);
}

/* Python's str.encode('utf-8') refuses lone surrogates. */
static bool has_surrogate(const char *text, size_t len)
{
	for (size_t i = 0; i + 1 < len; i++)
		if ((unsigned char)text[i] == 0xed && (unsigned char)text[i + 1] >= 0xa0)
			return true;
	return false;
}

static int check_datetime(json_t *value, struct err *err)
{
	struct pyjson_time t;

	if (!json_is_string(value))
		return refuse(err, "datetime", "fromisoformat: argument must be str");
	if (pyjson_datetime_read(json_string_value(value), json_string_length(value), &t) == -1)
		return refuse(err, "datetime", "Invalid isoformat string");
	return 0;
}

static int check_time(json_t *value, struct err *err)
{
	struct pyjson_time t;

	if (!json_is_string(value))
		return refuse(err, "time", "fromisoformat: argument must be str");
	if (pyjson_time_read(json_string_value(value), json_string_length(value), &t) == -1)
		return refuse(err, "time", "Invalid isoformat string");
	return 0;
}

static bool skip_word(const char **p, const char *word)
{
	size_t len = strlen(word);

	if (strncasecmp(*p, word, len) != 0)
		return false;
	*p += len;
	return true;
}

static size_t skip_digits(const char **p)
{
	size_t count = strspn(*p, "0123456789");

	*p += count;
	return count;
}

static bool is_decimal(const char *p)
{
	size_t digits;

	p += *p == '+' || *p == '-';
	if (skip_word(&p, "infinity") || skip_word(&p, "inf"))
		return !*p;
	if (skip_word(&p, "snan") || skip_word(&p, "nan")) {
		skip_digits(&p);
		return !*p;
	}
	digits = skip_digits(&p);
	if (*p == '.') {
		p++;
		digits += skip_digits(&p);
	}
	if (digits == 0)
		return false;
	if (*p == 'e' || *p == 'E') {
		p++;
		p += *p == '+' || *p == '-';
		p += strspn(p, "0");
		digits = skip_digits(&p);
		if (digits > DECIMAL_MAX_EXPONENT_DIGITS || (digits == 0 && p[-1] != '0'))
			return false;
	}
	return !*p;
}

/* Decimal(text) drops white space around and underscores anywhere. */
static int check_decimal_text(json_t *value, struct err *err)
{
	const char *text = json_string_value(value), *end = text + json_string_length(value);
	auto_str clean = {.max = STR_MAX_DEFAULT};

	while (text < end && isspace((unsigned char)*text))
		text++;
	while (end > text && isspace((unsigned char)end[-1]))
		end--;
	for (; text < end; text++)
		if (*text != '_')
			str_addc(&clean, *text);
	if (clean.len == 0 || strlen(clean.data) != clean.len || !is_decimal(clean.data))
		return refuse(err, "decimal", "ConversionSyntax");
	if (clean.len != json_string_length(value))
		json_string_setn_nocheck(value, clean.data, clean.len);
	return 0;
}

/* A number or a truth value becomes the text that Python's str(Decimal(...)) would be (a float by
 * its repr, not by its 50 binary digits). */
static int check_decimal(json_t *object, json_t *value, struct err *err)
{
	const char *token = NULL;
	auto_str text = {.max = 64};

	if (json_is_string(value))
		return check_decimal_text(value, err);
	if (json_is_integer(value))
		str_addf(&text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		float_repr(&text, json_real_value(value));
	else if (json_is_boolean(value))
		str_puts(&text, json_is_true(value) ? "1" : "0");
	else if (pyjson_tag(value, &token) != PYJSON_NUMBER)
		return refuse(err, "decimal", "conversion to Decimal is not supported");
	if (token)
		return json_object_set_new_nocheck(object, "__value__", json_string(token));
	return json_object_set_new_nocheck(object, "__value__", json_string(text.data));
}

/* UUID(hex=...) drops "urn:", "uuid:", braces and dashes. */
static int check_uuid(json_t *value, struct err *err)
{
	json_t *hex = json_object_get(value, "hex");
	const char *p = json_string_value(hex);
	char digits[33];
	size_t count = 0;

	if (!p || json_object_size(value) != 1 || strlen(p) != json_string_length(hex))
		return refuse(err, "uuid", "must be {\"hex\": 32 hexadecimal digits}");
	while (*p) {
		if (*p == '-' || *p == '{' || *p == '}' || skip_word(&p, "urn:") ||
		    skip_word(&p, "uuid:")) {
			p += *p == '-' || *p == '{' || *p == '}';
			continue;
		}
		if (!isxdigit((unsigned char)*p) || count == 32)
			return refuse(err, "uuid", "badly formed hexadecimal UUID string");
		digits[count++] = (char)tolower((unsigned char)*p++);
	}
	if (count != 32)
		return refuse(err, "uuid", "badly formed hexadecimal UUID string");
	digits[32] = '\0';
	return json_string_set_nocheck(hex, digits);
}

static int check_bytes(json_t *value, struct err *err)
{
	if (!json_is_string(value))
		return refuse(err, "bytes", "must be str");
	if (has_surrogate(json_string_value(value), json_string_length(value)))
		return refuse(err, "bytes", "surrogates not allowed");
	return 0;
}

static int check_base64(json_t *value, struct err *err)
{
	struct err cause = {0};
	auto_str bytes = {.max = STR_MAX_DEFAULT};

	if (!json_is_string(value))
		return refuse(err, "base64", "must be str");
	if (has_surrogate(json_string_value(value), json_string_length(value)))
		return refuse(err, "base64", "surrogates not allowed");
	if (base64_decode(&bytes, json_string_value(value), json_string_length(value), &cause) ==
	    -1)
		return refuse(err, "base64", cause.text);
	return 0;
}

static const struct {
	const char *name;
	enum pyjson_tag tag;
} tag_names[] = {
	{"datetime", PYJSON_DATETIME}, {"date", PYJSON_DATE}, {"time", PYJSON_TIME},
	{"decimal", PYJSON_DECIMAL},   {"uuid", PYJSON_UUID}, {"bytes", PYJSON_BYTES},
	{"base64", PYJSON_BASE64},
};

static enum pyjson_tag tag_find(const json_t *name)
{
	for (size_t i = 0; i < sizeof(tag_names) / sizeof(*tag_names); i++)
		if (json_string_length(name) == strlen(tag_names[i].name) &&
		    strcmp(json_string_value(name), tag_names[i].name) == 0)
			return tag_names[i].tag;
	return PYJSON_PLAIN;
}

int pyjson_tag_check(json_t *object, struct err *err)
{
	json_t *name, *value;

	if (json_object_size(object) != 2)
		return 0;
	name = json_object_get(object, "__type__");
	value = json_object_get(object, "__value__");
	if (!name || !value)
		return 0;
	switch (json_is_string(name) ? tag_find(name) : PYJSON_PLAIN) {
	case PYJSON_DATETIME:
	case PYJSON_DATE:
		return check_datetime(value, err);
	case PYJSON_TIME:
		return check_time(value, err);
	case PYJSON_DECIMAL:
		return check_decimal(object, value, err);
	case PYJSON_UUID:
		return check_uuid(value, err);
	case PYJSON_BYTES:
		return check_bytes(value, err);
	case PYJSON_BASE64:
		return check_base64(value, err);
	case PYJSON_PLAIN:
	case PYJSON_NUMBER:
		break;
	}
	return pyjson_fail(err, ERR_INVALID, "Unsupported type '%.60s'",
			   json_is_string(name) ? json_string_value(name) : "?");
}

enum pyjson_tag pyjson_tag(const json_t *value, const char **ret_text)
{
	size_t size = json_is_object(value) ? json_object_size(value) : 0;
	enum pyjson_tag tag = PYJSON_PLAIN;
	json_t *text = NULL;

	if (size == 1) {
		text = json_object_get(value, PYJSON_MARK);
		tag = json_is_string(text) ? PYJSON_NUMBER : PYJSON_PLAIN;
	} else if (size == 2) {
		json_t *name = json_object_get(value, "__type__");

		text = json_object_get(value, "__value__");
		if (json_is_string(name) && text)
			tag = tag_find(name);
		if (tag == PYJSON_UUID)
			text = json_object_get(text, "hex");
		/* A value that was built by hand, not loaded, may be anything. */
		if (!json_is_string(text))
			tag = PYJSON_PLAIN;
	}
	if (ret_text)
		*ret_text = tag == PYJSON_PLAIN ? NULL : json_string_value(text);
	return tag;
}

json_t *pyjson_number(const char *token, size_t len)
{
	json_t *object = json_object();

	json_object_set_new_nocheck(object, PYJSON_MARK, json_stringn_nocheck(token, len));
	return object;
}
