/* A publication as the payloads of its frames. */
#include <string.h>

#include "base/mem.h"
#include "transport/amqp_field.h"
#include "transport/broker_amqp.h"

#define HEADER_MAX (100 * 1024) /* of the properties; they must fit one frame */
#define METHOD_MAX 1024		/* two short strings and a little */

size_t publish_cost(const struct amqp_publish *m)
{
	return sizeof(*m) + m->method_len + m->header_len + m->body_len;
}

static void put_big_endian(unsigned char *to, uint64_t value, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--, value >>= 8)
		to[i] = (unsigned char)value;
}

/* Length, or -1. */
static int encode_method(const struct publication *p, unsigned char *to)
{
	amqp_basic_publish_t publish = {
		.exchange = amqp_text(p->exchange),
		.routing_key = amqp_text(p->routing_key),
	};
	amqp_bytes_t encoded = {.len = METHOD_MAX - 4, .bytes = to + 4};
	int len = amqp_encode_method(AMQP_BASIC_PUBLISH_METHOD, &publish, encoded);

	put_big_endian(to, AMQP_BASIC_PUBLISH_METHOD, 4);
	return len < 0 ? -1 : len + 4;
}

static void property_text(amqp_basic_properties_t *p, amqp_flags_t flag, amqp_bytes_t *to,
			  const char *text)
{
	if (!text)
		return;
	p->_flags |= flag;
	*to = amqp_text(text);
}

static void properties_fill(amqp_basic_properties_t *to, const struct publication *p)
{
	property_text(to, AMQP_BASIC_CONTENT_TYPE_FLAG, &to->content_type, p->content_type);
	property_text(to, AMQP_BASIC_CONTENT_ENCODING_FLAG, &to->content_encoding,
		      p->content_encoding);
	property_text(to, AMQP_BASIC_CORRELATION_ID_FLAG, &to->correlation_id, p->correlation_id);
	property_text(to, AMQP_BASIC_REPLY_TO_FLAG, &to->reply_to, p->reply_to);
	property_text(to, AMQP_BASIC_EXPIRATION_FLAG, &to->expiration, p->expiration);
	if (p->priority >= 0) {
		to->_flags |= AMQP_BASIC_PRIORITY_FLAG;
		to->priority = (uint8_t)(p->priority > 255 ? 255 : p->priority);
	}
	if (p->delivery_mode > 0) {
		to->_flags |= AMQP_BASIC_DELIVERY_MODE_FLAG;
		to->delivery_mode = (uint8_t)p->delivery_mode;
	}
	if (p->headers)
		to->_flags |= AMQP_BASIC_HEADERS_FLAG;
}

/* Length, or -1 with `err`. */
static int encode_header(const struct publication *p, unsigned char *to, struct err *err)
{
	amqp_basic_properties_t properties = {0};
	amqp_bytes_t encoded = {.len = HEADER_MAX - 12, .bytes = to + 12};
	amqp_pool_t pool;
	int len = -1;

	properties_fill(&properties, p);
	init_amqp_pool(&pool, 4096);
	if (amqp_field_from_json(p->headers, &pool, &properties.headers, err) == 0)
		len = amqp_encode_properties(AMQP_BASIC_CLASS, &properties, encoded);
	empty_amqp_pool(&pool);
	if (len < 0)
		return err_set(err, ERR_LIMIT, "headers of more than %d bytes", HEADER_MAX);
	put_big_endian(to, AMQP_BASIC_CLASS, 2);
	put_big_endian(to + 2, 0, 2);
	put_big_endian(to + 4, p->body_len, 8);
	return len + 12;
}

static int texts_check(const struct publication *p, struct err *err)
{
	const char *texts[] = {p->exchange, p->routing_key,    p->content_type, p->content_encoding,
			       p->reply_to, p->correlation_id, p->expiration};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i] && strlen(texts[i]) > 255)
			return err_set(err, ERR_LIMIT, "a property of more than 255 bytes");
	return 0;
}

struct amqp_publish *publish_encode(const struct publication *p, struct err *err)
{
	unsigned char method[METHOD_MAX];

	if (texts_check(p, err) != 0)
		return NULL;
	auto_free unsigned char *header = mem_alloc(HEADER_MAX);
	int method_len = encode_method(p, method);
	int header_len = encode_header(p, header, err);
	if (method_len < 0 || header_len < 0)
		return NULL;
	size_t heads = (size_t)method_len + (size_t)header_len;
	struct amqp_publish *m = mem_alloc(sizeof(*m) + heads + p->body_len);
	*m = (struct amqp_publish){
		.method_len = (size_t)method_len,
		.header_len = (size_t)header_len,
		.body_len = p->body_len,
	};
	memcpy(m->data, method, m->method_len);
	memcpy(m->data + m->method_len, header, m->header_len);
	if (p->body_len)
		memcpy(m->data + heads, p->body, p->body_len);
	return m;
}
