/* What fuzz targets share: a property that does not hold ends the run. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define fuzz_check(condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__,          \
				#condition);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* Cuts the piece before the next `mark` off the front: to be freed, NUL behind it; *ret_len may be
 * NULL. */
static inline char *fuzz_cut(const uint8_t **data, size_t *size, char mark, size_t *ret_len)
{
	const uint8_t *end = memchr(*data, mark, *size);
	size_t len = end ? (size_t)(end - *data) : *size, eaten = end ? len + 1 : len;
	char *piece = malloc(len + 1);

	memcpy(piece, *data, len);
	piece[len] = '\0';
	*data += eaten;
	*size -= eaten;
	if (ret_len)
		*ret_len = len;
	return piece;
}

static inline char *fuzz_line(const uint8_t **data, size_t *size, size_t *ret_len)
{
	return fuzz_cut(data, size, '\n', ret_len);
}

/* A text that may go into a log: one line, no control characters. */
static inline void fuzz_check_one_line(const char *text)
{
	for (; *text; text++)
		fuzz_check((unsigned char)*text >= 0x20 && *text != 0x7f);
}

#endif
