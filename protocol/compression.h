/*
 * Compressed bodies and results, by the names kombu gives them. Sources: kombu/compression.py, and
 * what Python's modules of the same names do: several streams one behind the other, what is no
 * stream behind the last one.
 *
 * The libraries are loaded when a name of theirs is first used: docs/adr/compression.md.
 */
#ifndef PROTOCOL_COMPRESSION_H
#define PROTOCOL_COMPRESSION_H

#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct compression;

/* By name or mime type; NULL when there is none of that name. */
const struct compression *compression_find(const char *name, size_t len);
/* The mime type that a message's header says. */
const char *compression_type(const struct compression *c);
/* Our names, for messages to people: "gzip, bzip2, ...". */
const char *compression_names(void);

/* Appends what was compressed; never more than fits into `out` (ERR_LIMIT), whatever the data
 * promise. */
int compression_undo(const struct compression *c, struct str *out, const void *data, size_t len,
		     struct err *err);
/* Appends the data compressed. */
int compression_apply(const struct compression *c, struct str *out, const void *data, size_t len,
		      struct err *err);

#endif
