/*
 * Shared libraries that are loaded when they are wanted, not linked: who does not use them pays
 * neither memory nor a package.
 *
 *     struct { __typeof__(deflateEnd) *end; } z;
 *     const struct library_symbol symbols[] = {{"deflateEnd", &z.end}};
 *     library_load("libz.so.1", "zlib1g", symbols, 1, err)
 */
#ifndef BASE_LIBRARY_H
#define BASE_LIBRARY_H

#include <stddef.h>

#include "base/err.h"

struct library_symbol {
	const char *name;
	void *to; /* where the pointer to the function goes */
};

/* Finds the functions; the library stays loaded, so that the next call costs about a microsecond.
 * -1 with what to install. */
int library_load(const char *file, const char *package, const struct library_symbol *symbols,
		 size_t count, struct err *err);

#endif
