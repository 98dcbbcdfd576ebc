#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* stdio might allocate, so the last words go out by hand. */
__attribute__((noreturn)) static void out_of_memory(void)
{
	static const char words[] = "smallage: out of memory\n";
	ssize_t written = write(STDERR_FILENO, words, sizeof(words) - 1);

	(void)written;
	abort();
}

static void *checked(void *ptr)
{
	if (!ptr)
		out_of_memory();
	return ptr;
}

/* malloc(0) may return NULL, which callers would have to tell from a failure. */
void *mem_alloc(size_t size)
{
	return checked(malloc(size ? size : 1));
}

void *mem_calloc(size_t count, size_t size)
{
	return checked(count && size ? calloc(count, size) : calloc(1, 1));
}

void *mem_realloc(void *old, size_t size)
{
	return checked(realloc(old, size ? size : 1));
}

char *mem_dup(const void *data, size_t len)
{
	char *copy = mem_alloc(len + 1);

	if (len)
		memcpy(copy, data, len);
	copy[len] = '\0';
	return copy;
}

char *mem_strdup(const char *text)
{
	return text ? mem_dup(text, strlen(text)) : NULL;
}

char *mem_printf(const char *fmt, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		out_of_memory();
	va_end(args);
	return checked(text);
}

void mem_free_ptr(void *ptr_to_ptr)
{
	void *ptr;

	/* The parameter is a pointer to a pointer of any type; copying avoids the aliasing cast. */
	memcpy(&ptr, ptr_to_ptr, sizeof(ptr));
	free(ptr);
	memset(ptr_to_ptr, 0, sizeof(ptr));
}
