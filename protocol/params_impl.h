/* The declared list, between parsing and binding. Inside protocol/ only. */
#ifndef PROTOCOL_PARAMS_IMPL_H
#define PROTOCOL_PARAMS_IMPL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

#define PARAMS_MAX 64

enum param_type {
	PARAM_ANY = 1 << 0,
	PARAM_STR = 1 << 1,
	PARAM_INT = 1 << 2,
	PARAM_FLOAT = 1 << 3,
	PARAM_NUMBER = 1 << 4,
	PARAM_BOOL = 1 << 5,
	PARAM_LIST = 1 << 6,
	PARAM_DICT = 1 << 7,
	PARAM_NONE = 1 << 8,
};

struct param {
	char *name;
	unsigned types;	   /* set of enum param_type */
	json_t *otherwise; /* the default; NULL = the parameter is required */
};

struct params {
	struct param list[PARAMS_MAX]; /* positional ones first, then keyword-only */
	size_t count, positional_count;
	size_t only_positional; /* so many of the first cannot be named by a caller */
	struct param rest;	/* behind *; name NULL when the list has none */
	char *extra;		/* the name behind **, or NULL */
};

/* NULL past the last. */
const char *param_type_name(size_t row, unsigned *ret_type);
bool param_accepts(unsigned types, const json_t *value);

#endif
