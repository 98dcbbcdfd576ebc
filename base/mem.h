/*
 * Allocation that aborts when memory is out: right for our own small structures. Anything whose
 * size comes from the network is checked against a limit before it gets here.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_calloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *old, size_t size) __attribute__((returns_nonnull));
/* Copies `len` bytes and adds a NUL behind them. */
char *mem_dup(const void *data, size_t len) __attribute__((malloc, returns_nonnull));
/* NULL in, NULL out. */
char *mem_strdup(const char *text);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull));

void mem_free_ptr(void *ptr_to_ptr);
#define auto_free __attribute__((cleanup(mem_free_ptr)))

#endif
