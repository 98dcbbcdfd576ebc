/* A content header frame's payload as it comes from the network. What our reader takes must be
 * decoded by the library without harm and to the same properties and headers; and what the
 * library's table became must be written as a table again. */
#include <amqp.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "tests/fuzz/fuzz.h"
#include "tests/headers_json.h"
#include "transport/amqp_field.h"
#include "transport/amqp_properties.h"

static void check_same_headers(const struct message *m, const json_t *theirs)
{
	json_t *ours = message_headers_json(m);
	struct str texts[2] = {STR_INIT(STR_MAX_DEFAULT), STR_INIT(STR_MAX_DEFAULT)};

	fuzz_check(pyjson_dump(&texts[0], ours) == 0);
	fuzz_check(pyjson_dump(&texts[1], theirs) == 0);
	fuzz_check(texts[0].len == texts[1].len);
	fuzz_check(memcmp(texts[0].data, texts[1].data, texts[0].len) == 0);
	str_clear(&texts[0]);
	str_clear(&texts[1]);
	json_decref(ours);
}

static void check_write(const json_t *object)
{
	amqp_pool_t pool;
	amqp_table_t again;

	init_amqp_pool(&pool, 4096);
	/* Repaired names can be longer than the wire allows; then it says so. */
	if (amqp_field_from_json(object, &pool, &again, NULL) == 0)
		json_decref(amqp_field_to_json(&again));
	empty_amqp_pool(&pool);
}

static void check_text(const char *ours, const amqp_basic_properties_t *p, amqp_flags_t flag,
		       amqp_bytes_t theirs)
{
	fuzz_check((ours != NULL) == ((p->_flags & flag) != 0));
	if (ours)
		fuzz_check(memcmp(ours, theirs.bytes, theirs.len) == 0 && ours[theirs.len] == '\0');
}

static void check_properties(const struct message *m, const amqp_basic_properties_t *p)
{
	check_text(m->content_type, p, AMQP_BASIC_CONTENT_TYPE_FLAG, p->content_type);
	check_text(m->content_encoding, p, AMQP_BASIC_CONTENT_ENCODING_FLAG, p->content_encoding);
	check_text(m->correlation_id, p, AMQP_BASIC_CORRELATION_ID_FLAG, p->correlation_id);
	check_text(m->reply_to, p, AMQP_BASIC_REPLY_TO_FLAG, p->reply_to);
	check_text(m->expiration, p, AMQP_BASIC_EXPIRATION_FLAG, p->expiration);
	fuzz_check(m->priority == (p->_flags & AMQP_BASIC_PRIORITY_FLAG ? p->priority : -1));
	fuzz_check(m->delivery_mode ==
		   (p->_flags & AMQP_BASIC_DELIVERY_MODE_FLAG ? p->delivery_mode : 0));
}

static void check_by_library(const struct message *m, const char *data, size_t size)
{
	auto_free char *copy = mem_dup(data, size);
	amqp_bytes_t encoded = {.len = size - 12, .bytes = copy + 12};
	amqp_pool_t pool;
	void *decoded = NULL;
	const amqp_basic_properties_t *p;
	json_t *object;

	init_amqp_pool(&pool, 4096);
	fuzz_check(amqp_decode_properties(AMQP_BASIC_CLASS, &pool, encoded, &decoded) == 0);
	p = decoded;
	check_properties(m, p);
	object = p->_flags & AMQP_BASIC_HEADERS_FLAG ? amqp_field_to_json(&p->headers)
						     : json_object();
	check_same_headers(m, object);
	check_write(object);
	json_decref(object);
	empty_amqp_pool(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *copy = mem_dup(data, size); /* so that ASan sees its end */
	struct message m;
	struct err err = {0};

	if (size > 131072)
		return 0;
	message_init(&m);
	if (amqp_properties_read(&m, (struct span){copy, size}, &err) == 0)
		check_by_library(&m, copy, size);
	else
		fuzz_check(err.code != ERR_NONE);
	message_clear(&m);
	return 0;
}
