#include "protocol/content.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "protocol/auth.h"
#include "protocol/compression.h"
#include "protocol/msgpack.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"
#include "protocol/yaml_text.h"

struct serializer {
	const char *name, *type, *encoding;
	/* To JSON text, and from a tree; NULL: JSON itself, or nothing that is read here. */
	int (*load)(struct str *out, const char *data, size_t len, struct err *err);
	int (*dump)(struct str *out, const json_t *value, struct err *err);
};

static const struct serializer serializers[] = {
	{"json", "application/json", "utf-8", NULL, NULL},
	{"yaml", "application/x-yaml", "utf-8", yaml_text_load, yaml_text_dump},
	{"msgpack", "application/x-msgpack", "binary", msgpack_load, msgpack_dump},
	{"pickle", "application/x-python-serialize", "binary", NULL, NULL},
	{"auth", "application/data", "utf-8", NULL, NULL},
};
#define SERIALIZER_COUNT (sizeof(serializers) / sizeof(*serializers))

static const struct serializer *const json_serializer = &serializers[0];
static const struct serializer *const auth_serializer = &serializers[SERIALIZER_COUNT - 1];

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

static int undo_compression(struct message *m, const struct value *value, size_t max,
			    struct err *err)
{
	struct span name = {"?", 1};
	const struct compression *compression;
	auto_str body = STR_INIT(max);
	struct err why = {0};

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

int content_unpack(struct message *m, const struct content_options *options, struct err *err)
{
	const struct value *value = message_header(m, HEADER_COMPRESSION);

	if (m->is_unpacked || !has_compression(value))
		return 0;
	return undo_compression(m, value, max_of(options), err);
}

/* Types */

static const struct serializer *by_name(const char *name)
{
	for (size_t i = 0; i < SERIALIZER_COUNT; i++)
		if (strcmp(name, serializers[i].name) == 0)
			return &serializers[i];
	return NULL;
}

static const struct serializer *by_type(const char *type)
{
	for (size_t i = 0; i < SERIALIZER_COUNT; i++)
		if (strcmp(type, serializers[i].type) == 0)
			return &serializers[i];
	return NULL;
}

const struct serializer *serializer_find(const char *name)
{
	const struct serializer *s = by_name(name);

	return s && (s == json_serializer || s == auth_serializer || s->dump) ? s : NULL;
}

const char *content_type_of(const char *name)
{
	const struct serializer *s = by_name(name);

	if (!s)
		s = by_type(name);
	return s ? s->type : NULL;
}

/* Entries are names or mime types, as kombu's prepare_accept_content() takes them. */
static bool is_accepted(const char *type, const struct content_options *options)
{
	static const char *const only_json[] = {"json", NULL};
	const char *const *accept = options && options->accept ? options->accept : only_json;

	for (; type && *accept; accept++) {
		const char *known = content_type_of(*accept);

		if (strcmp(known ? known : *accept, type) == 0)
			return true;
	}
	return false;
}

static enum content fail_refused(const char *type, struct err *err)
{
	const struct serializer *s = by_type(type);

	pyjson_fail(err, ERR_REFUSED,
		    "Refusing to deserialize untrusted content of type %.120s (%.120s)",
		    s ? s->name : type, type);
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

/* What is inside may be anything but pickle: whoever signed it is believed. */
static int load_signed(struct str *out, const char *data, size_t len, const struct auth *auth,
		       struct err *err)
{
	auto_str raw = STR_INIT(STR_MAX_DEFAULT);
	auto_free char *type = NULL;
	struct auth_content content;
	const struct serializer *s;

	if (auth_open(auth, &raw, &content, data, len, err) < 0)
		return -1;
	type = mem_dup(content.type.data, content.type.len);
	s = by_type(type);
	if (s && s->load)
		return s->load(out, content.body.data, content.body.len, err);
	if (s != json_serializer)
		return pyjson_fail(
			err, ERR_UNSUPPORTED,
			"auth: the signed content is of type %.120s, which is not read here", type);
	return str_add(out, content.body.data, content.body.len) < 0
		       ? err_set(err, ERR_LIMIT, "auth: more than %zu bytes", out->max)
		       : 0;
}

static int load_body(struct message *m, const struct serializer *s,
		     const struct content_options *options, struct err *err)
{
	auto_str body = STR_INIT(max_of(options));

	/* kombu decodes nothing that is empty */
	if (m->body_len == 0)
		return 0;
	if (s == auth_serializer && options) {
		if (load_signed(&body, m->body, m->body_len, options->auth, err) < 0)
			return -1;
	} else if (!s->load) {
		return pyjson_fail(err, ERR_UNSUPPORTED, "this worker does not read %s", s->name);
	} else if (s->load(&body, m->body, m->body_len, err) < 0) {
		return -1;
	}
	replace_body(m, &body);
	return 0;
}

enum content content_decode(struct message *m, const struct content_options *options,
			    struct err *err)
{
	const char *type = m->content_type && *m->content_type ? m->content_type : NULL;
	const struct serializer *s;

