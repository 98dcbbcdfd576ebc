#include "tasks/email/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRINTF_GUESS 120 /* what fits needs to be formatted once only */

static void grow(struct buf *b, size_t len)
{
	size_t need = b->len + len + 1;

	if (need <= b->cap)
		return;
	b->cap = need > b->cap * 2 ? need + 256 : b->cap * 2;
	b->data = realloc(b->data, b->cap);
	if (!b->data)
		abort();
}

void buf_reserve(struct buf *b, size_t len)
{
	grow(b, len);
	b->data[b->len] = '\0';
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	grow(b, len);
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_puts(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_addc(struct buf *b, char c)
{
	grow(b, 1);
	b->data[b->len++] = c;
	b->data[b->len] = '\0';
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int len;

	grow(b, PRINTF_GUESS);
	va_start(ap, fmt);
	len = vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap);
	va_end(ap);
	if (len < 0)
		return;
	if ((size_t)len >= b->cap - b->len) {
		grow(b, (size_t)len);
		va_start(ap, fmt);
		vsnprintf(b->data + b->len, (size_t)len + 1, fmt, ap);
		va_end(ap);
	}
	b->len += (size_t)len;
}

void buf_clear(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}

int fault_set(struct fault *fault, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(fault->text, sizeof(fault->text), fmt, ap);
	va_end(ap);
	return -1;
}
