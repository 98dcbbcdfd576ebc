/*
 * Broker and backend URLs, read as kombu reads them (contract: control.md 9.1). Pure.
 */
#ifndef TRANSPORT_URL_H
#define TRANSPORT_URL_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

struct url {
	char *scheme;	/* "amqp"; never NULL */
	char *host;	/* NULL when absent */
	int port;	/* 0 when absent */
	char *user;	/* percent-decoded; NULL when absent */
	char *password; /* percent-decoded; NULL when absent; secret */
	char *path;	/* percent-decoded, without the one leading slash; "" when absent */
	char *query;	/* raw, without '?'; NULL when absent */
};

int url_parse(struct url *url, const char *text, struct err *err);
void url_clear(struct url *url);
/* Value of a query parameter, percent-decoded, to be freed; NULL when absent. */
char *url_query(const struct url *url, const char *name);
/* Appends the URL with its password as ** (kombu's as_uri). */
int url_format_redacted(struct str *out, const struct url *url);
/* Splits a fail-over list "a;b;c" at `index`; to be freed; NULL past the end. */
char *url_list_item(const char *list, unsigned index);

#endif
