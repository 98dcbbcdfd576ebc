/* What a scalar of YAML means. Inside protocol/ only. */
#ifndef PROTOCOL_YAML_IMPL_H
#define PROTOCOL_YAML_IMPL_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

#define YAML_TAG "tag:yaml.org,2002:"

enum yaml_kind {
	YAML_KIND_STR,
	YAML_KIND_BOOL,
	YAML_KIND_FLOAT,
	YAML_KIND_INT,
	YAML_KIND_MERGE,
	YAML_KIND_NULL,
	YAML_KIND_TIMESTAMP,
	YAML_KIND_VALUE,
	YAML_KIND_BINARY,
	YAML_KIND_OTHER, /* no scalar, or nothing that is known */
};

/* Of a plain scalar without a tag. */
enum yaml_kind yaml_kind_of_plain(const char *text, size_t len);
enum yaml_kind yaml_kind_of_tag(const char *tag);
/* The value of a text of this kind; NULL with `err` set. */
json_t *yaml_scalar(enum yaml_kind kind, const char *text, size_t len, struct err *err);

#endif
