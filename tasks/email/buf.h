/* A growing byte buffer for building messages; always NUL-terminated once something was added.
 * Aborts when memory is out: what goes in was bounded before. */
#ifndef TASKS_EMAIL_BUF_H
#define TASKS_EMAIL_BUF_H

#include <stdarg.h>
#include <stddef.h>

struct buf {
	char *data;
	size_t len, cap;
};

/* Makes room for `len` further bytes at once. */
void buf_reserve(struct buf *b, size_t len);
void buf_add(struct buf *b, const void *data, size_t len);
void buf_puts(struct buf *b, const char *text);
void buf_addc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_clear(struct buf *b);
#define auto_buf __attribute__((cleanup(buf_clear))) struct buf

/* Why something given to us cannot be sent; becomes a ValueError. */
struct fault {
	char text[400];
};

/* Fills `fault` and returns -1, so a caller may `return fault_set(...)`. */
int fault_set(struct fault *fault, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
