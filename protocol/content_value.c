/* Values that JSON has no form of its own for. */
#include <math.h>
#include <string.h>

#include "base/text.h"
#include "protocol/content_impl.h"
#include "protocol/pyjson_impl.h"

json_t *content_tagged(const char *type, const char *text, size_t len)
{
	json_t *object = json_object();

	json_object_set_new_nocheck(object, "__type__", json_string_nocheck(type));
	json_object_set_new_nocheck(object, "__value__",
				    json_stringn_nocheck(len ? text : "", len));
	return object;
}

json_t *content_bytes(const void *data, size_t len)
{
	auto_str text = STR_INIT(STR_MAX_DEFAULT);

	if (len == 0 || utf8_is_valid(data, len))
		return content_tagged("bytes", data, len);
	base64_encode(&text, data, len);
	return content_tagged("base64", text.data, text.len);
}

json_t *content_real(double value)
{
	if (isnan(value))
		return pyjson_number("NaN", 3);
	if (isinf(value))
		return value > 0 ? pyjson_number("Infinity", 8) : pyjson_number("-Infinity", 9);
	return json_real(value);
}

enum content_kind content_kind_of(const json_t *value, const char **ret_text, struct str *bytes)
{
	const char *text = NULL;
	const json_t *value_text = NULL;
	enum content_kind kind = CONTENT_KIND_OTHER;

	switch (pyjson_tag(value, &text)) {
	case PYJSON_PLAIN:
		return CONTENT_KIND_PLAIN;
	case PYJSON_NUMBER:
		kind = CONTENT_KIND_NUMBER;
		break;
	case PYJSON_DATETIME:
	case PYJSON_DATE:
		kind = CONTENT_KIND_DATE;
		break;
	case PYJSON_BYTES:
		kind = CONTENT_KIND_BYTES;
		value_text = json_object_get(value, "__value__");
		str_add(bytes, text, json_string_length(value_text));
		break;
	case PYJSON_BASE64:
		/* One that was built and not loaded may be no base64. */
		value_text = json_object_get(value, "__value__");
		if (base64_decode(bytes, text, json_string_length(value_text), NULL) == 0)
			kind = CONTENT_KIND_BYTES;
		break;
	case PYJSON_TIME:
	case PYJSON_DECIMAL:
	case PYJSON_UUID:
		break;
	}
	*ret_text = text;
	return kind;
}

int content_fail_type(const json_t *value, const char *serializer, struct err *err)
{
	return err_set(err, ERR_UNSUPPORTED, "%s cannot serialize %s", serializer,
		       pyjson_type_name(value));
}
