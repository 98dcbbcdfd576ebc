/*
 * A growable byte buffer with a maximum, always NUL-terminated when not empty. An addition that
 * would pass the maximum adds nothing, sets `is_full` and returns -1; is_full stays until
 * str_reset, so a writer may add many pieces and look once at the end.
 *
 *     struct str out;
 *     str_init(&out, 4096);          (max bytes, the final NUL not counted)
 *     str_addf(&out, "%d", 7);
 *     ... out.data, out.len ...
 *     str_clear(&out);               (frees)
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>

struct str {
	char *data; /* NULL while nothing was added */
	size_t len;
	size_t cap;
	size_t max;
	bool is_full;
};

#define STR_MAX_DEFAULT ((size_t)1 << 30)

/* For locals, so that an early return clears nothing but a valid buffer:
 *     auto_str text = STR_INIT(4096); */
#define STR_INIT(limit)                                                                            \
	{                                                                                          \
		.data = NULL, .len = 0, .cap = 0, .max = (limit), .is_full = false                 \
	}
void str_init(struct str *s, size_t max);
int str_add(struct str *s, const void *data, size_t len);
int str_puts(struct str *s, const char *text);
int str_addc(struct str *s, char c);
int str_addf(struct str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Makes room for `len` more bytes and returns where they go; the caller then raises s->len by what
 * it wrote (str_commit). NULL when over the maximum. */
char *str_reserve(struct str *s, size_t len);
void str_commit(struct str *s, size_t len);
/* Removes `len` bytes from the front. */
void str_consume(struct str *s, size_t len);
/* Empties, keeps the memory. */
void str_reset(struct str *s);
/* Empties and frees memory above `keep` bytes of capacity. */
void str_shrink(struct str *s, size_t keep);
/* Hands the bytes over (to be freed with free) and leaves the buffer empty; never NULL. */
char *str_detach(struct str *s);
void str_clear(struct str *s);
#define auto_str __attribute__((cleanup(str_clear))) struct str

#endif
