/*
 * YAML 1.1 as PyYAML's safe_load and safe_dump take it, which is what kombu calls. What JSON has no
 * form for gets kombu's tags; sets, ordered mappings and pairs become lists; keys that are numbers
 * become texts, as json.dumps makes them.
 */
#ifndef PROTOCOL_YAML_TEXT_H
#define PROTOCOL_YAML_TEXT_H

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"

/* Appends the only document as JSON text. */
int yaml_text_load(struct str *out, const char *data, size_t len, struct err *err);
/* Appends the value, in flow style and ASCII. */
int yaml_text_dump(struct str *out, const json_t *value, struct err *err);

#endif
