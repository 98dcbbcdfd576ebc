/*
 * The binding tables of kombu's filesystem transport: one file per exchange in the control folder,
 * a JSON list of [routing_key, pattern, queue], newest first, changed in place under flock.
 * Mirrors kombu/transport/filesystem.py (_queue_bind, get_table). contract: control.md 8.1.
 */
#ifndef TRANSPORT_FILESYSTEM_BINDING_H
#define TRANSPORT_FILESYSTEM_BINDING_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "transport/broker.h"

/* Adds a binding unless it is there. Creates the table. */
int filesystem_bind(const char *control_folder, const char *queue,
		    const struct binding_def *binding, struct err *err);

/* Removes every binding of a queue. */
int filesystem_unbind(const char *control_folder, const char *exchange, const char *queue,
		      struct err *err);
/* Another number after each change of the table by whomsoever; -1 when there is none. */
int64_t filesystem_table_stamp(const char *control_folder, const char *exchange);
int filesystem_check_exchange(const char *name, struct err *err);

/* A new JSON array with the names of the queues a message goes to, each once; empty when nothing is
 * bound. `exchange_type` NULL: told from the exchange's name and its table. */
json_t *filesystem_route(const char *control_folder, const char *exchange,
			 const char *exchange_type, const char *routing_key, struct err *err);

#endif
