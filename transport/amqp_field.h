/*
 * AMQP field tables to JSON values and back (contract: tasks.md 1.4), and a scanner that looks at
 * the raw bytes first: librabbitmq decodes nested tables by recursion without a limit, so nothing
 * may reach it that was not scanned. Pure.
 */
#ifndef TRANSPORT_AMQP_FIELD_H
#define TRANSPORT_AMQP_FIELD_H

#include <amqp.h>
#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

#define AMQP_FIELD_MAX_DEPTH  64
#define AMQP_FIELD_MAX_VALUES 16384

/* Checks one table (its 4-byte length included) at the front of the bytes: known kinds, lengths
 * that fit, depth and number of values within the limits. *ret_used gets its size, *ret_entries the
 * number of its entries; both may be NULL. */
int amqp_field_scan(const void *data, size_t len, size_t *ret_used, unsigned *ret_entries,
		    struct err *err);

/* Always an object. Integers of any width become integers, timestamps and decimals numbers, byte
 * strings strings (made valid UTF-8), NaN and infinities pyjson numbers. New reference. */
json_t *amqp_field_to_json(const amqp_table_t *table);
/* The pool holds the entries; strings are borrowed from `object`, which must stay. Integers of 32
 * bits become 'I', others 'l'. */
int amqp_field_from_json(const json_t *object, amqp_pool_t *pool, amqp_table_t *ret_table,
			 struct err *err);

/* Bytes from the wire with U+FFFD for each that is not UTF-8; to be freed. */
char *amqp_field_repair(const char *text, size_t len, size_t *ret_len);
/* A JSON string of bytes from the wire: what is not UTF-8 becomes U+FFFD. New reference. */
json_t *amqp_field_string(const void *data, size_t len);

#endif
