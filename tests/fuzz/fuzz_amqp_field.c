/* A content header frame's payload as it comes from the network: what the scanner lets through must
 * be decoded by the library without harm, and the table become JSON and a table again. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "transport/amqp_field.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void table_round(const amqp_table_t *table)
{
	json_t *object = amqp_field_to_json(table);
	amqp_pool_t pool;
	amqp_table_t again;

	if (!json_is_object(object))
		abort();
	init_amqp_pool(&pool, 4096);
	/* Repaired names can be longer than the wire allows; then it says so. */
	if (amqp_field_from_json(object, &pool, &again, NULL) == 0) {
		json_t *same = amqp_field_to_json(&again);
		json_decref(same);
	}
	empty_amqp_pool(&pool);
	json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *copy = mem_dup(data, size);
	amqp_bytes_t encoded = {.len = size - 12, .bytes = copy + 12};
	amqp_pool_t pool;
	void *decoded = NULL;
	struct err err = {0};

	if (size > 131072)
		return 0;
	if (amqp_field_scan_header(copy, size, &err) != 0) {
		if (err.code == ERR_NONE)
			abort();
		return 0;
	}
	init_amqp_pool(&pool, 4096);
	if (amqp_decode_properties(AMQP_BASIC_CLASS, &pool, encoded, &decoded) == 0) {
		const amqp_basic_properties_t *p = decoded;
		if (p->_flags & AMQP_BASIC_HEADERS_FLAG)
			table_round(&p->headers);
	}
	empty_amqp_pool(&pool);
	return 0;
}
