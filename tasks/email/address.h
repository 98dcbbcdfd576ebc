/*
 * Mail addresses as callers write them: "a@b.c", "Name <a@b.c>", "\"Last, First\" <a@b.c>", lists
 * with commas, or JSON lists of these. What comes out is safe to put into an SMTP command: no
 * control character, no space, ASCII only (domains as A-labels).
 */
#ifndef TASKS_EMAIL_ADDRESS_H
#define TASKS_EMAIL_ADDRESS_H

#include <jansson.h>
#include <stddef.h>

#include "tasks/email/buf.h"

#define ADDRESS_MAX_COUNT 1000 /* of one field */

struct address {
	char *name; /* display name in UTF-8, or NULL */
	char *spec; /* local@domain */
};

struct address_list {
	struct address *items;
	size_t count;
};

/* Adds what `text` holds; `field` names it in errors. */
int address_list_add(struct address_list *list, const char *field, const char *text,
		     struct fault *fault);
/* The same for a JSON string, list of strings, or null (adds nothing). */
int address_list_add_json(struct address_list *list, const char *field, const json_t *value,
			  struct fault *fault);
/* Adds one address without parsing a display name out of it; `name` may be NULL. */
int address_list_add_named(struct address_list *list, const char *field, const char *name,
			   const char *spec, struct fault *fault);
void address_list_clear(struct address_list *list);
/* What stands behind the '@'. */
const char *address_domain(const struct address *address);

/* -1 when `text` has a control character (CR, LF, NUL and tab included) or is no UTF-8. */
int text_check(const char *field, const char *text, size_t len, struct fault *fault);

#endif
