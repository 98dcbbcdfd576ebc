#include "protocol/content.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "protocol/compression.h"
#include "protocol/pyjson_impl.h"

static const struct {
	const char *name, *type;
} serializers[] = {
	{"json", "application/json"},	      {"yaml", "application/x-yaml"},
	{"msgpack", "application/x-msgpack"}, {"pickle", "application/x-python-serialize"},
	{"auth", "application/data"},
};
#define SERIALIZER_COUNT (sizeof(serializers) / sizeof(*serializers))

static size_t max_of(const struct content_options *options)
{
	return options && options->max_bytes ? options->max_bytes : STR_MAX_DEFAULT;
}

static void replace_body(struct message *m, struct str *body)
{
	free(m->body);
	m->body_len = body->len;
	m->body = str_detach(body);
}

/* Compression */

static bool has_compression(const struct value *value)
{
	return value->kind != VALUE_ABSENT && value_is_truthy(value);
}

int content_unpack(struct message *m, const struct content_options *options, struct err *err)
{
	const struct value *value = message_header(m, HEADER_COMPRESSION);
	struct span name = {"?", 1};
	const struct compression *compression;
	auto_str body = STR_INIT(max_of(options));
	struct err why = {0};

	if (m->is_unpacked || !has_compression(value))
		return 0;
	if (value->kind == VALUE_TEXT)
		name = (struct span){value->text.data, strnlen(value->text.data, value->text.len)};
	compression = compression_find(name.data, name.len);
	if (!compression)
		return pyjson_fail(err, ERR_UNSUPPORTED,
				   "unsupported compression '%.*s': this worker reads %s",
				   name.len < 120 ? (int)name.len : 120, name.data,
				   compression_names());
	if (compression_undo(compression, &body, m->body, m->body_len, &why) < 0)
		return pyjson_fail(err, why.code, "cannot decompress: %s", why.text);
	replace_body(m, &body);
	m->is_unpacked = true;
	return 0;
}

/* Types */

const char *content_type_of(const char *name)
{
	for (size_t i = 0; i < SERIALIZER_COUNT; i++)
		if (strcmp(name, serializers[i].name) == 0 ||
		    strcmp(name, serializers[i].type) == 0)
			return serializers[i].type;
	return NULL;
}

/* Entries are names or mime types, as kombu's prepare_accept_content() takes them. */
static bool is_accepted(const char *type, const struct content_options *options)
{
	static const char *const only_json[] = {"json", NULL};
	const char *const *accept = options && options->accept ? options->accept : only_json;

	for (; *accept; accept++) {
		const char *known = content_type_of(*accept);

		if (strcmp(known ? known : *accept, type) == 0)
			return true;
	}
	return false;
}

static enum content fail_refused(const char *type, struct err *err)
{
	const char *name = type;

	for (size_t i = 0; i < SERIALIZER_COUNT; i++)
		if (strcmp(type, serializers[i].type) == 0)
			name = serializers[i].name;
	pyjson_fail(err, ERR_REFUSED,
		    "Refusing to deserialize untrusted content of type %.120s (%.120s)", name,
		    type);
	return CONTENT_REFUSED;
}

/* JSON */

static bool is_ascii(const struct message *m)
{
	for (size_t i = 0; i < m->body_len; i++)
		if ((unsigned char)m->body[i] >= 0x80)
			return false;
	return true;
}

static void latin1_to_utf8(const char *data, size_t len, struct str *out)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];

		if (c >= 0x80)
			str_addc(out, (char)(0xc0 | c >> 6));
		str_addc(out, c >= 0x80 ? (char)(0x80 | (c & 0x3f)) : (char)c);
	}
}

/*
 * kombu's decoders read bytes as UTF-8 whatever the message says, but py-amqp has made text of the
 * bytes before, by content_encoding, wherever Python knows that encoding. Only ASCII is the same in
 * all of them.
 */
static int body_to_utf8(struct message *m, struct err *err)
{
	static const char *const as_utf8[] = {"utf-8",	  "utf8",  "utf_8",	 "u8",
					      "us-ascii", "ascii", "ascii-8bit", "binary"};
	static const char *const latin1[] = {"latin-1",	  "latin1",  "iso-8859-1",
					     "iso8859-1", "latin_1", "l1"};
	const char *encoding = m->content_encoding;

	if (!encoding || !*encoding || strcmp(encoding, "utf-8") == 0 || is_ascii(m))
		return 0;
	for (size_t i = 0; i < sizeof(as_utf8) / sizeof(*as_utf8); i++)
		if (strcasecmp(encoding, as_utf8[i]) == 0)
			return 0;
	for (size_t i = 0; i < sizeof(latin1) / sizeof(*latin1); i++)
		if (strcasecmp(encoding, latin1[i]) == 0) {
			auto_str utf8 = STR_INIT(STR_MAX_DEFAULT);

			latin1_to_utf8(m->body, m->body_len, &utf8);
			replace_body(m, &utf8);
			return 0;
		}
	return pyjson_fail(err, ERR_UNSUPPORTED,
			   "unsupported content encoding '%.60s': this worker reads utf-8 and "
			   "latin-1",
			   encoding);
}

enum content content_decode(struct message *m, const struct content_options *options,
			    struct err *err)
{
	const char *type = m->content_type && *m->content_type ? m->content_type : NULL;

	if (m->is_decoded)
		return CONTENT_JSON;
	if (!type || strcmp(type, "application/data") == 0 || strcmp(type, "application/text") == 0)
		return CONTENT_RAW;
	if (!is_accepted(type, options))
		return fail_refused(type, err);
	if (strcmp(type, "application/json") != 0 && !content_type_of(type))
		return CONTENT_RAW;
	if (strcmp(type, "application/json") != 0) {
		pyjson_fail(err, ERR_UNSUPPORTED,
			    "content type %.120s is in accept_content, but this worker reads "
			    "application/json only",
			    type);
		return CONTENT_FAILED;
	}
	if (body_to_utf8(m, err) < 0)
		return CONTENT_FAILED;
	m->is_decoded = true;
	return CONTENT_JSON;
}

/* Sending */

int content_encode(struct str *body, const struct content_form *form,
		   struct content_label *ret_label, struct err *err)
{
	struct str compressed = STR_INIT(STR_MAX_DEFAULT);

	*ret_label = (struct content_label){.type = "application/json", .encoding = "utf-8"};
	if (!form->compression)
		return 0;
	if (compression_apply(form->compression, &compressed, body->data, body->len, err) < 0) {
		str_clear(&compressed);
		return -1;
	}
	str_clear(body);
	*body = compressed;
	ret_label->compression = compression_type(form->compression);
	return 0;
}

void content_label_add(const struct content_label *label, json_t *headers)
{
	if (label->compression)
		json_object_set_new_nocheck(headers, "compression",
					    json_string_nocheck(label->compression));
}
