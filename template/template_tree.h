/* A parsed template: what template_parse.c makes and template_render.c walks. */
#ifndef TEMPLATE_TEMPLATE_TREE_H
#define TEMPLATE_TEMPLATE_TREE_H

#include <stddef.h>

#define TEMPLATE_MAX_DEPTH 32 /* names in a path */

enum template_kind {
	TEMPLATE_TEXT,	  /* text, printed as it stands */
	TEMPLATE_LITERAL, /* text, escaped like a value */
	TEMPLATE_PATH,	  /* names */
};

struct template_node {
	enum template_kind kind;
	unsigned line, column; /* where it began, from 1 */
	char *text;
	size_t len;
	char **names; /* NULL-terminated */
};

struct template
{
	char *name;
	struct template_node *nodes;
	size_t count, cap;
};

#endif
