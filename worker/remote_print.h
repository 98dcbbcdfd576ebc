/* Replies for people, as `celery inspect` prints them. Pure. Source: celery/bin/base.py, pretty().
 */
#ifndef WORKER_REMOTE_PRINT_H
#define WORKER_REMOTE_PRINT_H

#include <jansson.h>

#include "base/str.h"

/* Appends "->  <node>: OK" (or ERROR) and, below it, what the node said. */
void remote_print(struct str *out, const char *node, const json_t *payload);

#endif