	if (m->is_decoded)
		return CONTENT_JSON;
	if (options && options->auth && (!type || strcmp(type, auth_serializer->type) == 0)) {
		if (load_body(m, auth_serializer, options, err) < 0)
			return CONTENT_FAILED;
		m->is_decoded = true;
		return CONTENT_JSON;
	}
	if (!type || strcmp(type, "application/data") == 0 || strcmp(type, "application/text") == 0)
		return CONTENT_RAW;
	if (!is_accepted(type, options))
		return fail_refused(type, err);
	s = by_type(type);
	if (!s)
		return CONTENT_RAW;
	if (strcmp(s->encoding, "utf-8") == 0 && body_to_utf8(m, err) < 0)
		return CONTENT_FAILED;
	if (s != json_serializer && load_body(m, s, options, err) < 0)
		return CONTENT_FAILED;
	m->is_decoded = true;
	return CONTENT_JSON;
}

int content_read(struct message *m, const struct content_options *options, struct err *err)
{
	if (content_unpack(m, options, err) < 0)
		return -1;
	switch (content_decode(m, options, err)) {
	case CONTENT_JSON:
		m->content_type = "application/json";
		return 0;
	case CONTENT_RAW:
		return pyjson_fail(err, ERR_REFUSED, "content type %.120s is not read here",
				   m->content_type ? m->content_type : "(none)");
	case CONTENT_REFUSED:
	case CONTENT_FAILED:
		break;
	}
	return -1;
}

int content_load(const char *serializer, struct str *out, const char *data, size_t len,
		 const struct content_options *options, struct err *err)
{
	const struct serializer *s = by_name(serializer);

	if (s && options && !is_accepted(s->type, options)) {
		fail_refused(s->type, err);
		return -1;
	}
	if (s == json_serializer)
		return str_add(out, data, len) < 0
			       ? err_set(err, ERR_LIMIT, "more than %zu bytes", out->max)
			       : 0;
	if (s == auth_serializer && options && !options->auth)
		return err_set(err, ERR_REFUSED,
			       "signed content, and the security_* settings are unset");
	if (s == auth_serializer)
		return load_signed(out, data, len, options ? options->auth : NULL, err);
	if (!s || !s->load)
		return err_set(err, ERR_UNSUPPORTED, "this worker does not read %.60s", serializer);
	return s->load(out, data, len, err);
}

/* Sending */

static int dump_body(struct str *body, const struct serializer *s, struct err *err)
{
	struct str dumped = STR_INIT(body->max);
	json_t *value = pyjson_load(body->data, body->len, err);
	int result = value ? s->dump(&dumped, value, err) : -1;

	json_decref(value);
	if (result < 0) {
		str_clear(&dumped);
		return -1;
	}
	str_clear(body);
	*body = dumped;
	return 0;
}

static int sign_body(struct str *body, const struct auth *auth, struct err *err)
{
	struct str sealed = STR_INIT(STR_MAX_DEFAULT);

	if (auth_seal(auth, &sealed, json_serializer->type, json_serializer->encoding, body, err) <
	    0) {
		str_clear(&sealed);
		return -1;
	}
	str_clear(body);
	*body = sealed;
	return 0;
}

static int compress_body(struct str *body, const struct compression *c, struct err *err)
{
	struct str compressed = STR_INIT(STR_MAX_DEFAULT);

	if (compression_apply(c, &compressed, body->data, body->len, err) < 0) {
		str_clear(&compressed);
		return -1;
	}
	str_clear(body);
	*body = compressed;
	return 0;
}

int content_encode(struct str *body, const struct content_form *form,
		   struct content_label *ret_label, struct err *err)
{
	const struct serializer *s = form->serializer ? form->serializer : json_serializer;

	*ret_label = (struct content_label){.type = s->type, .encoding = s->encoding};
	if (s == auth_serializer ? sign_body(body, form->auth, err) < 0
				 : s->dump && dump_body(body, s, err) < 0)
		return -1;
	if (!form->compression)
		return 0;
	ret_label->compression = compression_type(form->compression);
	return compress_body(body, form->compression, err);
}

void content_label_add(const struct content_label *label, json_t *headers)
{
	if (label->compression)
		json_object_set_new_nocheck(headers, "compression",
					    json_string_nocheck(label->compression));
}
