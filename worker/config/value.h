/* A setting's text to its type. Pure; error texts do not name the setting (callers put it in
 * front) and never hold the value of a secret. */
#ifndef WORKER_CONFIG_VALUE_H
#define WORKER_CONFIG_VALUE_H

#include "base/err.h"
#include "worker/config/config.h"
#include "worker/config/table.h"

/* Checks `text` (NULL = unset) and writes it to the row's member of `c`. */
int config_value_apply(struct config *c, const struct config_row *row, const char *text,
		       struct err *err);
/* true/false, yes/no, on/off, 1/0 in any case. */
int config_value_bool(const char *text, bool *ret_value, struct err *err);
/* "a, b" to a NULL-terminated array; empty text gives NULL. */
char **config_value_list(const char *text);
void config_list_free(char **list);

#endif
