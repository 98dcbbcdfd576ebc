/* Node names such as "celery@host" and the %-abbreviations of names and paths. Pure but for
 * nodename_host. Mirrors celery/utils/nodenames.py. */
#ifndef WORKER_CONFIG_NODENAME_H
#define WORKER_CONFIG_NODENAME_H

#include "base/err.h"

/* This machine's name as Python's socket.gethostname() gives it. To be freed. */
char *nodename_host(void);
/* The node name that the option -n stands for: "w1@%h" -> "w1@host.example"; "x" -> "celery@x";
 * NULL or "" -> "celery@<host>". To be freed; NULL with `err` for an unknown abbreviation. */
char *nodename_expand(const char *option, const char *host, struct err *err);
/* A path with %n (name before the @), %h, %d (its host, its domain), %p (whole node name), %i (0)
 * and %I (nothing; both number pool processes in Celery), %%. To be freed. */
char *nodename_format(const char *path, const char *node, struct err *err);

#endif
