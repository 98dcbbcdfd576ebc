#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { STR_FIRST_CAP = 64 };

void str_init(struct str *s, size_t max)
{
	*s = (struct str){.max = max};
}

/* `cap` counts the NUL, so it may be one more than `max`. */
static void grow(struct str *s, size_t need)
{
	size_t cap = s->cap ? s->cap : STR_FIRST_CAP;

	while (cap < need)
		cap = cap > need / 2 ? need : cap * 2;
	if (cap < s->cap * 2)
		cap = s->cap * 2;
	if (cap > s->max + 1)
		cap = s->max + 1;
	s->data = mem_realloc(s->data, cap);
	s->cap = cap;
}

char *str_reserve(struct str *s, size_t len)
{
	if (s->is_full || len > s->max - s->len) {
		s->is_full = true;
		return NULL;
	}
	if (s->len + len + 1 > s->cap)
		grow(s, s->len + len + 1);
	s->data[s->len] = '\0';
	return s->data + s->len;
}

void str_commit(struct str *s, size_t len)
{
	s->len += len;
	if (s->data) /* NULL when nothing was ever reserved and `len` is 0 */
		s->data[s->len] = '\0';
}

int str_add(struct str *s, const void *data, size_t len)
{
	char *to = str_reserve(s, len);

	if (!to)
		return -1;
	if (len)
		memcpy(to, data, len);
	str_commit(s, len);
	return 0;
}

int str_puts(struct str *s, const char *text)
{
	return str_add(s, text, strlen(text));
}

int str_addc(struct str *s, char c)
{
	return str_add(s, &c, 1);
}

int str_addf(struct str *s, const char *fmt, ...)
{
	char small[256];
	va_list args;
	int len;
	char *to;

	va_start(args, fmt);
	len = vsnprintf(small, sizeof(small), fmt, args);
	va_end(args);
	if (len < 0) {
		s->is_full = true; /* only when the text is over INT_MAX */
		return -1;
	}
	if ((size_t)len < sizeof(small))
		return str_add(s, small, (size_t)len);
	to = str_reserve(s, (size_t)len);
	if (!to)
		return -1;
	va_start(args, fmt);
	(void)vsnprintf(to, (size_t)len + 1, fmt, args);
	va_end(args);
	str_commit(s, (size_t)len);
	return 0;
}

void str_consume(struct str *s, size_t len)
{
	if (len >= s->len) {
		s->len = 0;
		if (s->data)
			s->data[0] = '\0';
		return;
	}
	s->len -= len;
	memmove(s->data, s->data + len, s->len + 1);
}

void str_reset(struct str *s)
{
	s->len = 0;
	s->is_full = false;
	if (s->data)
		s->data[0] = '\0';
}

void str_shrink(struct str *s, size_t keep)
{
	str_reset(s);
	if (s->cap <= keep)
		return;
	free(s->data);
	s->data = NULL;
	s->cap = 0;
}

char *str_detach(struct str *s)
{
	char *data = s->data ? s->data : mem_dup("", 0);

	str_init(s, s->max);
	return data;
}

void str_clear(struct str *s)
{
	free(s->data);
	str_init(s, s->max);
}
