/* Small pure text jobs: ISO 8601, UUID, base64, Python's float repr. No locale, no allocation
 * unless said. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"

/*
 * Reads ISO 8601 in every form dateutil's isoparse takes for date-times (date only, compact,
 * week and ordinal dates, fraction of 1-6+ digits cut to microseconds, Z, +HH, +HHMM, +HH:MM).
 * A value without offset is UTC; *ret_is_naive (may be NULL) says so. Result in Unix microseconds.
 * Years 1 to 9999; a time that leaves this range by its offset is ERR_LIMIT (Python's
 * OverflowError).
 */
int iso8601_parse(const char *text, size_t len, int64_t *ret_us, bool *ret_is_naive,
		  struct err *err);
/* Writes "2026-11-21T04:35:54.664825+00:00" as Python's isoformat() does (no fraction when it is
 * 0); `offset_s` is the zone's offset in seconds. `out` needs 40 bytes. */
void iso8601_format(int64_t unix_us, int offset_s, char out[40]);

/* A random (version 4) UUID in text form. */
void uuid4(char out[37]);
/* The same form, made of a text and a number: the same for the same, no two alike otherwise. Not
 * for secrets. */
void uuid_of(char out[37], const char *text, uint64_t number);

/* Appends base64 of the data. */
int base64_encode(struct str *out, const void *data, size_t len);
/* Appends the decoded bytes; like Python's b64decode it skips characters outside the alphabet.
 * Wrong padding is ERR_INVALID. */
int base64_decode(struct str *out, const char *text, size_t len, struct err *err);

/* Appends Python's repr(float): shortest digits that read back to the same value ("0.1", "1e+16",
 * "nan", "inf"). */
int float_repr(struct str *out, double value);

/* Celery's rate limit: "10/s", "10/m", "1.5/h" or a bare number per second; 0 = none. Source:
 * celery/utils/time.py, rate(). */
int rate_parse(const char *text, double *ret_per_second, struct err *err);

/* True if the bytes are valid UTF-8 (surrogates refused). */
bool utf8_is_valid(const char *data, size_t len);
/* Edit distance of two short names, for "did you mean" (at most 63 bytes are compared). */
unsigned text_distance(const char *a, const char *b);
/* Which of several names was meant: the nearest one within `most`, of equals the first. */
struct text_guess {
	const char *wanted;
	unsigned most;
	const char *nearest; /* NULL = none so far */
};
/* Further away than `most` of these is no typing error. */
#define TEXT_GUESS(text)                                                                           \
	{                                                                                          \
		.wanted = (text), .most = 1 + (unsigned)strlen(text) / 3                           \
	}
void text_guess_try(struct text_guess *g, const char *name);

#endif
