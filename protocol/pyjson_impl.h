/* What pyjson's files share besides the tokens. Inside protocol/ only. */
#ifndef PROTOCOL_PYJSON_IMPL_H
#define PROTOCOL_PYJSON_IMPL_H

#include <jansson.h>
#include <stdarg.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

/* The only key of a marked number; no JSON text can produce it. */
#define PYJSON_MARK "\xff"

/* Called for each object as it is closed: -1 when it is a tag that Python would refuse. Brings what
 * the tag holds into the one form Python would write ("decimal" of a number, UUID with dashes). */
int pyjson_tag_check(json_t *object, struct err *err);

/* Reads one character of UTF-8 or WTF-8; returns its length in bytes, or 0 when the bytes are
 * neither. `left` is at least 1. */
size_t pyjson_char(const char *text, size_t left, unsigned *ret_c);
/* How many characters Python would count; a byte that is not UTF-8 counts as one. */
size_t pyjson_char_count(const char *text, size_t len);
/* Bytes that the first `chars` characters take. */
size_t pyjson_char_offset(const char *text, size_t len, size_t chars);

/* Appends a text of which pyjson_repr shows the same as of this one, but not longer than that
 * needs. -1 when the text is none, as far as it is read. Objects must not hold a key twice. */
int pyjson_head(struct str *out, const char *data, size_t len, size_t max_len, unsigned max_levels,
		bool as_tuple);
/* As err_set, for texts with bytes of a message in them: one line, printable, cut at a character.
 * Returns -1. */
int pyjson_fail(struct err *err, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int pyjson_vfail(struct err *err, enum err_code code, const char *fmt, va_list args)
	__attribute__((format(printf, 3, 0)));

#endif
